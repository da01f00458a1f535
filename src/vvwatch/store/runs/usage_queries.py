"""Usage figures of a period, from rows that still exist.

Ids sort by the time they were made, so a period reads only its own rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from vvwatch.core.identities import new_id
from vvwatch.core.runs import ItemStatus
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import deliveries, exports, media, prompt_runs, run_items


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that is counted."""

    name: str
    unit: str
    meaning: str


class Detail(NamedTuple):
    """One thing that counted: its ids (`video_id`, …), when, and how much."""

    of: dict[str, str]
    at: float
    value: float


@dataclass(frozen=True, slots=True)
class _Source:
    """Rows that count: `named` is their id column with this prefix, `sums` is what each row adds by metric."""

    named: sa.ColumnElement[str]
    prefix: str
    rows: sa.FromClause
    wanted: tuple[sa.ColumnElement[bool], ...]
    of: Mapping[str, sa.ColumnElement[str]]
    at: sa.ColumnElement[float]
    sums: Mapping[str, sa.ColumnElement[Any]]

    def between(self, since: float, until: float) -> tuple[sa.ColumnElement[bool], ...]:
        first, behind = (new_id(self.prefix, at, bytes(10)) for at in (since, until))
        return (self.named >= first, self.named < behind, *self.wanted)


_ONE: Final = sa.literal(1.0)

METRICS: Final = (
    Metric("media_imported", "count", "Media items that were imported."),
    Metric("bytes_imported", "bytes", "Bytes of the media items that were imported."),
    Metric("media_processed", "count", "Media items that prompt runs ended with, wholly or in part."),
    Metric("seconds_processed", "seconds", "Running time of the media items that prompt runs ended with."),
    Metric("segments_created", "count", "Segments that prompt runs made."),
    Metric("exports_completed", "count", "Exports that were written."),
    Metric("bytes_exported", "bytes", "Bytes of the exports that were written."),
    Metric("deliveries_delivered", "count", "Events that webhooks took."),
)
"""All metrics."""

_DONE: Final = (ItemStatus.COMPLETED, ItemStatus.PARTIAL)
_SOURCES: Final = (
    _Source(
        named=media.c.id,
        prefix="vid",
        rows=media,
        wanted=(),
        of={"video_id": media.c.id},
        at=media.c.created_at,
        sums={"media_imported": _ONE, "bytes_imported": media.c.size_bytes},
    ),
    _Source(
        named=prompt_runs.c.id,
        prefix="run",
        rows=prompt_runs.join(run_items, run_items.c.run_id == prompt_runs.c.id).join(
            media, media.c.id == run_items.c.media_id
        ),
        wanted=(run_items.c.status.in_(_DONE),),
        of={"run_id": prompt_runs.c.id, "video_id": media.c.id},
        at=run_items.c.completed_at,
        sums={
            "media_processed": _ONE,
            "seconds_processed": media.c.duration_seconds,
            "segments_created": run_items.c.segment_count,
        },
    ),
    _Source(
        named=exports.c.id,
        prefix="exp",
        rows=exports,
        wanted=(exports.c.status == "completed",),
        of={"export_id": exports.c.id},
        at=exports.c.completed_at,
        sums={"exports_completed": _ONE, "bytes_exported": exports.c.file_size_bytes},
    ),
    _Source(
        named=deliveries.c.id,
        prefix="del",
        rows=deliveries,
        wanted=(deliveries.c.status == "delivered",),
        of={"delivery_id": deliveries.c.id},
        at=deliveries.c.completed_at,
        sums={"deliveries_delivered": _ONE},
    ),
)


def sum_metrics(tx: Tx, since: float, until: float) -> dict[str, float]:
    """Return the figure of every metric from `since` to just before `until`, both in epoch seconds."""
    figures = {metric.name: 0.0 for metric in METRICS}
    for source in _SOURCES:
        sums = [sa.func.coalesce(sa.func.sum(each), 0).label(name) for name, each in source.sums.items()]
        row = tx.execute(sa.select(*sums).select_from(source.rows).where(*source.between(since, until))).one()
        figures |= {name: float(value) for name, value in row._mapping.items()}
    return figures


def sum_periods(tx: Tx, months: Sequence[tuple[float, float]]) -> list[dict[str, float]]:
    """Return `sum_metrics` for each period."""
    return [sum_metrics(tx, since, until) for since, until in months]


def list_details(tx: Tx, metric: str, since: float, until: float, limit: int) -> list[Detail]:
    """Return what added to a metric, newest first."""
    source = next(source for source in _SOURCES if metric in source.sums)
    value = sa.func.coalesce(source.sums[metric], 0).label("value")
    of = [column.label(name) for name, column in source.of.items()]
    chosen = sa.select(*of, source.at.label("at"), value).select_from(source.rows)
    chosen = chosen.where(*source.between(since, until))
    rows = tx.all(chosen.order_by(source.named.desc(), *reversed(of)).limit(limit))
    return [
        Detail({name: row._mapping[name] for name in source.of}, row.at or since, float(row.value))
        for row in rows
    ]
