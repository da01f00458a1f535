"""Exports with options on every storage: kills at each write leave nothing half and nothing double."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
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
from vvwatch.store.schema import media, outputs
from vvwatch.workflow.pipeline.exports import Exports

pytestmark = pytest.mark.anyio

OPTIONS = ExportOptions(("json", *FORMATS), files="item", sidecars=True, latest=True)
LATER = replace(OPTIONS, formats=tuple(name for name in OPTIONS.formats if name != "otio"))


class _Killed(BaseException):
    pass


class DyingStorage:
    """A storage whose process dies once before or after each write, replacement and removal.

    The names of what is written must have been claimed.
    """

    def __init__(self, place: Place, database: Database, moment: str) -> None:
        self._storage = place.storage
        self._database = database
        self._moment = moment
        self.killed: set[tuple[str, str]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def write(self, key: str, source: Path, *, content_type: str) -> WriteResult:
        await self._require_claim(key)
        act = self._storage.write
        written: WriteResult = await self._die_once("write", key, act, source, content_type=content_type)
        return written

    async def replace(self, key: str, source: Path, version: str, *, content_type: str) -> WriteResult:
        await self._require_claim(key)
        act, args = self._storage.replace, (source, version)
        written: WriteResult = await self._die_once("replace", key, act, *args, content_type=content_type)
        return written

    async def delete(self, key: str, version: str) -> None:
        await self._die_once("delete", key, self._storage.delete, version)

    async def _require_claim(self, key: str) -> None:
        found = sa.select(outputs.c.uri).where(outputs.c.uri == self._storage.uri(key))
        assert await self._database.read(lambda tx: tx.first(found)) is not None

    async def _die_once(self, name: str, key: str, act: Any, *args: Any, **kwargs: Any) -> Any:
        dies = (name, key) not in self.killed
        if dies and self._moment == "before":
            self.killed.add((name, key))
            raise _Killed
        done = await act(key, *args, **kwargs)
        if dies:  # what fails is no step
            self.killed.add((name, key))
            raise _Killed
        return done


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


async def request(database: Database, story: Story, options: ExportOptions) -> Job:
    await database.write(exports.request_run, story.run_id, Destination(CONNECTOR, "out", options))
    [job] = jobs_of(database).take(Kind.EXPORT)
    return job


async def export_through_kills(exporting: Exports, job: Job) -> int:
    """Return after how many lives the export ended."""
    for life in range(1, 120):
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
    jobs = []
    for options in (OPTIONS, LATER):
        jobs.append(await request(database, story, options))
        await database.write(lambda tx: tx.execute(sa.update(media).values(title=f"take {len(jobs)}")))
        killed = len(storage.killed)
        assert await export_through_kills(exporting, jobs[-1]) == len(storage.killed) - killed + 1
        clock.advance(5)
    rows = await database.read(lambda tx: tx.execute(sa.select(table.c.status)).scalars().all())
    assert set(rows) == {"completed"}
    there = {key: await read(place, obj) for key, obj in (await look(place)).items()}
    expected = {"out/latest.json"}
    for job in jobs:
        manifest = json.loads(there[f"out/{job.ref}/manifest.json"])
        assert there[f"out/{job.ref}/_SUCCESS"] == b""
        named = {each["name"]: each["sha256"] for each in manifest["files"]}
        assert len(named) == len(manifest["files"])
        expected |= {f"out/{job.ref}/manifest.json", f"out/{job.ref}/_SUCCESS"}
        if job is jobs[0]:  # what stood beside the source is replaced
            named = {name: digest for name, digest in named.items() if name.startswith("out/")}
        assert {name: hashlib.sha256(there[name]).hexdigest() for name in named} == named
        expected |= named.keys()
    assert set(there) == expected
    beside = {key for key in there if not key.startswith("out/")}
    assert len(beside) >= 8
    assert "a.otio" not in beside
    assert {key for name, key in storage.killed if name == "delete"} == {"a.otio"}
    assert {key for name, key in storage.killed if name == "replace"} >= {"a.json", "out/latest.json"}
    assert json.loads(there["out/latest.json"])["export_id"] == jobs[1].ref
    assert [path for path in (tmp_path / "work").iterdir() if path.suffix != ".json"] == []
