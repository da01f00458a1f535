"""Exports to a connector where an attempt before has left something, and the results have changed since."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa

from tests.api.conftest import documents_in
from tests.api.story import CONNECTOR, Story
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import jobs_of
from vvwatch.ports import Job, Kind
from vvwatch.store.db.database import Database
from vvwatch.store.delivery import exports
from vvwatch.store.delivery.exports import Destination
from vvwatch.store.schema import exports as table
from vvwatch.store.schema import prompt_runs
from vvwatch.workflow.pipeline.exports import Exports

pytestmark = pytest.mark.anyio


class _Killed(Exception):
    pass


@pytest.fixture
def exporting(database: Database, clock: FakeClock, storage: FakeStorage, tmp_path: Path) -> Exports:
    return documents_in(tmp_path / "work", database, clock, storage)


@pytest.fixture
async def job(database: Database, story: Story) -> Job:
    await database.write(exports.request_run, story.run_id, Destination(CONNECTOR, "out"))
    [job] = jobs_of(database).take(Kind.EXPORT)
    return job


async def row(database: Database, job: Job) -> sa.Row[Any]:
    return await database.read(lambda tx: tx.execute(sa.select(table).where(table.c.id == job.ref)).one())


class Left:
    """What a killed attempt has left: the keys of the document and its manifest, and what stood there."""

    def __init__(self, storage: FakeStorage, export_id: str) -> None:
        found = sorted(key for key in storage._objects if export_id in key)
        self.storage = storage
        self.key, self.manifest = found
        self.document = self.now

    @property
    def now(self) -> bytes:
        return self.storage._objects[self.key][1]


@pytest.fixture
async def left(
    exporting: Exports, database: Database, storage: FakeStorage, job: Job, monkeypatch: pytest.MonkeyPatch
) -> Left:
    """Both files stand there, the process died before it noted that, and the prompt of the run reads otherwise now."""

    def die(*_: Any, **__: Any) -> NoReturn:
        raise _Killed

    with monkeypatch.context() as patched:
        patched.setattr(exports, "finish", die)
        with pytest.raises(_Killed):
            await exporting.export(job)
    await database.write(lambda tx: tx.execute(sa.update(prompt_runs).values(prompt={"name": "other"})))
    return Left(storage, job.ref)


def is_told(left: Left, export: sa.Row[Any]) -> bool:
    """Whether export and manifest tell what stands there."""
    manifest = json.loads(left.storage._objects[left.manifest][1])
    digest = hashlib.sha256(left.now).hexdigest()
    return bool(export.sha256 == manifest["files"][0]["sha256"] == digest)


async def test_what_has_no_manifest_is_written_anew(
    exporting: Exports, database: Database, storage: FakeStorage, job: Job, left: Left
) -> None:
    storage.remove(left.manifest)
    await exporting.export(job)
    export = await row(database, job)
    assert (export.status, left.now != left.document) == ("completed", True)
    assert is_told(left, export)


async def test_what_has_its_manifest_was_delivered(
    exporting: Exports, database: Database, job: Job, left: Left
) -> None:
    await exporting.export(job)
    export = await row(database, job)
    assert (export.status, left.now) == ("completed", left.document)
    assert is_told(left, export)


@pytest.mark.parametrize("manifest", [b"", b"[]", b'{"files":[{"sha256":"00"}]}'])
async def test_what_has_another_manifest_is_left_alone(
    exporting: Exports, database: Database, storage: FakeStorage, job: Job, left: Left, manifest: bytes
) -> None:
    storage.put(left.manifest, manifest)
    await exporting.export(job)
    export = await row(database, job)
    assert (export.status, left.now) == ("failed", left.document)
    assert "another manifest" in export.error_message
