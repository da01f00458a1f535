"""Exports with options on every storage: kills at each write leave nothing half and nothing double."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.conftest import documents_in
from tests.api.story import CONNECTOR, Story, write
from tests.clock import FakeClock
from tests.contract.looking import look, read
from tests.contract.places import Place
from tests.databases import Databases
from tests.store.pipeline import RecordingSink, jobs_of
from vvwatch.core.exports import ExportOptions
from vvwatch.formats.registry import FORMATS
from vvwatch.ports import Job, Kind, WriteResult
from vvwatch.store.db.database import Database
from vvwatch.store.delivery import exports
from vvwatch.store.delivery.exports import Destination
from vvwatch.store.schema import exports as table
from vvwatch.store.schema import outputs
from vvwatch.workflow.pipeline.exports import Exports

pytestmark = pytest.mark.anyio

OPTIONS = ExportOptions(("json", *FORMATS), files="item", latest=True)


class _Killed(BaseException):
    pass


class DyingStorage:
    """A storage whose process dies once before or after each write, and whose names must have been claimed."""

    def __init__(self, place: Place, database: Database, moment: str) -> None:
        self._storage = place.storage
        self._database = database
        self._moment = moment
        self.killed: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def write(self, key: str, source: Path, *, content_type: str) -> WriteResult:
        uri = self._storage.uri(key)
        found = sa.select(outputs.c.uri).where(outputs.c.uri == uri)
        assert await self._database.read(lambda tx: tx.first(found)) is not None
        dies = key not in self.killed
        self.killed.add(key)
        if dies and self._moment == "before":
            raise _Killed
        written = await self._storage.write(key, source, content_type=content_type)
        if dies:
            raise _Killed
        return written


@pytest.fixture
def story(databases: Databases) -> Story:
    return write(databases, "sqlite").story


@pytest.fixture
async def database(databases: Databases, story: Story) -> AsyncIterator[Database]:
    clock = FakeClock(write(databases, "sqlite").wall)
    with databases.fresh("sqlite", clock, "story") as database:
        database.sink = RecordingSink()
        async with database.opened():
            yield database


async def request(database: Database, story: Story) -> Job:
    await database.write(exports.request_run, story.run_id, Destination(CONNECTOR, "out", OPTIONS))
    [job] = jobs_of(database).take(Kind.EXPORT)
    return job


async def export_through_kills(exporting: Exports, job: Job) -> int:
    """Return after how many lives the export ended."""
    for life in range(1, 80):
        try:
            await exporting.export(job)
        except _Killed:
            continue
        return life
    raise AssertionError("it never ended")


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_kills_at_every_write_leave_nothing_half_and_nothing_double(
    place: Place, database: Database, story: Story, tmp_path: Path, moment: str
) -> None:
    storage: Any = DyingStorage(place, database, moment)
    clock: Any = database.clock
    exporting = documents_in(tmp_path / "work", database, clock, storage)
    first = await request(database, story)
    clock.advance(5)
    second = await request(database, story)
    for job in (first, second):
        killed = len(storage.killed)
        assert await export_through_kills(exporting, job) == len(storage.killed) - killed + 1
    rows = await database.read(lambda tx: tx.execute(sa.select(table.c.status)).scalars().all())
    assert set(rows) == {"completed"}
    there = {key: await read(place, obj) for key, obj in (await look(place)).items()}
    assert set(there) == storage.killed
    named = 0
    for job in (first, second):
        manifest = json.loads(there[f"out/{job.ref}/manifest.json"])
        assert there[f"out/{job.ref}/_SUCCESS"] == b""
        for each in manifest["files"]:
            assert hashlib.sha256(there[each["name"]]).hexdigest() == each["sha256"]
        named += len(manifest["files"])
    assert len(there) == named + 2 * 2 + 1
    assert json.loads(there["out/latest.json"])["export_id"] == second.ref
    assert [path for path in (tmp_path / "work").iterdir() if path.suffix != ".json"] == []
