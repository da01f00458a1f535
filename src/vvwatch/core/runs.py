"""The statuses of a prompt run and of its media items, and how a run ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vvwatch.core.media import ProcessingResult


class RunStatus(StrEnum):
    """The state of a prompt run."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    COMPLETED_WITH_FAILURES = "completed_with_failures"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Results(StrEnum):
    """Whether a run's results still exist: old results may be dropped, a part at a time."""

    KEPT = "kept"
    DROPPING = "dropping"
    DROPPED = "dropped"


class ItemStatus(StrEnum):
    """The state of one media item; `partial` has results but is damaged or lacks some.

    An item without a single good segment has `failed`.
    """

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RetryStatus(StrEnum):
    """The state of the retry of a failed segment."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


TERMINAL: Final = frozenset(
    {RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_FAILURES, RunStatus.FAILED, RunStatus.CANCELLED}
)
"""The statuses in which a run has ended."""

EVENTS: Final[Mapping[RunStatus, str]] = {
    RunStatus.COMPLETED: "prompt_run.completed",
    RunStatus.COMPLETED_WITH_FAILURES: "prompt_run.partial_completed",
    RunStatus.FAILED: "prompt_run.failed",
    RunStatus.CANCELLED: "prompt_run.cancelled",
}
"""The final statuses of a run, and their events."""


MEDIA_DAMAGED: Final = "media_damaged"
SEGMENTS_FAILED: Final = "segments_failed"
"""The error of an item all of whose segments failed: processed to its end, without a result."""
WHOLE_FAILED: Final = "video_level_failed"
"""The error of a partial item without the result for the whole."""


@dataclass(frozen=True, slots=True)
class ItemEnding:
    """The final status of a fully processed item, and why it is not `completed`."""

    status: ItemStatus
    code: str | None = None
    message: str | None = None


def item_ending(result: ProcessingResult) -> ItemEnding:
    """Return how an item with this result ends."""
    errors = [segment.error for segment in result.segments if segment.error is not None]
    failed = (
        [f"{len(errors)} of {len(result.segments)} segments failed, the first: {errors[0]}"] if errors else []
    )
    said = "; ".join([*result.damage, *failed]) or None
    if errors and len(errors) == len(result.segments):
        return ItemEnding(ItemStatus.FAILED, SEGMENTS_FAILED, _all_failed(errors))
    if result.whole_error is not None:
        why = f"the result of the whole is missing: {result.whole_error}"
        return ItemEnding(ItemStatus.PARTIAL, WHOLE_FAILED, f"{said}; {why}" if said else why)
    if said is None:
        return ItemEnding(ItemStatus.COMPLETED)
    return ItemEnding(ItemStatus.PARTIAL, MEDIA_DAMAGED if result.damage else None, said)


def _all_failed(errors: Sequence[str]) -> str:
    if len(errors) == 1:
        return f"its only segment failed: {errors[0]}"
    return f"all of its {len(errors)} segments failed, the first: {errors[0]}"


def run_outcome(total: int, completed: int, partial: int, failed: int) -> RunStatus:
    """Return the final status of a run whose items have all ended.

    `completed`, `partial` and `failed` count items; a run without items has completed.
    """
    if total and failed >= total:
        return RunStatus.FAILED
    if completed < total or partial or failed:
        return RunStatus.COMPLETED_WITH_FAILURES
    return RunStatus.COMPLETED


def corrected_status(status: RunStatus, total: int, completed: int, partial: int, failed: int) -> RunStatus:
    """Return the status of a run after one of its items improved.

    A running or cancelled run keeps its status.
    """
    if status in TERMINAL - {RunStatus.CANCELLED}:
        return run_outcome(total, completed, partial, failed)
    return status
