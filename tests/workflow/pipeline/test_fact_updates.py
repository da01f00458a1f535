"""Sidecars that come after their media or change: the facts of the media follow, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import prepare
from tests.workflow.conftest import Told
from tests.workflow.pipeline.test_import_retries import Place
from vvwatch.core.facts import describe_wanted
from vvwatch.errors import StorageUnavailable
from vvwatch.ports import Hint, Kind
from vvwatch.store.db.database import Database
from vvwatch.store.schema import fact_updates, import_automations, media
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.facts import FactUpdates

pytestmark = pytest.mark.anyio

KEY = "harbour/A_001.mp4"
SIDECAR = "harbour/A_001.json"


class Desk(Place):
    """A place whose sidecars are read again, too."""

    async def look(self) -> None:
        """The watcher lists everything."""
        chosen = sa.select(import_automations.c.id)
        automation = await self.database.read(lambda tx: str(tx.execute(chosen).scalar_one()))
        assert await self.watcher.notice(automation, Hint(rescan=("",)))

    async def update(self) -> int:
        """Make the updates that are planned; returns how many."""
        jobs = self.sink.take(Kind.FACTS)
        for job in jobs:
            self.clock.advance(max(0.0, job.run_at - self.clock.now()))
            await FactUpdates(self.database, self.telemetry, self.reading).update(job)
        return len(jobs)

    async def take(self) -> None:
        await self.drop(KEY)
        await self.work(1)

    async def known(self) -> Any:
        [row] = await self.rows(media)
        return row.facts

    async def put(self, key: str, data: bytes) -> None:
        self.storage.put(key, data)
        await self.look()


@pytest.fixture
async def desk(database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage) -> Desk:
    wanted = describe_wanted("{show}/{camera}_{*}.mp4", ["sidecar"])
    await database.write(prepare, facts=wanted, file_pattern="*.mp4")
    return Desk(database, clock, telemetry, storage)


async def test_a_sidecar_that_comes_later_or_changes_is_read(desk: Desk) -> None:
    await desk.take()
    path = {"show": "harbour", "camera": "A"}
    assert await desk.known() == {"path": path}
    for fields, data in (({"director": "Ada"}, b'{"director": "Ada"}'), ({"take": 2}, b'{"take": 2}')):
        await desk.put(SIDECAR, data)
        assert await desk.update() == 1
        assert await desk.known() == {"path": path, "sidecar": {"key": SIDECAR, "fields": fields}}
        await desk.look()
        assert await desk.update() == 0, "nothing is new"
    assert await desk.rows(fact_updates) == []


async def test_an_xmp_gives_way_to_json(desk: Desk) -> None:
    await desk.take()
    packet = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:dc='
    await desk.put(
        "harbour/A_001.xmp", packet + b'"http://purl.org/dc/elements/1.1/" dc:format="x"/></rdf:RDF>'
    )
    await desk.update()
    assert (await desk.known())["sidecar"]["fields"] == {"dc:format": "x"}
    await desk.put(SIDECAR, b"{}")
    await desk.update()
    assert (await desk.known())["sidecar"] == {"key": SIDECAR, "fields": {}}


@pytest.mark.parametrize("data", [b"[not json", b" " * (2 << 20)])
async def test_what_cannot_be_used_changes_nothing_and_is_told(desk: Desk, told: Told, data: bytes) -> None:
    desk.storage.put(SIDECAR, b'{"director": "Ada"}')
    await desk.take()
    before = await desk.known()
    await desk.put(SIDECAR, data)
    assert await desk.update() == 1
    assert await desk.known() == before
    [fields] = [fields for name, fields in told if name == "facts.unusable"]
    assert SIDECAR in str(fields["reason"])
    desk.storage.remove(SIDECAR)
    await desk.look()
    assert (await desk.update(), await desk.known()) == (0, before)


async def test_a_store_that_is_away_is_waited_for(desk: Desk) -> None:
    await desk.take()
    await desk.put(SIDECAR, b'{"director": "Ada"}')
    desk.storage.refused[SIDECAR] = StorageUnavailable("the store answered 503")
    for _ in range(6):
        assert await desk.update() == 1
    del desk.storage.refused[SIDECAR]
    assert await desk.update() == 1
    assert (await desk.known())["sidecar"]["fields"] == {"director": "Ada"}


async def test_sidecars_of_nobody_and_unwanted_ones_wait_silently(desk: Desk, told: Told) -> None:
    await desk.take()
    await desk.put("harbour/A_002.json", b"{}")
    await desk.put("harbour/A_001.txt.json", b"{}")
    assert await desk.update() == 0
    await desk.database.write(lambda tx: tx.execute(sa.update(import_automations).values(facts=None)))
    await desk.put(SIDECAR, b"{}")
    assert await desk.update() == 0
    assert "sidecar" not in await desk.known()
    assert [name for name, _ in told if name == "change.skipped"] == []


async def test_a_sidecar_that_comes_while_its_media_is_imported_is_not_lost(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is seen after the import looked for it, and before there is a media item."""
    await desk.drop(KEY)
    write = desk.database.write

    async def interfere(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if fn.__name__ == "finish_file":
            monkeypatch.undo()
            await desk.put(SIDECAR, b'{"director": "Ada"}')
            assert await desk.update() == 0
        return await write(fn, *args, **kwargs)

    monkeypatch.setattr(desk.database, "write", interfere)
    await desk.work(1)
    assert "sidecar" not in await desk.known()
    assert await desk.update() == 1
    assert (await desk.known())["sidecar"]["fields"] == {"director": "Ada"}


async def test_a_change_meanwhile_is_read_again(desk: Desk) -> None:
    await desk.take()
    await desk.put(SIDECAR, b'{"take": 1}')
    [stale] = desk.sink.take(Kind.FACTS)
    await desk.put(SIDECAR, b'{"take": 2}')
    await FactUpdates(desk.database, desk.telemetry, desk.reading).update(stale)
    assert "sidecar" not in await desk.known()
    assert await desk.update() == 1
    assert (await desk.known())["sidecar"]["fields"] == {"take": 2}
