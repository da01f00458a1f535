"""The application in this process, over a real database, with clients of every scope."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from tests.api.asking import Api, client_of, shared_client_of
from tests.api.story import Story, Written, write
from tests.clock import FakeClock
from tests.databases import Databases
from tests.fakes import FakeStorage
from tests.processing import FakeProcessor
from tests.store.pipeline import RESULT, RecordingSink
from vvwatch.api.http.context import ApiContext, ApiSettings
from vvwatch.core.processors import ProcessorNames
from vvwatch.providers.local.uploads import UploadsFolder
from vvwatch.store.db.database import Database
from vvwatch.store.db.encryption import SecretBox
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.exports import Exports
from vvwatch.workflow.pipeline.reading import Reading
from vvwatch.workflow.pipeline.uploads import Uploads
from vvwatch.workflow.upkeep.refusals import RefusedRequests


@pytest.fixture
def written(databases: Databases, dialect: str) -> Written:
    """What was written, before the database is copied."""
    return write(databases, dialect)


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> FakeClock:
    if "story" in request.fixturenames:
        return FakeClock(request.getfixturevalue("written").wall)
    return FakeClock()


@pytest.fixture
async def database(
    databases: Databases, dialect: str, clock: FakeClock, request: pytest.FixtureRequest
) -> AsyncIterator[Database]:
    template = "story" if "story" in request.fixturenames else "blank"
    with databases.fresh(dialect, clock, template) as database:
        database.sink = RecordingSink()
        async with database.opened():
            yield database


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage()


@pytest.fixture
def settings(tmp_path: Path) -> ApiSettings:
    (tmp_path / "media").mkdir()
    return ApiSettings(local_roots=(tmp_path / "media",))


def documents_in(folder: Path, database: Database, clock: FakeClock, storage: FakeStorage) -> Exports:
    """The exports of a node that keeps its documents in `folder`."""
    folder.mkdir()
    reading = Reading(clock, lambda _: storage, FakeProcessor(), {}, 3, lambda: 0.5)
    return Exports(database, clock, Telemetry("test"), reading, folder)


def uploads_in(root: Path, database: Database, clock: FakeClock) -> Uploads:
    """The uploads of a node that keeps them in `root`."""
    folder = UploadsFolder(root)
    folder.prepare()
    return Uploads(database, clock, folder)


def _figures(*, with_names: bool) -> bytes:
    return b"of all by name\n" if with_names else b"totals\n"


@pytest.fixture
def context(
    database: Database, clock: FakeClock, storage: FakeStorage, settings: ApiSettings, tmp_path: Path
) -> ApiContext:
    async def status() -> dict[str, object]:
        return {"automations": []}

    hosted = ("gemini-2*", "gemini-3*", "gpt-*", "claude-*")
    technical = FakeProcessor(result=RESULT, models=hosted)
    processors = {"technical": technical, "other": FakeProcessor("other", RESULT)}
    database.processors = ProcessorNames({name: each.info for name, each in processors.items()})
    return ApiContext(
        database=database,
        clock=clock,
        box=SecretBox(b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
        storages=lambda _row: storage,
        document=documents_in(tmp_path / "exports", database, clock, storage).document,
        processors=processors,
        settings=settings,
        status=status,
        readiness=lambda: {"database": True},
        metrics=_figures,
        telemetry=Telemetry("test"),
        uploads=uploads_in(tmp_path / "uploads", database, clock),
        refused=RefusedRequests(database, clock, Telemetry("test")),
    )


@pytest.fixture
async def api(context: ApiContext) -> AsyncIterator[Api]:
    """An administrator's client."""
    async with shared_client_of(context) as client:
        yield await Api.prepared(client, context)


@pytest.fixture
async def scaled(context: ApiContext, settings: ApiSettings) -> AsyncIterator[Api]:
    """A server whose public debounce intervals are a hundred times shorter."""
    short = replace(context, settings=replace(settings, debounce_scale=0.01))
    async with client_of(short) as client:
        yield await Api.prepared(client, short)


@pytest.fixture
async def stranger(context: ApiContext) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without a key."""
    async with shared_client_of(context) as client:
        yield client


@pytest.fixture
def story(database: Database, storage: FakeStorage, written: Written) -> Story:
    """A finished piece of the pipeline."""
    storage._objects.update(written.storage._objects)
    return written.story
