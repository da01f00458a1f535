"""Queries of prompt runs and their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.budgets import run_scope
from vvwatch.core.runs import TERMINAL, ItemStatus, RunStatus
from vvwatch.core.tallies import TRANSCRIBED, UNTRANSCRIBED, WHOLE_FAILED
from vvwatch.errors import NotFound
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.deleted import is_not_deleted
from vvwatch.store.db.database import Tx
from vvwatch.store.db.lists import Show, select_shown
from vvwatch.store.db.typed import first_of, model_of, models_of
from vvwatch.store.models.runs import Run, RunItemWithMedia, ScopeSpending, SegmentResult
from vvwatch.store.runs import spending
from vvwatch.store.runs.transcripts import NOTHING_KNOWN, Said, load_said
from vvwatch.store.schema import media, prompt_runs, run_items, segment_results, segment_retries
from vvwatch.store.schema.results import ITEM_LACKS, RUN_NEEDS_ATTENTION

_ENDS: Final = (ItemStatus.COMPLETED, ItemStatus.PARTIAL, ItemStatus.FAILED, ItemStatus.CANCELLED)


@dataclass
class RunTally:
    """Item counts of a run by media type and status, and their total duration in seconds.

    `whole_failed` counts the partial items without a video-level result, `transcribed` the items with a transcript,
    and `untranscribed` those that should have one.
    """

    items: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: float = 0.0
    whole_failed: int = 0
    transcribed: int = 0
    untranscribed: int = 0

    def call_off(self) -> None:
        """Count pending items as cancelled: rows of an aborted run are updated later, in batches."""
        for kind in {kind for kind, _ in self.items}:
            self.items[kind, ItemStatus.CANCELLED] += self.items.pop((kind, ItemStatus.PENDING), 0)


@dataclass(frozen=True, slots=True)
class RunView:
    """A run and its tally. `spent` is what its calls cost, None without calls."""

    run: Run
    tally: RunTally
    spent: ScopeSpending | None = None


@dataclass(frozen=True, slots=True)
class ItemView:
    """One media item of a run, with its run and some of its segment results in order, and what is said in it."""

    run: Run
    item: RunItemWithMedia
    segments: Sequence[SegmentResult]
    said: Said = NOTHING_KNOWN


def get(tx: Tx, run_id: str) -> Run:
    """Return the run. Raises NotFound."""
    return model_of(Run, tx.require(prompt_runs, "prompt_run", run_id))


def find(tx: Tx, run_id: str) -> Run | None:
    """Return the run, or None."""
    return first_of(Run, tx.execute(sa.select(prompt_runs).where(prompt_runs.c.id == run_id)))


def processors_in_use(tx: Tx) -> set[str]:
    """Return the processors of unfinished runs and retries."""
    runs = sa.select(prompt_runs.c.processor).where(prompt_runs.c.status.not_in(TERMINAL))
    retries = (
        sa.select(prompt_runs.c.processor)
        .join(run_items, run_items.c.run_id == prompt_runs.c.id)
        .join(segment_retries, segment_retries.c.run_item_id == run_items.c.id)
        .where(segment_retries.c.next_at.is_not(None))
    )
    return set(tx.execute(sa.union(runs, retries)).scalars())


def get_view(tx: Tx, run_id: str) -> RunView:
    """Return the run with its tally. Raises NotFound."""
    return _to_views(tx, [get(tx, run_id)])[0]


def list_rows(tx: Tx, show: Show, before_id: str | None, limit: int) -> list[Run]:
    """Return runs without their tallies, newest first, older than `before_id`."""
    shown = select_shown(prompt_runs, show, RUN_NEEDS_ATTENTION, before_id)
    return models_of(Run, tx.all(shown.limit(limit)))


def list_newest(tx: Tx, limit: int) -> list[RunView]:
    """Return runs, newest first."""
    return _to_views(tx, list_rows(tx, "", None, limit))


def list_page(tx: Tx, index_id: str, before_id: str | None, limit: int) -> list[RunView]:
    """Return runs of an index, newest first, older than `before_id`. Raises NotFound for the index."""
    catalog.get_index(tx, index_id)
    wanted = [prompt_runs.c.index_id == index_id]
    wanted += [prompt_runs.c.id < before_id] if before_id is not None else []
    chosen = sa.select(prompt_runs).where(*wanted).order_by(prompt_runs.c.id.desc()).limit(limit)
    return _to_views(tx, models_of(Run, tx.all(chosen)))


def _to_views(tx: Tx, found: Sequence[Run]) -> list[RunView]:
    tallies = {run.id: _to_tally(run.tally) for run in found if run.tally is not None}
    tallies |= _count_items(tx, [run.id for run in found if run.tally is None])
    for run in found:
        if run.status == RunStatus.CANCELLED:
            tallies[run.id].call_off()
    spent = spending.read_spending(tx, [run_scope(run.id) for run in found])
    return [RunView(run, tallies[run.id], spent.get(run_scope(run.id))) for run in found]


def _to_tally(tally: Mapping[str, Mapping[str, Any]]) -> RunTally:
    """Return the stored tally; items that have not ended count as pending."""
    found = RunTally()
    for media_type, counts in tally.items():
        ends = {status: counts.get(status, 0) for status in _ENDS}
        found.items.update({(media_type, status): number for status, number in ends.items()})
        found.items[media_type, ItemStatus.PENDING] = counts["total"] - sum(ends.values())
        found.seconds += counts["seconds"]
        found.whole_failed += counts.get(WHOLE_FAILED, 0)
        found.transcribed += counts.get(TRANSCRIBED, 0)
        found.untranscribed += counts.get(UNTRANSCRIBED, 0)
    return found


def _count_items(tx: Tx, run_ids: Sequence[str]) -> Mapping[str, RunTally]:
    """Count the items of runs without a stored tally in one query."""
    tallies = {run_id: RunTally() for run_id in run_ids}
    groups = (
        sa.select(
            run_items.c.run_id,
            media.c.media_type,
            run_items.c.status,
            sa.func.count().label("count"),
            sa.func.coalesce(sa.func.sum(media.c.duration_seconds), 0.0).label("seconds"),
        )
        .join(media, media.c.id == run_items.c.media_id)
        .where(run_items.c.run_id.in_(run_ids))
        .group_by(run_items.c.run_id, media.c.media_type, run_items.c.status)
    )
    for group in tx.all(groups) if run_ids else ():
        tally = tallies[group.run_id]
        tally.items[group.media_type, group.status] += group._mapping["count"]
        tally.seconds += group.seconds
    return tallies


def is_item_present() -> sa.ColumnElement[bool]:
    """Return the condition that neither the item's media nor its index was deleted."""
    its = media.c.id == run_items.c.media_id, is_not_deleted(media.c.id), is_not_deleted(media.c.index_id)
    return sa.exists().where(*its).correlate(run_items)


def select_items() -> sa.Select[Any]:
    """Return the query of `RunItemWithMedia`."""
    columns = [column.label(f"media_{column.name}") for column in media.c if column.name != "id"]
    return sa.select(run_items, *columns).join(media, media.c.id == run_items.c.media_id)


def list_items(
    tx: Tx, run_id: str, after_media_id: str | None, limit: int, *, lacking: bool = False
) -> list[RunItemWithMedia]:
    """Return media items of a run by media id, after `after_media_id`; with `lacking`, those with failures only."""
    wanted = [run_items.c.run_id == run_id]
    wanted += [ITEM_LACKS] if lacking else []
    wanted += [run_items.c.media_id > after_media_id] if after_media_id is not None else []
    chosen = select_items().where(*wanted).order_by(run_items.c.media_id).limit(limit)
    return models_of(RunItemWithMedia, tx.all(chosen))


def get_item(tx: Tx, run_id: str, media_id: str) -> ItemView:
    """Return one media item of a run, without its segments. Raises NotFound for the run, or a video not in it."""
    run = get(tx, run_id)
    its = run_items.c.run_id == run_id, run_items.c.media_id == media_id, is_item_present()
    found = first_of(RunItemWithMedia, tx.execute(select_items().where(*its)))
    if found is None:
        raise NotFound("video", media_id, f"it is not part of prompt run {run_id}")
    return ItemView(run, found, ())


def list_item_segments(tx: Tx, run_id: str, media_id: str, after_ordinal: int, limit: int) -> ItemView:
    """Return the item like `get_item`, with the segments after `after_ordinal`."""
    found = get_item(tx, run_id, media_id)
    table = segment_results
    following = table.c.run_item_id == found.item.id, table.c.ordinal > after_ordinal
    rows = tx.all(sa.select(table).where(*following).order_by(table.c.ordinal).limit(limit))
    said = load_said(tx, [found.item.id]).get(found.item.id, NOTHING_KNOWN)
    return ItemView(found.run, found.item, models_of(SegmentResult, rows), said)
