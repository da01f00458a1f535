"""What is on its way for some automations, and their last windows: a fixed number of queries for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.store.admin.attention import MOST_COUNTED
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.models.watching import NamedAutomation
from vvwatch.store.schema import (
    deliveries,
    events,
    export_automations,
    exports,
    import_automations,
    import_jobs,
    prompt_runs,
    windows,
)

STRIP: Final = 40
"""How many of its last windows are shown for an automation."""

_OF_WINDOWS: Final = (
    "id",
    "automation_id",
    "state",
    "opened_at",
    "closed_at",
    "reason",
    "held",
    "object_count",
    "size_bytes",
    "import_job_id",
)


@dataclass(frozen=True, slots=True)
class Progress:
    """Unfinished work: `count` pieces, with `done` of `total` parts done. `trouble` counts pieces that failed once."""

    owner: str
    count: int
    done: int
    total: int
    trouble: int


@dataclass(frozen=True, slots=True)
class PastWindow:
    """A window, the import job that it became (statuses are None before) and that job's run."""

    id: str
    automation_id: str
    state: str
    opened_at: float
    closed_at: float | None
    reason: str | None
    held: bool
    object_count: int
    size_bytes: int
    import_job_id: str
    job_status: str | None
    job_failed: int | None
    job_error: str | None
    run_id: str | None
    run_status: str | None
    run_ended_at: float | None


@dataclass(frozen=True, slots=True)
class LastExport:
    """The last export of an index."""

    index_id: str
    id: str
    status: str
    completed_at: float | None
    destination_uri: str | None


@dataclass(frozen=True, slots=True)
class Lanes:
    """`imports` and `strips` (newest first) are by automation, all others by index. What has nothing is missing."""

    imports: Mapping[str, Progress]
    runs: Mapping[str, Progress]
    exports: Mapping[str, Progress]
    deliveries: Mapping[str, Progress]
    last_exports: Mapping[str, LastExport]
    strips: Mapping[str, Sequence[PastWindow]]


def read_lanes(tx: Tx, shown: Sequence[NamedAutomation]) -> Lanes:
    """Return what is on its way for these automations."""
    indexes = [row.index_id for row in shown]
    return Lanes(
        imports=_count_imports(tx),
        runs=_count_runs(tx),
        exports=_count_exports(tx),
        deliveries=_count_deliveries(tx),
        last_exports=_map_last_exports(tx, indexes),
        strips=_map_strips(tx, [row.id for row in shown]),
    )


def list_past_windows(tx: Tx, automation_id: str) -> Sequence[PastWindow]:
    """Return the last windows of one automation, newest first."""
    return _map_strips(tx, [automation_id]).get(automation_id, ())


def _count_imports(tx: Tx) -> dict[str, Progress]:
    some, columns = _take_unfinished(import_jobs)
    done = columns.imported + columns.failed + columns.skipped
    return _sum(tx, some, columns.automation_id, done, columns.total_files, columns.failed > 0)


def _count_runs(tx: Tx) -> dict[str, Progress]:
    some, columns = _take_unfinished(prompt_runs)
    done = columns.completed_items + columns.partial_items + columns.failed_items + columns.cancelled_items
    return _sum(tx, some, columns.index_id, done, columns.total_items, columns.failed_items > 0)


def _count_exports(tx: Tx) -> dict[str, Progress]:
    some, columns = _take_unfinished(exports)
    zero = sa.literal(0)
    return _sum(tx, some, columns.index_id, zero, zero + 1, columns.last_error.is_not(None))


def _count_deliveries(tx: Tx) -> dict[str, Progress]:
    some, columns = _take_unfinished(deliveries)
    joined, zero = some.join(events, events.c.id == columns.event_id), sa.literal(0)
    return _sum(tx, joined, events.c.index_id, zero, zero + 1, columns.error_message.is_not(None))


def _take_unfinished(table: sa.Table) -> tuple[Any, Any]:
    """Return the unfinished rows as a subquery and its columns; not more than anybody counts."""
    some = sa.select(table).where(table.c.completed_at.is_(None)).limit(MOST_COUNTED).subquery()
    return some, some.c


def _sum(
    tx: Tx, source: Any, owner: Any, done: Any, total: Any, troubled: sa.ColumnElement[bool]
) -> dict[str, Progress]:
    sums = (
        owner.label("owner"),
        sa.func.count().label("count"),
        sa.func.sum(done).label("done"),
        sa.func.sum(total).label("total"),
        sa.func.sum(sa.case((troubled, 1), else_=0)).label("trouble"),
    )
    counted = sa.select(*sums).select_from(source).where(owner.is_not(None)).group_by(owner)
    return {each.owner: each for each in models_of(Progress, tx.all(counted))}


def _map_last_exports(tx: Tx, index_ids: Sequence[str]) -> dict[str, LastExport]:
    columns = exports.c.id, exports.c.status, exports.c.completed_at, exports.c.destination_uri
    joined = sa.select(export_automations.c.index_id, *columns).join(
        exports, exports.c.id == export_automations.c.last_export_id
    )
    found = tx.all(joined.where(export_automations.c.index_id.in_(index_ids)))
    return {each.index_id: each for each in models_of(LastExport, found)}


def _map_strips(tx: Tx, automation_ids: Sequence[str]) -> dict[str, list[PastWindow]]:
    owner, columns = import_automations.c.id, windows.c
    earlier = sa.select(columns.seq).where(columns.automation_id == owner).correlate(import_automations)
    first = earlier.order_by(columns.seq.desc()).offset(STRIP - 1).limit(1).scalar_subquery()
    past = windows.alias()
    recent = past.c.automation_id == owner, past.c.seq >= sa.func.coalesce(first, 0)
    shown = (
        *(past.c[name] for name in _OF_WINDOWS),
        import_jobs.c.status.label("job_status"),
        import_jobs.c.failed.label("job_failed"),
        import_jobs.c.error_message.label("job_error"),
        import_jobs.c.run_id,
        prompt_runs.c.status.label("run_status"),
        prompt_runs.c.completed_at.label("run_ended_at"),
    )
    chosen = (
        sa.select(*shown)
        .select_from(import_automations)
        .join(past, sa.and_(*recent))
        .outerjoin(import_jobs, import_jobs.c.id == past.c.import_job_id)
        .outerjoin(prompt_runs, prompt_runs.c.id == import_jobs.c.run_id)
        .where(owner.in_(automation_ids))
        .order_by(past.c.seq.desc())
    )
    strips: dict[str, list[PastWindow]] = {}
    for each in models_of(PastWindow, tx.all(chosen)):
        strips.setdefault(each.automation_id, []).append(each)
    return strips
