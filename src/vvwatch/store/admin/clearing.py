"""Delete what belongs to a deleted index or media item, a piece per transaction.

Steps run in order, each until it finds nothing. Between two pieces the counts of windows, import jobs and runs match
the rows that are left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from vvwatch.core.budgets import run_scope
from vvwatch.store.admin.deletions import INDEX, VIDEO, is_unfinished
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.models.admin import Deletion
from vvwatch.store.runs import journal, llm_calls, search_documents, spending
from vvwatch.store.schema import (
    absences,
    claims,
    export_automations,
    exports,
    import_automations,
    import_files,
    import_jobs,
    ledger_scopes,
    media,
    objects,
    observations,
    prompt_runs,
    reconciles,
    run_items,
    segment_results,
    segment_retries,
    tombstones,
    troubles,
    windows,
)

AT_ONCE: Final = 500
"""About how many rows one transaction deletes."""

_ITEMS_AT_ONCE: Final = 100

Step = Callable[[Tx, str], int]
"""Deletes a piece of what belongs to the index or media item with this id; returns how many rows, 0 at the end."""


def _clear_exports(tx: Tx, index_id: str) -> int:
    """Delete exports. Delivered files stay, and are still known as our outputs."""
    return _delete_some(tx, exports, exports.c.index_id == index_id)


def _delete_some(tx: Tx, table: sa.Table, *wanted: sa.ColumnElement[bool]) -> int:
    """Delete at most `AT_ONCE` rows."""
    keys = tuple(table.primary_key)
    chosen = sa.select(*keys).where(*wanted).limit(AT_ONCE)
    if len(keys) == 1:
        return tx.execute(sa.delete(table).where(keys[0].in_(chosen))).rowcount
    rows = [
        {f"its_{key.name}": value for key, value in zip(keys, row, strict=True)} for row in tx.all(chosen)
    ]
    one = sa.delete(table).where(*(key == sa.bindparam(f"its_{key.name}") for key in keys))
    if rows:  # one by one: SQLite would read the whole table to find them together
        tx.execute(one, rows)
    return len(rows)


def _clear_ledger(table: sa.Table) -> Step:
    def step(tx: Tx, index_id: str) -> int:
        scopes = sa.select(ledger_scopes.c.id).where(ledger_scopes.c.index_id == index_id)
        return _delete_some(tx, table, table.c.scope_id.in_(scopes))

    return step


def _select_automations(index_id: str) -> sa.Select[Any]:
    return sa.select(import_automations.c.id).where(import_automations.c.index_id == index_id)


def _clear_by_automation(table: sa.Table) -> Step:
    def step(tx: Tx, index_id: str) -> int:
        return _delete_some(tx, table, table.c.automation_id.in_(_select_automations(index_id)))

    return step


def _clear_open_window(tx: Tx, index_id: str) -> int:
    """Delete the files of an open window, then the window."""
    of_index = windows.c.automation_id.in_(_select_automations(index_id)), windows.c.state == "open"
    window = tx.first(sa.select(windows).where(*of_index))
    if window is None:
        return 0
    gone = _delete_some(tx, import_files, import_files.c.job_id == window.import_job_id)
    tx.update(windows, window.id, object_count=windows.c.object_count - gone)
    return gone or tx.execute(sa.delete(windows).where(windows.c.id == window.id)).rowcount


def _clear_imports(tx: Tx, index_id: str) -> int:
    """Delete the files of an import job, then the job and its window."""
    job = tx.first(sa.select(import_jobs).where(import_jobs.c.index_id == index_id).limit(1))
    if job is None:
        return 0
    gone = _delete_some(tx, import_files, import_files.c.job_id == job.id)
    if gone < AT_ONCE:
        tx.execute(sa.delete(windows).where(windows.c.id == job.window_id))
        tx.execute(sa.delete(import_jobs).where(import_jobs.c.id == job.id))
    return gone + 1


def _clear_runs(tx: Tx, index_id: str) -> int:
    """Delete the items of a run, then the run."""
    run = tx.first(sa.select(prompt_runs.c.id).where(prompt_runs.c.index_id == index_id).limit(1))
    if run is None:
        return 0
    gone = _clear_items(tx, run_items.c.run_id == run.id)
    if gone:
        return gone
    spending.delete_scopes(tx, [run_scope(run.id)])
    return tx.execute(sa.delete(prompt_runs).where(prompt_runs.c.id == run.id)).rowcount


def _clear_media(tx: Tx, index_id: str) -> int:
    """Delete the items of some media in runs of other indexes, then the media."""
    chosen = sa.select(media.c.id).where(media.c.index_id == index_id).limit(_ITEMS_AT_ONCE)
    ids = tx.execute(chosen).scalars().all()
    if not ids:
        return 0
    gone = _clear_items(tx, run_items.c.media_id.in_(ids))
    return gone or tx.execute(sa.delete(media).where(media.c.id.in_(ids))).rowcount


def _clear_items(tx: Tx, wanted: sa.ColumnElement[bool]) -> int:
    """Delete some items with their results, and subtract them from the counts of their runs."""
    ids = tx.execute(sa.select(run_items.c.id).where(wanted).limit(_ITEMS_AT_ONCE)).scalars().all()
    if search_documents.unindex_some(tx, ids):
        return AT_ONCE
    found = _delete_some(tx, segment_results, segment_results.c.run_item_id.in_(ids)) if ids else 0
    tx.execute(sa.delete(segment_retries).where(segment_retries.c.run_item_id.in_(ids)))
    if found == AT_ONCE or not ids:
        return found
    journal.delete_journals(tx, ids)
    llm_calls.delete_calls(tx, ids)
    columns = run_items.c
    counts = columns.run_id, columns.status, columns.segment_count, columns.failed_segment_count
    gone = models_of(_GoneItem, tx.all(sa.delete(run_items).where(columns.id.in_(ids)).returning(*counts)))
    for run_id in {row.run_id for row in gone}:
        _subtract_counts(tx, run_id, [row for row in gone if row.run_id == run_id])
    return found + len(ids)


class _GoneItem(NamedTuple):
    run_id: str
    status: str
    segment_count: int
    failed_segment_count: int


def _subtract_counts(tx: Tx, run_id: str, gone: Sequence[_GoneItem]) -> None:
    fewer = Counter({f"{status}_items": count for status, count in Counter(r.status for r in gone).items()})
    fewer["total_items"] = len(gone)
    fewer["total_segments"] = sum(row.segment_count for row in gone)
    fewer["completed_segments"] = sum(row.segment_count - row.failed_segment_count for row in gone)
    less = {name: prompt_runs.c[name] - count for name, count in fewer.items() if name in prompt_runs.c}
    tx.update(prompt_runs, run_id, tally=None, **less)


def _clear_by_index(table: sa.Table) -> Step:
    def step(tx: Tx, index_id: str) -> int:
        return _delete_some(tx, table, table.c.index_id == index_id)

    return step


def _clear_results(tx: Tx, video_id: str) -> int:
    """Delete the results of a media item. The counts stay: they say what was done."""
    mine = run_items.c.media_id == video_id
    items = sa.select(run_items.c.id).where(mine)
    if search_documents.unindex_some(tx, tx.execute(items).scalars().all()):
        return AT_ONCE
    gone = _delete_some(tx, segment_results, segment_results.c.run_item_id.in_(items))
    if gone == 0:
        journal.delete_journals(tx, tx.execute(items).scalars().all())
        tx.execute(sa.update(run_items).where(mine).values(video_metadata=None, video_metadata_text=""))
    return gone


STEPS: Final[Mapping[str, Sequence[Step]]] = {
    INDEX: (
        _clear_exports,
        _clear_ledger(absences),
        _clear_ledger(troubles),
        _clear_ledger(tombstones),
        _clear_ledger(objects),
        _clear_ledger(claims),
        _clear_by_automation(observations),
        _clear_open_window,
        _clear_imports,
        _clear_by_automation(windows),
        _clear_by_automation(reconciles),
        _clear_runs,
        _clear_media,
        _clear_by_index(export_automations),
        _clear_by_index(import_automations),
        _clear_by_index(ledger_scopes),
    ),
    VIDEO: (_clear_results,),
}
"""The steps for an index and for a media item, in order."""


def clear_piece(tx: Tx, deletion: Deletion, step: Step) -> int:
    """Delete a piece; return how many rows, 0 when none are left or the deletion has ended."""
    return step(tx, deletion.resource_id) if is_unfinished(tx, deletion) else 0
