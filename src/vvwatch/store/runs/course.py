"""The course of a whole run: it waits for an import, takes in its media, and is called off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core import imports as import_machine
from vvwatch.core.imports import ImportStatus
from vvwatch.core.runs import TERMINAL, ItemStatus, RunStatus
from vvwatch.ports import Job, Kind
from vvwatch.store.db.database import Tx
from vvwatch.store.runs import endings, runs
from vvwatch.store.runs.batches import FRESH, call_off, changed, has_fresh
from vvwatch.store.runs.endings import RunEnd
from vvwatch.store.schema import import_jobs, prompt_runs, run_items

_FRUITLESS: Final[Mapping[str, RunStatus]] = {
    ImportStatus.FAILED: RunStatus.FAILED,
    ImportStatus.CANCELLED: RunStatus.CANCELLED,
}
GRACEFUL: Final = "graceful"
"""How a run stops that was asked to: what is under way ends as it would, and nothing else begins."""

_IN_HAND: Final = run_items.c.next_at.is_not(None)
"""As few items as the run's share is."""


def advance(tx: Tx, job: Job) -> RunEnd | None:
    """Take the run's next step; how it ended, when that was the last. None for a stale job."""
    run = tx.claim(job, updated_at=tx.now)
    if run is None:
        return None
    if run.stop is not None or run.status in TERMINAL:
        return _call_off_next(tx, run)
    if run.filling is not None and run.filling["awaited"]:
        return _look_for_import(tx, run)
    return runs.take_in(tx, run)


def _look_for_import(tx: Tx, run: sa.Row[Any]) -> RunEnd | None:
    """Begin when the import has ended. Where it failed or was cancelled, the run ends as it did."""
    job = tx.first(sa.select(import_jobs).where(import_jobs.c.id == run.filling["id"]))
    if job is not None and job.status not in import_machine.TERMINAL:
        tx.put(Kind.RUN, run.id, run.revision, tx.now + runs.LOOK_AGAIN_SECONDS)
        return None
    run = changed(tx, run, filling=run.filling | {"awaited": False})
    if job is not None and job.status in _FRUITLESS:
        run = changed(tx, run, filling=None)
        return endings.end(tx, run, _FRUITLESS[job.status], f"import job {job.id} ended: {job.status}")
    return runs.take_in(tx, run)


def cancel(tx: Tx, run_id: str, requested_by: str) -> sa.Row[Any]:
    """Let what the run has under way end, and nothing new begin; the run as it is then.

    One that was cancelled before, or has ended, stays as it is. Raises NotFound.
    """
    run = tx.require(prompt_runs, "prompt_run", run_id)
    if run.stop is None and run.status not in TERMINAL:
        asked = {
            "requested_at": tx.now,
            "requested_by": requested_by,
            "mode": GRACEFUL,
            "observed_at": tx.now,
        }
        run = _halted(tx, run, stop=asked)
        run = call_off(tx, run, run_items.c.status == ItemStatus.PENDING, _IN_HAND, few=True)
        _call_off_next(tx, run)
    return runs.get(tx, run_id)


def break_off(tx: Tx, run: sa.Row[Any]) -> None:
    """The run, which has not ended, ends now; what works on it records nothing more."""
    run = _halted(tx, run)
    call_off(tx, run, _IN_HAND, few=True)
    endings.end(tx, run, RunStatus.CANCELLED)
    _call_off_next(tx, runs.get(tx, run.id))


def _halted(tx: Tx, run: sa.Row[Any], **values: Any) -> sa.Row[Any]:
    """It has no share of anything any more, takes in nothing, and what was put for it is stale."""
    revision = prompt_runs.c.revision + 1
    return changed(tx, run, concurrency=0, filling=None, revision=revision, next_at=None, **values)


def _call_off_next(tx: Tx, run: sa.Row[Any]) -> RunEnd | None:
    run = call_off(tx, run, *FRESH)
    if has_fresh(tx, run.id):
        tx.put(Kind.RUN, run.id, run.revision, tx.now)
        return None
    return endings.settle(tx, run)
