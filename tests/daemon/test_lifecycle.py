from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from tests.receiver import Receiver
from vvwatch.config import Config, load
from vvwatch.daemon import ServeOptions, chores, lifecycle, serve
from vvwatch.daemon.serving import listening
from vvwatch.daemon.storages import Storages
from vvwatch.errors import ConfigInvalid, StoreLocked, StoreUnavailable
from vvwatch.notify import Notifier
from vvwatch.store.db import ownership, sqlite_engine
from vvwatch.store.db.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio


def configured(folder: Path, **changes: Any) -> Config:
    given = {"listen": "127.0.0.1:0", "state_dir": str(folder / "state"), **changes}
    return load(None, {"HOME": str(folder)}, given)


@pytest.mark.parametrize(
    ("port", "cure"), [(8999, "SocketBindAllow=tcp:8999"), (443, "choose a port from 1024 on")]
)
async def test_a_port_that_is_forbidden_is_a_wrong_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int, cure: str
) -> None:
    """So that the service ends with 78 and is not started again: no restart changes what its unit allows."""

    def refuse(host: str, port: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(listening, "bind_socket", refuse)
    config = configured(tmp_path, listen=f"127.0.0.1:{port}")
    with pytest.raises(ConfigInvalid, match="Operation not permitted") as refused:
        await serve(config, ServeOptions({}, log_stream=StringIO()))
    assert cure in str(refused.value)


class Running:
    """A daemon in this process: where it answers, and what it says."""

    def __init__(self) -> None:
        self.ready = anyio.Event()
        self.address = ""
        self.told: dict[str, anyio.Event] = {}
        self.fields: dict[str, dict[str, Any]] = {}

    def announce(self, line: str) -> None:
        if " ready on " in line:
            self.address = line.rpartition(" ")[2]
        self.ready.set()

    def observe(self, event: str, fields: Any) -> None:
        self.fields[event] = dict(fields)
        self.told.setdefault(event, anyio.Event()).set()

    async def hear(self, event: str) -> dict[str, Any]:
        """The fields of the next event of that name."""
        self.told[event] = anyio.Event()
        with anyio.fail_after(20):
            await self.told[event].wait()
        return self.fields[event]

    async def signal(self, number: int, *, until: str) -> dict[str, Any]:
        """Send this process a signal; the fields of the event that follows."""
        os.kill(os.getpid(), number)
        return await self.hear(until)


@asynccontextmanager
async def running(
    config: Config, reload: Callable[[], Config] | None = None, **environ: str
) -> AsyncIterator[Running]:
    daemon, codes = Running(), []
    options = ServeOptions(
        environ, announce=daemon.announce, observe=daemon.observe, log_stream=StringIO(), reload=reload
    )

    async def run() -> None:
        codes.append(await serve(config, options))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        with anyio.fail_after(30):
            await daemon.ready.wait()
        yield daemon
        os.kill(os.getpid(), signal.SIGTERM)
    assert codes == [os.EX_OK]


async def test_storages_are_closed_when_the_daemon_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    async def aclose(self: Storages) -> None:
        closed.append(self)

    monkeypatch.setattr(Storages, "aclose", aclose)
    options = ServeOptions({}, once=True, announce=lambda _: None, log_stream=StringIO())
    assert await serve(configured(tmp_path), options) == os.EX_OK
    assert len(closed) == 1


async def test_a_daemon_whose_database_another_one_has_taken_over_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "_LATE_SECONDS", 0.0)
    monkeypatch.setattr(sqlite_engine, "_LONGEST_NAP_SECONDS", 0.1)
    daemon, ended = Running(), []
    options = ServeOptions({}, announce=daemon.announce, observe=daemon.observe, log_stream=StringIO())

    async def run() -> None:
        try:
            await serve(configured(tmp_path), options)
        except* StoreLocked as error:
            ended.append(str(error.exceptions))

    record = tmp_path / "state" / "vvwatch.db.owner"
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await daemon.ready.wait()
            theirs = {**json.loads(record.read_bytes()), "token": "theirs", "name": "elsewhere"}
            record.write_text(json.dumps(theirs))
    assert "on elsewhere" in ended[0]
    assert json.loads(record.read_bytes()) == theirs


async def test_two_daemons_with_databases_of_their_own_do_not_share_a_state_directory(tmp_path: Path) -> None:
    """The second one would empty the spool of the first."""
    first, second = (f"sqlite:///{tmp_path}/{name}.db" for name in ("first", "second"))
    async with running(configured(tmp_path, database_url=first)):
        (tmp_path / "state" / "spool" / "in-use").touch()
        with pytest.raises(StoreLocked, match="another process owns the state directory"):
            await serve(configured(tmp_path, database_url=second), ServeOptions({}, log_stream=StringIO()))
        assert (tmp_path / "state" / "spool" / "in-use").exists()
    assert not (tmp_path / "state" / "state.owner").exists()


async def test_who_asks_what_is_under_way_while_the_database_is_away_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(configured(tmp_path)) as daemon:

        async def away(_: object) -> None:
            raise StoreUnavailable("the database does not work", "look at it")

        with monkeypatch.context() as patch:
            patch.setattr(lifecycle, "measure_work", away)
            await daemon.signal(signal.SIGUSR1, until="task.failed")
        assert "windows_open" in await daemon.signal(signal.SIGUSR1, until="daemon.state_dumped")


async def test_a_configuration_that_takes_long_to_read_keeps_nobody_waiting(tmp_path: Path) -> None:
    readers: list[threading.Thread] = []

    def reload() -> Config:
        readers.append(threading.current_thread())
        return configured(tmp_path)

    async with running(configured(tmp_path), reload=reload) as daemon:
        await daemon.signal(signal.SIGHUP, until="config.reloaded")
    assert len(readers) == 1
    assert readers[0] is not threading.current_thread()


async def test_a_reload_takes_over_the_roots_also_for_connectors_of_the_api(tmp_path: Path) -> None:
    later = tmp_path / "later"
    later.mkdir()
    changed = configured(tmp_path, **{"local.roots": [str(later)]})
    async with running(configured(tmp_path), reload=lambda: changed) as daemon:
        assert (await daemon.signal(signal.SIGHUP, until="config.reloaded"))["needs_restart"] == []
        assert await connected(daemon, tmp_path, later) == 201


async def test_a_reload_takes_over_where_webhooks_may_lead(tmp_path: Path) -> None:
    changed = configured(tmp_path, webhooks={"allow_http": True, "allow_networks": ["127.0.0.1"]})
    with Receiver() as receiver:
        hook = {"name": "hook", "url": receiver.url, "events": ["export.ready"]}
        async with running(configured(tmp_path), reload=lambda: changed) as daemon:
            headers = {"X-API-Key": (tmp_path / "state" / "admin.key").read_text().strip()}
            base = f"{daemon.address}/api/v2"
            async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=60) as client:
                assert (await client.post("/webhooks", json=hook)).status_code == 422
                assert (await daemon.signal(signal.SIGHUP, until="config.reloaded"))["needs_restart"] == []
                made = (await client.post("/webhooks", json=hook)).json()
                tested = await client.post(f"/webhooks/{made['webhook_id']}/test")
    assert tested.json()["success"], tested.text
    assert len(receiver.received) == 1


async def test_what_waits_for_a_restart_changes_nothing_before(tmp_path: Path) -> None:
    changed = configured(tmp_path, state_dir=str(tmp_path / "moved"), **{"local.roots": [str(tmp_path)]})
    async with running(configured(tmp_path), reload=lambda: changed) as daemon:
        reloaded = await daemon.signal(signal.SIGHUP, until="config.reloaded")
        assert reloaded["needs_restart"] == ["state_dir"]
        assert not (tmp_path / "moved").exists()
        assert await connected(daemon, tmp_path, tmp_path / "folder") == 201, "the key is the one it was"
        assert "lies where connectors may read" in daemon.fields["config.warned"]["problem"]


async def test_processors_wait_for_a_restart(tmp_path: Path) -> None:
    gpt = {"type": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m"}
    changed = configured(tmp_path, processors={"gpt": gpt}, processing={"budget": {"per_day_usd": 1}})
    async with running(configured(tmp_path), reload=lambda: changed) as daemon:
        reloaded = await daemon.signal(signal.SIGHUP, until="config.reloaded")
        assert reloaded["needs_restart"] == ["processing", "processors"]


async def test_a_stop_is_heard_while_a_reload_waits_for_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = anyio.Event()

    async def declare(*_: object) -> None:
        waiting.set()
        await anyio.sleep_forever()

    with anyio.fail_after(30):
        async with running(configured(tmp_path), reload=lambda: configured(tmp_path)):
            monkeypatch.setattr(lifecycle, "apply_declarations", declare)
            os.kill(os.getpid(), signal.SIGHUP)
            await waiting.wait()


async def test_a_database_that_does_not_work_is_no_reason_to_be_killed_by_the_watchdog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart makes no room on its disk, and five of them in a row are all that systemd allows."""
    fed = anyio.Event()

    async def full(_: object) -> None:
        raise StoreUnavailable("the database does not work: database or disk is full", "make room")

    async with running(configured(tmp_path), WATCHDOG_USEC="200000"):
        monkeypatch.setattr(SqliteDatabase, "check", full)
        monkeypatch.setattr(Notifier, "watchdog", lambda _: fed.set())
        with anyio.fail_after(10):
            await fed.wait()


async def test_metrics_tell_nothing_of_an_automation_that_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "_MEASURE_SECONDS", 0.3)
    (tmp_path / "in").mkdir()
    watching = {
        "local.roots": [str(tmp_path / "in")],
        "connectors": {"in": {"type": "local", "path": str(tmp_path / "in")}},
        "indexes.a.name": "a",
        "automations.a": {"index": "a", "connector": "in", "scan_interval": "1s"},
    }
    async with running(configured(tmp_path, **watching), reload=lambda: configured(tmp_path)) as daemon:
        await daemon.hear("scan.finished")
        assert "auto_a" in await metrics(daemon)
        await daemon.signal(signal.SIGHUP, until="config.reloaded")
        await daemon.hear("daemon.measured")
        await daemon.hear("daemon.measured")
        assert "auto_a" not in await metrics(daemon)


async def metrics(daemon: Running) -> str:
    async with httpx2.AsyncClient(base_url=daemon.address) as client:
        return (await client.get("/metrics")).text


async def connected(daemon: Running, base: Path, folder: Path) -> int:
    """The status of making a connector of `folder` with the key of the state directory."""
    headers = {"X-API-Key": (base / "state" / "admin.key").read_text().strip()}
    body = {"name": "later", "path": str(folder), "scopes": ["export"]}
    async with httpx2.AsyncClient(base_url=daemon.address, headers=headers) as client:
        return (await client.post("/api/v2/connectors/local", json=body)).status_code
