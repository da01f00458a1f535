"""An installation in the middle of everything: what is done, under way and to come, side by side."""

from __future__ import annotations

import base64

from tests.clock import FakeClock
from tests.store.pipeline import PROBE, RESULT, RecordingSink, obj, prepare
from vvwatch.core.imports import FileStatus
from vvwatch.core.networks import AddressPolicy
from vvwatch.ports import Kind, WriteResult
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.delivery import exports, webhooks
from vvwatch.store.imports import imports
from vvwatch.store.imports.imports import FileOutcome
from vvwatch.store.runs import runs
from vvwatch.store.watching import ledger, windows

BOX = SecretBox(base64.urlsafe_b64encode(bytes(range(32))))
URI = "file:///in/results/done.json"


async def busy(database: Database, clock: FakeClock) -> None:
    """An ended run with its export, a run to do, an import job in its middle, an open window, deliveries to make."""
    sink = database.sink = RecordingSink()
    await database.write(_webhook)
    automation = await database.write(prepare)
    for key in ("done.mp4", "processing.mp4"):
        await database.write(windows.accept_objects, automation.id, automation.generation, [obj(key)])
        await _import(database, clock, sink, key)
        if key == "done.mp4":
            await _export(database, sink)
    await database.write(
        windows.accept_objects,
        automation.id,
        automation.generation,
        [obj("bad.mp4"), obj("c.mp4"), obj("d.mp4")],
    )
    clock.advance(400)
    await database.write(windows.close_due, sink.take(Kind.WINDOW)[-1])
    failed = FileOutcome(FileStatus.FAILED, "unreadable", "it is cut short")
    await database.write(imports.finish_file, sink.take(Kind.IMPORT_FILE)[0], failed)
    await database.write(
        windows.accept_objects, automation.id, automation.generation, [obj("e.mp4"), obj("bad.mp4", "v2")]
    )


def _webhook(tx: Tx) -> None:
    events = ("import_job.started", "media.created")
    spec = webhooks.WebhookSpec("one", "https://example.org/hook", events, None, None)
    policy = AddressPolicy()
    webhooks.declare(tx, BOX, "hook_one", spec, "whsec_planted-secret-for-tests", policy)


async def _import(database: Database, clock: FakeClock, sink: RecordingSink, key: str) -> None:
    clock.advance(400)
    await database.write(windows.close_due, sink.take(Kind.WINDOW)[-1])
    outcome = FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri=f"file:///in/{key}")
    await database.write(imports.finish_file, sink.take(Kind.IMPORT_FILE)[0], outcome)


async def _export(database: Database, sink: RecordingSink) -> None:
    [item] = sink.take(Kind.RUN_ITEM)
    await database.write(runs.begin_item, item)
    await database.write(runs.finish_item, item, RESULT)
    [export] = sink.take(Kind.EXPORT)
    await database.write(exports.begin, export)
    await database.write(ledger.claim_outputs, [URI], export.ref)
    await database.write(exports.finish, export, WriteResult(URI, 10, "0" * 64), delivered=True)
