"""What failed and needs a person: counts over everything, and descriptions of the newest failures.

A failure needs attention until it is retried, dismissed, or too old for the caller. Each part reads its own index, at
most a bounded number of entries; the number of queries does not depend on the amount of data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from vvwatch.core.runs import ItemStatus
from vvwatch.errors import Conflict, InvalidInput
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import columns, models_of
from vvwatch.store.models.admin import Failure, Failures
from vvwatch.store.models.delivery import Export
from vvwatch.store.models.runs import Run
from vvwatch.store.schema import (
    deliveries,
    exports,
    import_files,
    import_jobs,
    media,
    prompt_runs,
    run_items,
    segment_results,
    troubles,
    webhooks,
)
from vvwatch.store.schema.outbox import DELIVERY_NEEDS_ATTENTION
from vvwatch.store.schema.results import (
    EXPORT_NEEDS_ATTENTION,
    EXPORT_WAITS,
    FILE_FAILED,
    ITEM_LACKS,
    JOB_NEEDS_ATTENTION,
    RUN_NEEDS_ATTENTION,
)

RECENT_SECONDS: Final = 86_400.0
"""Older failures need no attention: nobody acted on them for a day."""

NEWEST: Final = 200
"""How many of the newest failures of each kind are described; the others are only counted."""

MOST_COUNTED: Final = 10_000
"""The upper limit of counts."""

MOST_ON_PAGES: Final = 1_000
"""The upper limit of counts that each page reads."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The columns of one kind of failure: when it happened, how many pieces failed, and why."""

    table: sa.Table
    at: sa.Column[Any]
    needed: sa.ColumnElement[bool]
    failed: sa.ColumnElement[Any]
    reason: sa.ColumnElement[Any]


def list_failures(tx: Tx, since: float) -> Failures:
    """Return what failed after `since` and was neither retried nor dismissed, and what waits after a failure."""
    found = [
        *_list_jobs(tx, since),
        *_list_runs(tx, since),
        *_list_exports(tx, since),
        *list_waiting(tx),
        *_list_deliveries(tx, since),
    ]
    jobs, runs = _sum_part(tx, _JOBS, since), _sum_part(tx, _RUNS, since)
    counts = {
        "import_jobs": jobs[0],
        "import_files": jobs[1],
        "prompt_runs": runs[0],
        "run_items": runs[1],
        "segments": _sum_part(tx, replace(_RUNS, failed=_FAILED_SEGMENTS), since)[1],
        "exports": _sum_part(tx, _EXPORTS, since)[0],
        "exports_waiting": _count_rows(tx, sa.select(exports.c.id).where(EXPORT_WAITS)),
        "deliveries": _sum_part(tx, _DELIVERIES, since)[0],
    }
    return Failures(found, counts)


def list_newest(tx: Tx, since: float, most: int) -> Failures:
    """Return the newest failures, at most `most` of each kind, and how many jobs, runs, exports and deliveries failed.

    These are counted up to `MOST_ON_PAGES`: the work does not grow with the failures.
    """
    found = [
        *_list_jobs(tx, since, most),
        *_list_runs(tx, since, most),
        *_list_exports(tx, since, most),
        *list_waiting(tx, most),
        *_list_deliveries(tx, since, MOST_ON_PAGES),
    ]
    return Failures(found, {part.table.name: _count_part(tx, part, since) for part in _PARTS})


def dismiss(tx: Tx, identifier: str, since: float) -> tuple[str, ...]:
    """Dismiss this failure and all others with the same text; return their ids.

    Raises InvalidInput for an id of another kind, NotFound, and Conflict for what has not failed.
    """
    kind = _KINDS.get(identifier.partition("_")[0])
    if kind is None:
        raise InvalidInput(
            f"{identifier!r} cannot be dismissed",
            "give an import job (job_…), a prompt run (run_…), an export (exp_…) or a delivery (del_…)",
        )
    name, table, needed, look = kind
    row = tx.require(table, name, identifier)
    same = next((each.ids for each in look(tx, since) if identifier in each.ids), (identifier,))
    its = table.c.webhook_id == row.webhook_id if table is deliveries else table.c.id.in_(same)
    dismissed = sa.update(table).where(its, needed).values(dismissed_at=tx.now)
    done = tuple(tx.execute(dismissed.returning(table.c.id)).scalars())
    if identifier not in done:
        raise Conflict(f"{name} {identifier!r} needs no attention", "only what has failed can be dismissed")
    return done


def _select_newest(tx: Tx, part: _Part, since: float, most: int) -> list[str]:
    """Return the ids of the newest, and of the newest for each other reason: frequent failures hide no others.

    With less than `NEWEST` as `most`, return only so many of the newest.
    """
    table = part.table
    found = sa.select(table.c.id).where(part.needed, part.at > since).order_by(part.at.desc())
    newest = list(tx.execute(found.limit(most)).scalars())
    if len(newest) < NEWEST:
        return newest
    rows = sa.select(table.c.id, table.c.index_id, part.reason.label("reason")).where(
        part.needed, part.at > since
    )
    some = rows.order_by(part.at.desc()).limit(MOST_COUNTED).subquery()
    first = sa.select(sa.func.max(some.c.id).label("id")).group_by(some.c.index_id, some.c.reason)
    others = tx.execute(first.order_by(sa.text("id DESC")).limit(NEWEST)).scalars()
    return list(dict.fromkeys([*newest, *others]))


def _sum_part(tx: Tx, part: _Part, since: float) -> tuple[int, int]:
    """Return the number of rows, and of their failed pieces."""
    wanted = part.needed, part.at > since
    some = sa.select(part.failed.label("failed")).where(*wanted).limit(MOST_COUNTED).subquery()
    totals = sa.select(sa.func.count().label("rows"), sa.func.sum(some.c.failed).label("failed"))
    total = tx.all(totals.select_from(some))[0]
    return int(total.rows), int(total.failed or 0)


def _count_part(tx: Tx, part: _Part, since: float) -> int:
    rows = sa.select(_ONE).select_from(part.table).where(part.needed, part.at > since)
    return _count_rows(tx, rows, MOST_ON_PAGES)


def _count_rows(tx: Tx, rows: sa.Select[Any], most: int = MOST_COUNTED) -> int:
    some = rows.limit(most).subquery()
    return int(tx.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def _list_jobs(tx: Tx, since: float, most: int = NEWEST) -> list[Failure]:
    """Describe jobs with their first failed file, and the time of its automatic retry."""
    table, file = import_jobs, import_files.alias("file")
    chosen = sa.select(table, file.c.key, file.c.message, troubles.c.retry_at).select_from(table)
    chosen = chosen.outerjoin(file, file.c.id == _first_file())
    chosen = chosen.outerjoin(troubles, troubles.c.file_id == file.c.id)
    rows = tx.all(
        chosen.where(table.c.id.in_(_select_newest(tx, _JOBS, since, most))).order_by(
            table.c.updated_at.desc()
        )
    )
    return _group(
        Failure(
            kind="import_job",
            id=row.id,
            ids=(row.id,),
            state="failed",
            what=_describe_first(row.key, row.message, row.error_message, row.failed - row.retried),
            failed=row.failed - row.retried,
            last_at=row.updated_at,
            next_try_at=row.retry_at,
            about=row.index_id,
            reason=row.message or row.error_message or "",
        )
        for row in rows
    )


def _list_runs(tx: Tx, since: float, most: int = NEWEST) -> list[Failure]:
    """Describe runs with their first failed item, or else the first failed segment."""
    table, item, piece = prompt_runs, run_items.alias("item"), segment_results.alias("piece")
    of_item = media.c.title, item.c.error_message.label("message"), piece.c.start_time, piece.c.end_time
    failure = *columns(Run, table), *of_item, piece.c.error.label("segment_error")
    chosen = sa.select(*failure).select_from(table)
    chosen = chosen.outerjoin(item, item.c.id == _first_item()).outerjoin(
        media, media.c.id == item.c.media_id
    )
    its_segment = piece.c.run_item_id == item.c.id, piece.c.ordinal == _first_segment(item)
    chosen = chosen.outerjoin(piece, sa.and_(*its_segment, item.c.status != ItemStatus.FAILED))
    rows = tx.all(
        chosen.where(table.c.id.in_(_select_newest(tx, _RUNS, since, most))).order_by(
            table.c.updated_at.desc()
        )
    )
    return _group(map(_run_failure, models_of(_FailedRun, rows)))


@dataclass(frozen=True, slots=True)
class _FailedRun(Run):
    """A run with its first failed item or segment."""

    title: str | None
    message: str | None
    start_time: float | None
    end_time: float | None
    segment_error: str | None


def _run_failure(row: _FailedRun) -> Failure:
    segments = 0 if row.failed_items else row.total_segments - row.completed_segments
    name, message = row.title, row.message
    if row.segment_error is not None:
        name = f"{row.title}, {row.start_time or 0:.10g} to {row.end_time or 0:.10g} s"
        message = row.segment_error
    failed = segments or row.failed_items or row.missing_wholes
    return Failure(
        kind="prompt_run",
        id=row.id,
        ids=(row.id,),
        state="failed",
        what=_describe_first(name, message, row.error_message, failed, segments > 0),
        failed=failed,
        last_at=row.updated_at,
        about=row.index_id or "",
        reason=message or row.error_message or "",
        job_id=row.import_job_id or "",
    )


def _first_file() -> sa.ScalarSelect[Any]:
    """Select the id of the first failed file of a job."""
    first = sa.select(sa.func.min(import_files.c.id)).where(
        import_files.c.job_id == import_jobs.c.id, FILE_FAILED
    )
    return first.correlate(import_jobs).scalar_subquery()


def _first_item() -> sa.ColumnElement[Any]:
    """Select the id of the first failed item of a run, or else of the first that lacks segments."""
    its = sa.select(run_items.c.id).where(run_items.c.run_id == prompt_runs.c.id, ITEM_LACKS)
    first = its.order_by(run_items.c.id).limit(1).correlate(prompt_runs)
    failed = first.where(run_items.c.status == ItemStatus.FAILED)
    return sa.func.coalesce(failed.scalar_subquery(), first.scalar_subquery())


def _first_segment(item: sa.FromClause) -> sa.ScalarSelect[Any]:
    """Select the ordinal of the first failed segment of an item."""
    table = segment_results
    first = sa.select(sa.func.min(table.c.ordinal)).where(
        table.c.run_item_id == item.c.id, table.c.error.is_not(None)
    )
    return first.correlate(item).scalar_subquery()


def _describe_first(
    name: str | None, message: str | None, error: str | None, failed: int, of_segments: bool = False
) -> str:
    if name is None:
        return error or "failed"
    unit = (" segment" if failed == 2 else " segments") if of_segments else ""
    rest = f" (and {failed - 1:,} more{unit})" if failed > 1 else ""
    return f"{name}: {message or 'failed'}{rest}"


def _list_exports(tx: Tx, since: float, most: int = NEWEST) -> list[Failure]:
    chosen = sa.select(exports).where(exports.c.id.in_(_select_newest(tx, _EXPORTS, since, most)))
    rows = tx.all(chosen.order_by(exports.c.completed_at.desc()))
    return _group(_export_failure(row, "failed") for row in models_of(Export, rows))


def list_waiting(tx: Tx, most: int = NEWEST) -> list[Failure]:
    """Describe exports that failed and will be retried."""
    chosen = sa.select(exports).where(EXPORT_WAITS).order_by(exports.c.id.desc()).limit(most)
    return _group(_export_failure(row, "waiting") for row in models_of(Export, tx.all(chosen)))


def _export_failure(row: Export, state: str) -> Failure:
    is_waiting = state == "waiting"
    what = (row.last_error or "") if is_waiting else (row.error_message or "failed")
    last_at, next_at = (row.updated_at, row.next_at) if is_waiting else (row.completed_at, None)
    return Failure("export", row.id, (row.id,), state, what, 1, last_at, next_at, row.index_id or "", what)


def _list_deliveries(tx: Tx, since: float, most: int = MOST_COUNTED) -> list[Failure]:
    """Describe the `most` newest deliveries that were given up, one failure per webhook."""
    table = deliveries
    needed = DELIVERY_NEEDS_ATTENTION, table.c.completed_at > since
    chosen = sa.select(table.c.id, table.c.webhook_id).where(*needed).order_by(table.c.completed_at.desc())
    some = chosen.limit(most).subquery()
    newest = sa.func.max(some.c.id).label("id"), sa.func.count().label("failed")
    grouped = sa.select(*newest).group_by(some.c.webhook_id).subquery()
    wanted = table.c.id, table.c.error_message, table.c.completed_at, table.c.webhook_id, webhooks.c.name
    joined = sa.select(*wanted, grouped.c.failed).select_from(table)
    joined = (
        joined.join(grouped, grouped.c.id == table.c.id)
        .join(webhooks, webhooks.c.id == table.c.webhook_id)
        .order_by(table.c.id.desc())
    )
    return [_delivery_failure(row) for row in models_of(_FailedDelivery, tx.all(joined.limit(NEWEST)))]


class _FailedDelivery(NamedTuple):
    """The newest failed delivery of a webhook, and how many failed."""

    id: str
    error_message: str | None
    completed_at: float
    webhook_id: str
    name: str
    failed: int


def _delivery_failure(row: _FailedDelivery) -> Failure:
    times = "was" if row.failed == 1 else f"and {row.failed - 1:,} more were"
    what = f"an event for {row.name} {times} given up: {row.error_message or 'it was not accepted'}"
    about = row.webhook_id, row.webhook_id
    return Failure("delivery", row.id, (row.id,), "failed", what, row.failed, row.completed_at, None, *about)


def _group(found: Iterable[Failure]) -> list[Failure]:
    """Join failures with the same text under the newest, which comes first."""
    groups: dict[tuple[str, str, str], Failure] = {}
    for each in found:
        known = groups.get((each.about, each.state, each.what))
        groups[each.about, each.state, each.what] = (
            each
            if known is None
            else replace(known, ids=(*known.ids, *each.ids), failed=known.failed + each.failed)
        )
    return list(groups.values())


_ONE: Final[sa.ColumnElement[int]] = sa.literal_column("1")
_reason_of_file = import_files.alias("its_file")
_reason_of_item = run_items.alias("its_item")
_reason_of_segment = (
    sa.select(segment_results.c.error)
    .where(
        segment_results.c.run_item_id == _reason_of_item.c.id,
        segment_results.c.ordinal == _first_segment(_reason_of_item),
    )
    .correlate(_reason_of_item)
    .scalar_subquery()
)
_FAILED_SEGMENTS: Final = prompt_runs.c.total_segments - prompt_runs.c.completed_segments
_JOBS: Final = _Part(
    import_jobs,
    import_jobs.c.updated_at,
    JOB_NEEDS_ATTENTION,
    import_jobs.c.failed - import_jobs.c.retried,
    sa.func.coalesce(
        sa.select(_reason_of_file.c.message).where(_reason_of_file.c.id == _first_file()).scalar_subquery(),
        import_jobs.c.error_message,
    ),
)
_RUNS: Final = _Part(
    prompt_runs,
    prompt_runs.c.updated_at,
    RUN_NEEDS_ATTENTION,
    prompt_runs.c.failed_items,
    sa.func.coalesce(
        sa.select(
            sa.case(
                (_reason_of_item.c.status == ItemStatus.FAILED, _reason_of_item.c.error_message),
                else_=sa.func.coalesce(_reason_of_segment, _reason_of_item.c.error_message),
            )
        )
        .where(_reason_of_item.c.id == _first_item())
        .scalar_subquery(),
        prompt_runs.c.error_message,
    ),
)
_EXPORTS: Final = _Part(
    exports, exports.c.completed_at, EXPORT_NEEDS_ATTENTION, _ONE, exports.c.error_message
)
_DELIVERIES: Final = _Part(
    deliveries, deliveries.c.completed_at, DELIVERY_NEEDS_ATTENTION, _ONE, deliveries.c.error_message
)
_PARTS: Final = (_JOBS, _RUNS, _EXPORTS, _DELIVERIES)
_KINDS: Final = {
    "job": ("import_job", import_jobs, JOB_NEEDS_ATTENTION, _list_jobs),
    "run": ("prompt_run", prompt_runs, RUN_NEEDS_ATTENTION, _list_runs),
    "exp": ("export", exports, EXPORT_NEEDS_ATTENTION, _list_exports),
    "del": ("delivery", deliveries, DELIVERY_NEEDS_ATTENTION, _list_deliveries),
}
