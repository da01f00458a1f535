"""A finished piece of the pipeline in the database: one window, and what became of its three files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from tests.clock import FakeClock
from tests.databases import Databases
from tests.fakes import FakeStorage
from tests.store.pipeline import PROBE, RESULT, RecordingSink, jobs_of, prepare
from vvwatch import ports
from vvwatch.core.deliveries import DeliveryStatus
from vvwatch.core.filters import Reason
from vvwatch.core.imports import FileStatus
from vvwatch.core.networks import PUBLIC_ONLY
from vvwatch.core.objects import StorageObject
from vvwatch.core.retries import DELIVERY_DELAYS
from vvwatch.core.selection import SkippedObject
from vvwatch.ports import Kind
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.delivery import deliveries, exports, webhooks
from vvwatch.store.delivery.deliveries import AttemptResult, EndedAttempt
from vvwatch.store.delivery.webhooks import WebhookSpec
from vvwatch.store.imports import imports
from vvwatch.store.imports.imports import FileOutcome
from vvwatch.store.models.delivery import Webhook
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.runs import runs
from vvwatch.store.schema import import_jobs, media
from vvwatch.store.watching import ledger, windows

INDEX = "idx_main"
CONNECTOR = "conn_in"
SECRET = "whsec_planted"
EVENTS = ("import_job.started", "media.created", "prompt_run.completed", "export.ready")
FAILED = FileOutcome(FileStatus.FAILED, "media_unreadable", "moov atom not found")


@dataclass
class Story:
    """The ids of what came of it: `a.mp4` was imported, `b.mp4` failed, `c.txt` was skipped."""

    automation_id: str
    job_id: str
    video_id: str
    run_id: str
    export_id: str
    webhook_id: str


def prepared(tx: Tx) -> ImportAutomation:
    """The automation of an index whose parts all stand in the database."""
    return prepare(tx)


@dataclass
class Written:
    """A story that databases made from the template `story` begin with."""

    story: Story
    storage: FakeStorage
    wall: float


@cache
def write(databases: Databases, dialect: str) -> Written:
    """Tell the story to a database, and make that the template of this name; once."""
    clock, storage, stories = FakeClock(), FakeStorage(), []

    async def tell(database: Database) -> None:
        database.clock, database.sink = clock, RecordingSink()
        stories.append(await told(database, clock, storage))

    databases.prepare(dialect, "story", tell)
    return Written(stories[0], storage, clock.wall)


async def told(database: Database, clock: FakeClock, storage: FakeStorage) -> Story:
    """The whole way, once, from the first object to the last delivery."""
    automation = await database.write(prepared)
    webhook = await _webhook(database)
    found = [storage.put("a.mp4", b"aaaa"), storage.put("b.mp4", b"bb")]
    seen = SkippedObject("c.txt", "v", 1, Reason.UNSUPPORTED_MEDIA_TYPE, "txt")
    await database.write(ledger.record_observations, automation.id, [seen])
    await window(database, clock, automation, found)
    await _imported(database, storage)
    await _processed(database)
    export_id = await _exported(database)
    await deliver(database)
    job = await _only(database, import_jobs)
    video = await _only(database, media)
    return Story(automation.id, job.id, video.id, job.run_id, export_id, webhook.id)


async def _webhook(database: Database) -> Webhook:
    box = SecretBox(b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
    spec = WebhookSpec("hook", "https://example.com/hook", EVENTS, metadata={"team": "red"})
    return await database.write(webhooks.declare, box, "wh_hook", spec, SECRET, PUBLIC_ONLY)


async def window(
    database: Database, clock: FakeClock, automation: ImportAutomation, found: list[StorageObject]
) -> None:
    """A window with these objects, closed by its quiet time."""
    await database.write(windows.accept_objects, automation.id, automation.generation, found)
    clock.advance(300)
    for job in jobs_of(database).take(Kind.WINDOW):
        await database.write(windows.close_due, job)


async def _imported(database: Database, storage: FakeStorage) -> None:
    good, bad = jobs_of(database).take(Kind.IMPORT_FILE)
    imported = FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri=storage.uri("a.mp4"))
    for job, outcome in ((good, imported), (bad, FAILED)):
        await database.write(imports.begin_file, job)
        await database.write(imports.finish_file, job, outcome)


async def _processed(database: Database) -> None:
    for job in jobs_of(database).take(Kind.RUN_ITEM):
        await database.write(runs.begin_item, job)
        await database.write(runs.finish_item, job, RESULT)


async def _exported(database: Database) -> str:
    [job] = jobs_of(database).take(Kind.EXPORT)
    await database.write(exports.begin, job)
    written = ports.WriteResult("file:///out/results/x.json", 812, "00ff")
    row = await database.write(exports.finish, job, written, delivered=True)
    assert row is not None
    return str(row.id)


async def deliver(database: Database, status: DeliveryStatus = DeliveryStatus.DELIVERED) -> None:
    """End everything that waits to be delivered."""
    for job in jobs_of(database).take(Kind.DELIVERY):
        [work] = await database.write(deliveries.begin_all, [job])
        assert work is not None
        answer = AttemptResult(200 if status is DeliveryStatus.DELIVERED else 500, "ok", None, 0.25)
        ended = EndedAttempt(job, work.delivery.attempts, answer, status)
        await database.write(deliveries.finish_all, [ended], 20, DELIVERY_DELAYS)


async def _only(database: Database, table: sa.Table) -> sa.Row[Any]:
    return await database.read(lambda tx: tx.execute(sa.select(table)).one())
