"""The daemon examined by itself: nobody waits for what does not answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import anyio
import anyio.to_thread
import pytest

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import prepare
from vvwatch.errors import (
    OnAnotherNode,
    ProcessorError,
    ProcessorPaused,
    ProcessorUnavailable,
    StorageThrottled,
)
from vvwatch.ports import Finding
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.models.catalog import Connector
from vvwatch.workflow.upkeep.examination import Examiner, Health

pytestmark = pytest.mark.anyio

NOTHING = Health({}, {})


class Silent(FakeStorage):
    """Never answers: `held` in a thread, or, without it, in the loop."""

    def __init__(self, held: threading.Event | None = None) -> None:
        super().__init__()
        self._held = held

    async def check(self, *, read: bool, write_below: str | None) -> None:
        if self._held:
            await anyio.to_thread.run_sync(self._held.wait)
        await anyio.sleep_forever()


@pytest.fixture
def held() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def two_connectors(tx: Tx) -> None:
    prepare(tx)
    catalog.declare_connector(tx, "conn_out", ConnectorSpec("out", "local", {"root": "/out"}, ("export",)))


def examiner(database: Database, clock: FakeClock, storages: dict[str, FakeStorage | Exception]) -> Examiner:
    def opened(row: Connector) -> FakeStorage:
        found = storages[row.id]
        if isinstance(found, Exception):
            raise found
        return found

    return Examiner(database, clock, opened, lambda _: None, None, seconds=1.0)


async def access(examiner: Examiner) -> dict[str, Finding]:
    found = await examiner.examine(NOTHING)
    return {each.id: each.finding for each in found if each.finding.subject == "access"}


@pytest.mark.parametrize("in_a_thread", [False, True])
async def test_what_never_answers_holds_nobody_up(
    database: Database, clock: FakeClock, held: threading.Event, in_a_thread: bool
) -> None:
    await database.write(two_connectors)
    silent = Silent(held if in_a_thread else None)
    with anyio.fail_after(5):
        found = await access(examiner(database, clock, {"conn_in": silent, "conn_out": FakeStorage()}))
    assert found["conn_out"].state == "ok"
    assert found["conn_in"] == Finding("access", "problem", "no answer within 1 s", "vvwatch doctor conn_in")


async def test_what_cannot_be_opened_says_why(database: Database, clock: FakeClock) -> None:
    await database.write(two_connectors)
    elsewhere = OnAnotherNode("is on the node 'b'", "ask there")
    found = await access(
        examiner(database, clock, {"conn_in": elsewhere, "conn_out": StorageThrottled("too many", "wait")})
    )
    assert found["conn_in"] == Finding("access", "ok", "is on the node 'b'")
    assert (found["conn_out"].state, found["conn_out"].fix) == ("warning", "wait")


async def test_a_cancelled_examination_leaves_nothing_behind(database: Database, clock: FakeClock) -> None:
    await database.write(two_connectors)
    began, ended = anyio.Event(), anyio.Event()

    class Waiting(FakeStorage):
        async def check(self, *, read: bool, write_below: str | None) -> None:
            began.set()
            try:
                await anyio.sleep_forever()
            finally:
                ended.set()

    doctor = Examiner(database, clock, lambda _: Waiting(), lambda _: None, None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(doctor.examine, NOTHING, "conn_in"))
        await began.wait()
        tasks.cancel_scope.cancel()
    with anyio.fail_after(5):
        await ended.wait()


class Wrong:
    """A processor with two troubles, or one that never answers."""

    def __init__(self, *wrong: ProcessorError, silent: bool = False) -> None:
        self.wrong = wrong
        self.silent = silent

    async def examine(self) -> tuple[ProcessorError, ...]:
        if self.silent:
            await anyio.sleep_forever()
        return self.wrong


async def test_processors_tell_what_stands_in_their_way(database: Database, clock: FakeClock) -> None:
    troubles = (
        ProcessorPaused("the key is refused", "put a key into gpt.key"),
        ProcessorUnavailable("is away"),
    )
    able = {"good": Wrong(), "gpt": Wrong(*troubles), "mute": Wrong(silent=True)}
    doctor = Examiner(
        database, clock, lambda _: FakeStorage(), lambda _: None, None, seconds=1.0, processors=able
    )
    found = [(each.id, each.finding) for each in await doctor.examine(NOTHING) if each.about == "processor"]

    assert [(name, each.state, each.detail, each.fix) for name, each in found] == [
        ("good", "ok", "can do its work", ""),
        ("gpt", "problem", "the key is refused", "put a key into gpt.key"),
        ("gpt", "problem", "is away", "journalctl -u vvwatch"),
        ("mute", "problem", "no answer within 1 s", "vvwatch doctor"),
    ]
