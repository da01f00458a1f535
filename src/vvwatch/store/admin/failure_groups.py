"""What failed and needs a person, piece by piece: grouped by its reason, and paged within a group.

The rows are those that `attention` counts; here each failed file and media item counts, so that a job with thousands of
failures shows their reasons.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.store.admin.attention import MOST_COUNTED
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.schema import (
    deliveries,
    exports,
    import_files,
    import_jobs,
    media,
    prompt_runs,
    run_items,
    webhooks,
)
from vvwatch.store.schema.outbox import DELIVERY_NEEDS_ATTENTION
from vvwatch.store.schema.results import (
    EXPORT_NEEDS_ATTENTION,
    FILE_FAILED,
    ITEM_LACKS,
    JOB_NEEDS_ATTENTION,
    RUN_NEEDS_ATTENTION,
)

SOME_SEGMENTS_FAILED: Final = "some_segments_failed"
"""The reason of an item that has results, and lacks those of some segments."""

MOST_DELIVERIES: Final = 2_500
"""How many deliveries are counted: no index has their reasons, which may be long."""

_UNKNOWN: Final = "failed"
_MOST_GROUPS: Final = 500


class FailedKind(StrEnum):
    """What failed: a file of a job, a job that could not list, a media item of a run, a run without items, …"""

    FILE = "import_file"
    JOB = "import_job"
    ITEM = "run_item"
    RUN = "prompt_run"
    EXPORT = "export"
    DELIVERY = "delivery"


@dataclass(frozen=True, slots=True)
class FailedPiece:
    """One failure. `owner` is the job of a file, the run of an item, the webhook of a delivery; `label` names it.

    `reason` is the code of a file or item, and otherwise the message. `retryable` is False for what cannot be retried
    piece by piece: jobs, runs, and files that are in no store that is scanned.
    """

    id: Any
    owner: str
    media_id: str
    label: str
    reason: str
    message: str
    at: float
    retryable: bool


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one kind with the same reason; those of deliveries also with the same webhook (`about`).

    `retryable` tells whether any of them can be retried.
    """

    kind: FailedKind
    reason: str
    about: str
    count: int
    retryable: bool
    newest: FailedPiece


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the failures of a kind are: the tables, the condition, and the columns of a `FailedPiece`.

    `counted` are the tables that counting them by reason needs, which counts the `most` newest.
    """

    of: sa.FromClause
    needed: sa.ColumnElement[bool]
    columns: Mapping[str, sa.ColumnElement[Any]]
    counted: sa.FromClause
    most: int = MOST_COUNTED

    def select(self) -> sa.Select[Any]:
        """Return the query of all failures of the kind."""
        labelled = (column.label(name) for name, column in self.columns.items())
        return sa.select(*labelled).select_from(self.of).where(self.needed)


def list_groups(
    tx: Tx, since: float, kinds: Collection[FailedKind] = tuple(FailedKind)
) -> list[FailureGroup]:
    """Return the groups of what failed after `since`, the largest first; of each kind, `most_counted` are counted."""
    found = [group for kind in kinds for group in _list_groups_of(tx, kind, since)]
    return sorted(found, key=lambda group: (-group.count, group.kind, group.reason))


def most_counted(kind: FailedKind) -> int:
    """Return how many failures of this kind are counted, the newest."""
    return _SOURCES[kind].most


def list_pieces(
    tx: Tx, kind: FailedKind, reason: str, about: str, since: float, before: str | None, limit: int
) -> list[FailedPiece]:
    """Return the failures of a group, newest first, before the id `before`."""
    source = _SOURCES[kind]
    columns = source.columns
    wanted = [columns["reason"] == reason, columns["at"] > since]
    wanted += [columns["owner"] == about] if about else []
    if before is not None:
        is_number = isinstance(columns["id"].type, sa.Integer)
        wanted.append(columns["id"] < (int(before) if is_number else before))
    newest = sa.select(columns["id"]).select_from(source.counted).where(source.needed, *wanted)
    ids = tx.execute(newest.order_by(columns["id"].desc()).limit(limit)).scalars().all()
    rows = tx.all(source.select().where(columns["id"].in_(ids)).order_by(columns["id"].desc()))
    return models_of(FailedPiece, rows)


def _list_groups_of(tx: Tx, kind: FailedKind, since: float) -> list[FailureGroup]:
    source = _SOURCES[kind]
    chosen, columns = source.select(), source.columns
    wanted = (columns[name].label(name) for name in ("id", "owner", "reason", "retryable"))
    recent = sa.select(*wanted).select_from(source.counted).where(source.needed, columns["at"] > since)
    some = recent.order_by(columns["at"].desc()).limit(source.most).subquery()
    about = some.c.owner if kind is FailedKind.DELIVERY else sa.literal("")
    retryable = sa.func.sum(sa.case((some.c.retryable, 1), else_=0))
    sums = sa.func.max(some.c.id).label("newest"), sa.func.count().label("size"), retryable.label("retryable")
    rows = tx.all(sa.select(*sums).group_by(some.c.reason, about).limit(_MOST_GROUPS))
    counts = {row.newest: (int(row.size), bool(row.retryable)) for row in rows}
    newest = tx.all(chosen.where(columns["id"].in_(counts))) if counts else []
    return [
        FailureGroup(
            kind, piece.reason, piece.owner if kind is FailedKind.DELIVERY else "", *counts[piece.id], piece
        )
        for piece in models_of(FailedPiece, newest)
    ]


def _source(
    of: sa.FromClause,
    needed: sa.ColumnElement[bool],
    counted: sa.FromClause | None = None,
    most: int = MOST_COUNTED,
    **named: sa.ColumnElement[Any],
) -> _Source:
    values = {"media_id": sa.literal(""), "message": named["reason"], "retryable": sa.true(), **named}
    return _Source(of, needed, values, of if counted is None else counted, most)


def _or(value: sa.ColumnElement[Any], otherwise: str = _UNKNOWN) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(value, otherwise)


_NO_FILE: Final = import_jobs.c.failed <= import_jobs.c.retried
_NO_ITEM: Final = sa.and_(
    prompt_runs.c.failed_items == 0,
    prompt_runs.c.total_segments <= prompt_runs.c.completed_segments,
    prompt_runs.c.missing_wholes == 0,
)
_ITEMS: Final = run_items.join(prompt_runs, prompt_runs.c.id == run_items.c.run_id)
_SOURCES: Final[Mapping[FailedKind, _Source]] = {
    FailedKind.FILE: _source(
        import_files.join(import_jobs, import_jobs.c.id == import_files.c.job_id),
        sa.and_(JOB_NEEDS_ATTENTION, FILE_FAILED),
        id=import_files.c.id,
        owner=import_files.c.job_id,
        label=import_files.c.key,
        reason=_or(import_files.c.reason),
        message=_or(import_files.c.message),
        at=import_jobs.c.updated_at,
        retryable=~catalog.select_is_uploads(import_jobs.c.connector_id),
    ),
    FailedKind.JOB: _source(
        import_jobs,
        sa.and_(JOB_NEEDS_ATTENTION, _NO_FILE),
        id=import_jobs.c.id,
        owner=import_jobs.c.id,
        label=import_jobs.c.index_id,
        reason=_or(import_jobs.c.error_message),
        at=import_jobs.c.updated_at,
        retryable=sa.false(),
    ),
    FailedKind.ITEM: _source(
        _ITEMS.join(media, media.c.id == run_items.c.media_id),
        sa.and_(RUN_NEEDS_ATTENTION, ITEM_LACKS),
        _ITEMS,
        id=run_items.c.id,
        owner=run_items.c.run_id,
        media_id=run_items.c.media_id,
        label=media.c.title,
        reason=_or(run_items.c.error_code, SOME_SEGMENTS_FAILED),
        message=_or(run_items.c.error_message),
        at=prompt_runs.c.updated_at,
    ),
    FailedKind.RUN: _source(
        prompt_runs,
        sa.and_(RUN_NEEDS_ATTENTION, _NO_ITEM),
        id=prompt_runs.c.id,
        owner=prompt_runs.c.id,
        label=_or(prompt_runs.c.index_id, ""),
        reason=_or(prompt_runs.c.error_message),
        at=prompt_runs.c.updated_at,
        retryable=sa.false(),
    ),
    FailedKind.EXPORT: _source(
        exports,
        EXPORT_NEEDS_ATTENTION,
        id=exports.c.id,
        owner=exports.c.id,
        label=exports.c.target_id,
        reason=_or(exports.c.error_message),
        at=exports.c.completed_at,
    ),
    FailedKind.DELIVERY: _source(
        deliveries.join(webhooks, webhooks.c.id == deliveries.c.webhook_id),
        DELIVERY_NEEDS_ATTENTION,
        deliveries,
        MOST_DELIVERIES,
        id=deliveries.c.id,
        owner=deliveries.c.webhook_id,
        label=webhooks.c.name,
        reason=_or(deliveries.c.error_message),
        at=deliveries.c.completed_at,
    ),
}
