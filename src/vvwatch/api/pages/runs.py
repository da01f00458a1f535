"""Prompt runs, and one run with its media items, its failures and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import Query, Response

from vvwatch.api.compat.failed_segments import FailedSegment, to_video
from vvwatch.api.http.pagination import decode_cursor
from vvwatch.api.pages.access import Page, PageRequest, page_router
from vvwatch.api.pages.actions import Action, ActionForm, register_actions
from vvwatch.api.pages.lists import LISTED, After, Listing, Shown, to_listing, to_tabs
from vvwatch.api.routes.prompt_runs import PromptRun, to_response
from vvwatch.core.runs import TERMINAL, ItemStatus, Results
from vvwatch.store.db.database import Tx
from vvwatch.store.models.runs import Run, RunItemWithMedia, SegmentResult
from vvwatch.store.runs import result_queries, run_queries
from vvwatch.store.runs.result_queries import FailedItem
from vvwatch.store.runs.run_queries import RunView

router = page_router()

RETRY_SEGMENT: Final = "retry-segment"
_CANCEL: Final = "cancel-run"
_ITEMS: Final = (("", "All media"), ("failed", "With failures"))
_MOST_SEGMENTS: Final = 20
_TRACK: Final = 100.0

register_actions(
    {
        _CANCEL: Action(
            "POST",
            "/prompt-runs/{run_id}/cancel",
            "Cancel",
            "The run is being cancelled.",
            confirm="Cancel this run? What is being processed ends, nothing new begins, and nothing is exported.",
        ),
        RETRY_SEGMENT: Action(
            "POST",
            "/prompt-runs/{run_id}/videos/{video_id}/segments/{segment_id}/retry",
            "Retry",
            "It is processed again.",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Failed:
    """A failed segment, or a whole item, and the button that processes it again."""

    segment: FailedSegment
    retry: ActionForm | None


@dataclass(frozen=True, slots=True)
class Bar:
    """When something was processed, in hundredths of the run's time."""

    start: float
    width: float


@dataclass(frozen=True, slots=True)
class Item:
    """A media item of a run, with its first failures; `more` are not listed."""

    item: RunItemWithMedia
    bar: Bar | None
    seconds: float | None
    failed: Sequence[Failed]
    more: int


@dataclass(frozen=True, slots=True)
class RunPage:
    """A run and a page of its media items; `stopping` while it is cancelled but not over."""

    run: Run
    shown: PromptRun
    done: int
    seconds: float | None
    items: Listing[Item]
    stopping: bool
    cancel: ActionForm | None


@router.get("/runs")
async def show_runs(page: Page, show: Shown = "", cursor: After = None) -> Response:
    """List prompt runs, newest first."""
    rows = await page.context.database.read(run_queries.list_rows, show, decode_cursor(cursor), LISTED + 1)
    view = to_listing(rows, lambda row: row.id, cursor, to_tabs(show), {"show": show})
    return await page.render("runs.html", view, "Prompt runs")


@router.get("/runs/{run_id}")
async def show_run(
    page: Page, run_id: str, only: Annotated[Literal["", "failed"], Query()] = "", cursor: After = None
) -> Response:
    """Show a run with its media items, and why they failed."""
    found = await page.context.database.read(_read_run, run_id, decode_cursor(cursor), lacking=bool(only))
    view = _to_view(page, *found, only, cursor)
    return await page.render("run.html", view, f"Prompt run {run_id}")


_Read = tuple[RunView, Sequence[RunItemWithMedia], Mapping[int, Sequence[SegmentResult]]]


def _read_run(tx: Tx, run_id: str, after: str | None, *, lacking: bool) -> _Read:
    view = run_queries.get_view(tx, run_id)
    items = run_queries.list_items(tx, run_id, after, LISTED + 1, lacking=lacking)
    lacks = [each.id for each in items if each.failed_segment_count]
    return view, items, result_queries.list_failed_segments(tx, lacks, _MOST_SEGMENTS)


def _to_view(
    page: PageRequest,
    view: RunView,
    rows: Sequence[RunItemWithMedia],
    failed: Mapping[int, Sequence[SegmentResult]],
    only: str,
    cursor: str | None,
) -> RunPage:
    run, now = view.run, page.context.clock.now()
    listing = to_listing(
        rows, lambda row: row.media_id, cursor, to_tabs(only, "only", _ITEMS), {"only": only}
    )
    items = [_to_item(page, run, row, failed.get(row.id, ()), now) for row in listing.rows]
    has_ended, stopping = run.status in TERMINAL, run.stop is not None
    return RunPage(
        run=run,
        shown=to_response(view),
        done=run.completed_items + run.partial_items + run.failed_items + run.cancelled_items,
        seconds=None if run.started_at is None else (run.completed_at or now) - run.started_at,
        items=Listing(items, listing.tabs, listing.more, listing.first),
        stopping=stopping and not has_ended,
        cancel=None if has_ended or stopping else page.action(_CANCEL, run_id=run.id),
    )


def _to_item(
    page: PageRequest, run: Run, row: RunItemWithMedia, segments: Sequence[SegmentResult], now: float
) -> Item:
    failures = to_video(FailedItem(row, segments), retryable=run.results == Results.KEPT).segments
    shown = [Failed(each, _offer_retry(page, run, row, each)) for each in failures]
    lasted = None if row.started_at is None else (row.completed_at or now) - row.started_at
    return Item(row, _to_bar(run, row, now), lasted, shown, max(row.failed_segment_count - _MOST_SEGMENTS, 0))


def _offer_retry(
    page: PageRequest, run: Run, row: RunItemWithMedia, failed: FailedSegment
) -> ActionForm | None:
    if not failed.retryable or row.status == ItemStatus.CANCELLED:
        return None
    return page.action(RETRY_SEGMENT, run_id=run.id, video_id=row.media_id, segment_id=failed.segment_id)


def _to_bar(run: Run, row: RunItemWithMedia, now: float) -> Bar | None:
    """Return where the item stands in the time of its run; None if it has not begun."""
    if row.started_at is None or run.started_at is None:
        return None
    end = run.completed_at or now
    scale = _TRACK / max(end - run.started_at, 0.001)
    start = min(max((row.started_at - run.started_at) * scale, 0.0), _TRACK - 1)
    lasted = max(((row.completed_at or end) - row.started_at) * scale, 1.0)
    return Bar(round(start, 2), round(min(lasted, _TRACK - start), 2))
