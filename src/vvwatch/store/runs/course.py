"""The steps of a whole run: wait for an import, add its media, cancel it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core import imports as import_machine
from vvwatch.core.imports import ImportStatus
from vvwatch.core.runs import TERMINAL, ItemStatus, RunStatus
from vvwatch.ports import Job, Kind
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import model_of, model_or_none
from vvwatch.store.models.runs import Run
from vvwatch.store.runs import endings, runs
from vvwatch.store.runs.batches import NEVER_QUEUED, cancel_items, has_never_queued, update_run
from vvwatch.store.runs.endings import RunEnd
from vvwatch.store.schema import import_jobs, prompt_runs, run_items

_STATUS_AFTER_IMPORT: Final[Mapping[str, RunStatus]] = {
    ImportStatus.FAILED: RunStatus.FAILED,
    ImportStatus.CANCELLED: RunStatus.CANCELLED,
}
GRACEFUL: Final = "graceful"
"""The stop mode of a cancelled run: items under way finish, and nothing new begins."""

_QUEUED: Final = run_items.c.next_at.is_not(None)
"""Items in the queue: never more than the run's share."""


def advance(tx: Tx, job: Job) -> RunEnd | None:
    """Take the run's next step; return how it ended if that was the last. None for a stale job."""
    run = model_or_none(Run, tx.claim(job, updated_at=tx.now))
    if run is None:
        return None
    if run.stop is not None or run.status in TERMINAL:
        return _cancel_next(tx, run)
    if run.filling is not None and run.filling["awaited"]:
        return _check_import(tx, run, run.filling)
    return runs.add_next_media(tx, run)


def _check_import(tx: Tx, run: Run, filling: Mapping[str, Any]) -> RunEnd | None:
    """Begin once the import has ended. If the import failed or was cancelled, end the run the same way."""
    job = tx.first(sa.select(import_jobs).where(import_jobs.c.id == filling["id"]))
    if job is not None and job.status not in import_machine.TERMINAL:
        tx.enqueue(Kind.RUN, run.id, run.revision, tx.now + runs.LOOK_AGAIN_SECONDS)
        return None
    run = update_run(tx, run, filling={**filling, "awaited": False})
    if job is not None and job.status in _STATUS_AFTER_IMPORT:
        run = update_run(tx, run, filling=None)
        return endings.end_run(
            tx, run, _STATUS_AFTER_IMPORT[job.status], f"import job {job.id} ended: {job.status}"
        )
    return runs.add_next_media(tx, run)


def cancel(tx: Tx, run_id: str, requested_by: str) -> Run:
    """Let items under way finish, begin nothing new, and return the run.

    A run that was cancelled before or has ended stays as it is. Raises NotFound.
    """
    run = model_of(Run, tx.require(prompt_runs, "prompt_run", run_id))
    if run.stop is None and run.status not in TERMINAL:
        asked = {
            "requested_at": tx.now,
            "requested_by": requested_by,
            "mode": GRACEFUL,
            "observed_at": tx.now,
        }
        run = _stop_run(tx, run, stop=asked)
        run = cancel_items(tx, run, run_items.c.status == ItemStatus.PENDING, _QUEUED, few=True)
        _cancel_next(tx, run)
    return runs.get(tx, run_id)


def abort(tx: Tx, run: Run) -> None:
    """End the unfinished run now; its workers record nothing more."""
    run = _stop_run(tx, run)
    cancel_items(tx, run, _QUEUED, few=True)
    endings.end_run(tx, run, RunStatus.CANCELLED)
    _cancel_next(tx, runs.get(tx, run.id))


def _stop_run(tx: Tx, run: Run, **values: Any) -> Run:
    """Take the run's share away, add no more media, and make its queued jobs stale."""
    revision = prompt_runs.c.revision + 1
    return update_run(tx, run, concurrency=0, filling=None, revision=revision, next_at=None, **values)


def _cancel_next(tx: Tx, run: Run) -> RunEnd | None:
    run = cancel_items(tx, run, *NEVER_QUEUED)
    if has_never_queued(tx, run.id):
        tx.enqueue(Kind.RUN, run.id, run.revision, tx.now)
        return None
    return endings.end_if_done(tx, run)
