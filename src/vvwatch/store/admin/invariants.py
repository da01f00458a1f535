"""Invariants of a sound database, in words and in SQL: nothing was lost, nothing was done twice.

Each holds between any two transactions, also while retention deletes old rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core import imports, runs
from vvwatch.core.exports import ExportStatus
from vvwatch.core.imports import FileStatus
from vvwatch.core.runs import WHOLE_FAILED, ItemStatus
from vvwatch.core.state_machine import EXPORT_TRANSITIONS
from vvwatch.store.admin.money_invariants import miscounted_items, miscounted_spending, open_calls
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import (
    absences,
    claims,
    deletions,
    deliveries,
    exports,
    import_automations,
    import_files,
    import_jobs,
    media,
    objects,
    outputs,
    prompt_runs,
    reconciles,
    run_items,
    segment_retries,
    tombstones,
    webhooks,
    windows,
)

_MOST_NAMED: Final = 20
_NEVER_DROPPED_SECONDS: Final = 3600  # no retention is shorter
_now: Final[sa.BindParameter[float]] = sa.bindparam("now", type_=sa.Float)


@dataclass(frozen=True, slots=True)
class Invariant:
    """A promise, and the query of the ids that break it."""

    name: str
    promise: str
    broken: sa.Select[Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a promise holds: how many things break it, and the ids of some."""

    name: str
    promise: str
    count: int
    ids: tuple[str, ...]


def findings(tx: Tx) -> list[Finding]:
    """Return the finding of each invariant."""
    return [_check(tx, invariant) for invariant in INVARIANTS]


def _check(tx: Tx, invariant: Invariant) -> Finding:
    given = {"now": tx.now}
    ids = tx.execute(invariant.broken.limit(_MOST_NAMED), given).scalars().all()
    count = len(ids)
    if count == _MOST_NAMED:
        whole = sa.select(sa.func.count()).select_from(invariant.broken.subquery())
        count = int(tx.execute(whole, given).scalar_one())
    return Finding(invariant.name, invariant.promise, count, tuple(map(str, ids)))


def _none(column: sa.ColumnElement[Any], value: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that no row has `value` in `column`."""
    return ~sa.exists().where(column == value)


def _twice_open() -> sa.Select[Any]:
    column = windows.c.automation_id
    return sa.select(column).where(windows.c.state == "open").group_by(column).having(sa.func.count() > 1)


def _jobless_windows() -> sa.Select[Any]:
    """Select closed windows without a job.

    Retention deletes jobs in the order they ended: with an older job left, or within the hour, none was deleted.
    """
    kept_since = sa.select(sa.func.min(import_jobs.c.completed_at)).scalar_subquery()
    return sa.select(windows.c.id).where(
        windows.c.state == "closed",
        _none(import_jobs.c.window_id, windows.c.id),
        sa.or_(windows.c.closed_at > _now - _NEVER_DROPPED_SECONDS, windows.c.closed_at >= kept_since),
    )


def _stray_files() -> sa.Select[Any]:
    gathering = sa.exists().where(windows.c.import_job_id == import_files.c.job_id, windows.c.state == "open")
    return sa.select(import_files.c.id).where(_none(import_jobs.c.id, import_files.c.job_id), ~gathering)


def _miscounted_windows() -> sa.Select[Any]:
    count = sa.select(sa.func.count()).where(import_files.c.job_id == windows.c.import_job_id)
    return sa.select(windows.c.id).where(
        windows.c.state == "open", windows.c.object_count != count.scalar_subquery()
    )


def _counts(
    table: sa.Table, whole: sa.Column[Any], statuses: Sequence[str]
) -> tuple[sa.Subquery, sa.ColumnElement[Any], list[sa.ColumnElement[Any]]]:
    """Count rows of `table` by their whole: the query, the total, and the number of each status."""
    totals = [
        sa.func.sum(sa.case((table.c.status == status, 1), else_=0)).label(status) for status in statuses
    ]
    counted = sa.select(whole, sa.func.count().label("total"), *totals).group_by(whole).subquery()
    columns: list[sa.ColumnElement[Any]] = [sa.func.coalesce(counted.c[status], 0) for status in statuses]
    return counted, sa.func.coalesce(counted.c.total, 0), columns


def _miscounted_jobs() -> sa.Select[Any]:
    """Select jobs whose counts are wrong. Files of an ended job may be deleted, but its counts still add up."""
    jobs = import_jobs
    ends = (FileStatus.IMPORTED, FileStatus.FAILED, FileStatus.SKIPPED)
    counted, total, by_status = _counts(import_files, import_files.c.job_id, ends)
    own = [jobs.c[status.value] for status in ends]
    rows = [jobs.c.total_files - jobs.c.unlisted, *own[:2], own[2] - jobs.c.unlisted]
    differs = sa.or_(*(a != b for a, b in zip(rows, [total, *by_status], strict=True)))
    under_way = jobs.c.status.not_in(imports.TERMINAL)
    ended = sa.and_(jobs.c.status.in_(imports.TERMINAL), ~_going_with_index())
    return (
        sa.select(jobs.c.id)
        .outerjoin_from(jobs, counted, counted.c.job_id == jobs.c.id)
        .where(
            sa.or_(
                sa.and_(under_way, differs), sa.and_(ended, jobs.c.total_files != own[0] + own[1] + own[2])
            )
        )
    )


def _going_with_index() -> sa.Exists:
    """Return whether the job's index is being deleted: then the job is cancelled without updating its files."""
    of_index = deletions.c.resource == "index", deletions.c.resource_id == import_jobs.c.index_id
    return sa.exists().where(*of_index)


def _miscounted_media() -> sa.Select[Any]:
    made = media.c.import_job_id
    counted = sa.select(made, sa.func.count().label("total")).group_by(made).subquery()
    return (
        sa.select(import_jobs.c.id)
        .outerjoin_from(import_jobs, counted, counted.c.import_job_id == import_jobs.c.id)
        .where(import_jobs.c.imported != sa.func.coalesce(counted.c.total, 0))
    )


def _doubled_media() -> sa.Select[Any]:
    made = media.c.import_job_id
    return (
        sa.select(sa.func.min(media.c.id))
        .where(made != "")
        .group_by(made, media.c.key)
        .having(sa.func.count() > 1)
    )


def _miscounted_runs() -> sa.Select[Any]:
    ends = (ItemStatus.COMPLETED, ItemStatus.PARTIAL, ItemStatus.FAILED, ItemStatus.CANCELLED)
    counted, total, by_status = _counts(run_items, run_items.c.run_id, ends)
    own = [prompt_runs.c[f"{status.value}_items"] for status in ends]
    differs = [prompt_runs.c.total_items != total, *(a != b for a, b in zip(own, by_status, strict=True))]
    good = run_items.c.segment_count - run_items.c.failed_segment_count
    is_whole_missing = sa.case((run_items.c.error_code == WHOLE_FAILED, 1), else_=0)
    sums = (
        (prompt_runs.c.total_segments, run_items.c.segment_count),
        (prompt_runs.c.completed_segments, good),
        (prompt_runs.c.missing_wholes, is_whole_missing),
    )
    differs += [stored != _sum_of_items(column) for stored, column in sums]
    return (
        sa.select(prompt_runs.c.id)
        .outerjoin_from(prompt_runs, counted, counted.c.run_id == prompt_runs.c.id)
        .where(sa.or_(*differs))
    )


def _sum_of_items(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    of_run = sa.select(sa.func.sum(column)).where(run_items.c.run_id == prompt_runs.c.id)
    return sa.func.coalesce(of_run.scalar_subquery(), 0)


def _lost_runs() -> sa.Select[Any]:
    return sa.select(import_jobs.c.id).where(
        import_jobs.c.run_id.is_not(None), _none(prompt_runs.c.import_job_id, import_jobs.c.id)
    )


def _timeless() -> sa.Select[Any]:
    automations = import_automations
    active = automations.c.enabled, ~automations.c.paused
    open_window = windows.c.state == "open", windows.c.automation_id == automations.c.id
    unended = list(EXPORT_TRANSITIONS)
    waiting = sa.union_all(
        sa.select(automations.c.id).where(automations.c.next_at.is_(None), *active),
        sa.select(windows.c.id).where(windows.c.next_at.is_(None), *open_window, *active),
        sa.select(exports.c.id).where(exports.c.next_at.is_(None), exports.c.status.in_(unended)),
        sa.select(prompt_runs.c.id).where(
            prompt_runs.c.next_at.is_(None), prompt_runs.c.filling.is_not(None)
        ),
        sa.select(segment_retries.c.id).where(
            segment_retries.c.next_at.is_(None), segment_retries.c.completed_at.is_(None)
        ),
        _select_unqueued_deliveries(),
    ).subquery()
    return sa.select(waiting.c.id)


def _select_unqueued_deliveries() -> sa.Select[Any]:
    """Select webhooks with waiting deliveries but none queued."""
    table, mine = deliveries, deliveries.c.webhook_id == webhooks.c.id
    waits = sa.exists().where(mine, table.c.completed_at.is_(None), table.c.next_at.is_(None))
    return sa.select(webhooks.c.id).where(
        webhooks.c.status == "active", waits, ~sa.exists().where(mine, table.c.next_at.is_not(None))
    )


def _stuck() -> sa.Select[Any]:
    run_status = prompt_runs.c.status.not_in(runs.TERMINAL)
    wholes = sa.union_all(
        sa.select(import_jobs.c.id).where(
            import_jobs.c.status.not_in(imports.TERMINAL),
            import_jobs.c.next_at.is_(None),
            ~_due(import_files, import_files.c.job_id, import_jobs),
        ),
        _select_unreported_files(),
        sa.select(prompt_runs.c.id).where(
            run_status, prompt_runs.c.next_at.is_(None), ~_due(run_items, run_items.c.run_id, prompt_runs)
        ),
    ).subquery()
    return sa.select(wholes.c.id)


def _select_unreported_files() -> sa.Select[Any]:
    """Select stopped jobs with pending files that nothing will update."""
    jobs, files = import_jobs.c, import_files.c
    pending = sa.exists().where(files.job_id == jobs.id, files.status == FileStatus.PENDING)
    stopped = jobs.status.in_(imports.TERMINAL), jobs.next_at.is_(None)
    return sa.select(jobs.id).where(*stopped, pending, ~_going_with_index())


def _due(table: sa.Table, whole: sa.Column[Any], wholes: sa.Table) -> sa.Exists:
    return sa.exists().where(whole == wholes.c.id, table.c.next_at.is_not(None))


def _windowless(table: sa.Table) -> sa.Select[Any]:
    found = sa.select(table.c.window_seq).where(table.c.window_seq != 0).distinct().subquery()
    return sa.select(found.c.window_seq).where(_none(windows.c.seq, found.c.window_seq))


def _select_unrecorded(table: sa.Table) -> sa.Select[Any]:
    names = ("scope_id", "key", "version")
    recorded = sa.exists().where(*(objects.c[name] == table.c[name] for name in names))
    return sa.select(table.c.key).where(~recorded)


def _unproven() -> sa.Select[Any]:
    judged = reconciles.c.proof, ~reconciles.c.complete
    gone = ~reconciles.c.proof, reconciles.c.gone > 0
    return sa.select(reconciles.c.id).where(sa.or_(sa.and_(*judged), sa.and_(*gone)))


def _select_unclaimed() -> sa.Select[Any]:
    return sa.select(exports.c.id).where(
        exports.c.status == ExportStatus.COMPLETED,
        exports.c.destination_uri.is_not(None),
        _none(outputs.c.uri, exports.c.destination_uri),
    )


INVARIANTS: Final = (
    Invariant("one_open_window", "An automation has at most one open window.", _twice_open()),
    Invariant("windows_became_jobs", "Every closed window became an import job.", _jobless_windows()),
    Invariant("files_have_a_home", "Every file belongs to an import job or an open window.", _stray_files()),
    Invariant("windows_count", "An open window counts the files it holds.", _miscounted_windows()),
    Invariant("import_jobs_count", "An import job counts how its files ended.", _miscounted_jobs()),
    Invariant(
        "imported_is_media", "What an import job imported is media, one for each.", _miscounted_media()
    ),
    Invariant("media_once", "No file of an import job is media twice.", _doubled_media()),
    Invariant("imports_ran", "An import job that started a run has it.", _lost_runs()),
    Invariant("runs_count", "A run counts how its items ended.", _miscounted_runs()),
    Invariant("work_has_a_time", "Whatever has work left to do knows when.", _timeless()),
    Invariant("nothing_is_stuck", "An import job or run that has not ended has work due.", _stuck()),
    Invariant("ledger_names_windows", "The ledger names only windows that were.", _windowless(objects)),
    Invariant(
        "graves_name_windows",
        "What is gone from the ledger names only windows that were.",
        _windowless(tombstones),
    ),
    Invariant(
        "absent_was_there", "What a full scan did not find is in the ledger.", _select_unrecorded(absences)
    ),
    Invariant(
        "claims_are_recorded",
        "A version that an import job claims is in the ledger, or was.",
        _select_unrecorded(claims).where(~claims.c.gone),
    ),
    Invariant("gone_is_proven", "Only a complete listing proves what is gone.", _unproven()),
    Invariant(
        "outputs_are_known",
        "What was exported is known as ours, and never taken as input.",
        _select_unclaimed(),
    ),
    Invariant("items_count", "An item that has ended counts the segments it has.", miscounted_items()),
    Invariant("calls_are_settled", "What has ended holds no money and no answer.", open_calls()),
    Invariant("money_adds_up", "What was spent is what the calls cost.", miscounted_spending()),
)
