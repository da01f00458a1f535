"""How a prompt run ends: announce it and start its automatic export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vvwatch.core import runs as machine
from vvwatch.core.runs import RunStatus
from vvwatch.core.state_machine import check_transition
from vvwatch.store.db.database import Tx
from vvwatch.store.delivery import exports
from vvwatch.store.delivery.events import announce
from vvwatch.store.models.runs import Run
from vvwatch.store.runs.batches import update_run


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended, and the export it started."""

    run_id: str
    status: RunStatus
    export_id: str | None


def count_ended_items(run: Run) -> int:
    """Return how many items have ended."""
    return run.completed_items + run.partial_items + run.failed_items + run.cancelled_items


def end_if_done(tx: Tx, run: Run) -> RunEnd | None:
    """End the run if all its media were added and all its items have ended. None if it goes on or had ended before."""
    if run.filling is not None or count_ended_items(run) < run.total_items or run.status in machine.TERMINAL:
        return None
    if run.stop is not None:
        return end_run(tx, run, RunStatus.CANCELLED)
    status = machine.run_outcome(run.total_items, run.completed_items, run.partial_items, run.failed_items)
    error = f"none of {run.failed_items} items could be processed"
    return end_run(tx, run, status, error if status is RunStatus.FAILED else None)


def end_run(tx: Tx, run: Run, status: RunStatus, error: str | None = None) -> RunEnd:
    """End the run with this status, announce it, and start its automatic export."""
    check_transition(run.status, status)
    ended = update_run(tx, run, status=status, error_message=error, completed_at=tx.now)
    announce(tx, machine.EVENTS[status], run.id, run.index_id, event_data(ended))
    return RunEnd(run.id, status, exports.request_automatic(tx, ended))


def event_data(run: Run) -> dict[str, Any]:
    """Return the webhook payload of a run."""
    return {
        "run_id": run.id,
        "prompt_id": run.prompt_id,
        "index_id": run.index_id,
        "status": run.status,
        "total_items": run.total_items,
        "completed_items": run.completed_items,
        "partial_items": run.partial_items,
        "failed_items": run.failed_items,
        "cancelled_items": run.cancelled_items,
        "total_segments": run.total_segments,
        "completed_segments": run.completed_segments,
        "error_message": run.error_message,
        "not_done": run.not_done or {},
    }
