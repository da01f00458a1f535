"""How much work there is, and whether any is left."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from vvwatch.errors import ProcessorPaused
from vvwatch.ports import Kind
from vvwatch.store.admin import nodes
from vvwatch.store.db.database import ENTITIES, JobSink, Tx
from vvwatch.store.schema import (
    deliveries,
    import_automations,
    import_files,
    run_items,
    segment_retries,
    windows,
)

_SOON_SECONDS: Final = 2.0


def read_figures(tx: Tx, sink: JobSink) -> dict[str, int]:
    """Return the work under way in numbers, by the name of each figure."""
    return {
        "automations": _count_rows(tx, import_automations.c.enabled, ~import_automations.c.paused),
        "windows_open": _count_rows(tx, windows.c.state == "open"),
        "files_pending": _count_unfinished(tx, import_files) - _count_gathered(tx),
        "items_pending": _count_unfinished(tx, run_items),
        "delivery_backlog": _count_rows(tx, deliveries.c.completed_at.is_(None)),
        "jobs_due": sink.due(tx),
        "nodes_lost": nodes.count_lost(tx),
    }


def _count_unfinished(tx: Tx, table: sa.Table) -> int:
    """Count rows in the engine's hands and rows that wait for their share; each part has its own index."""
    in_hand = _count_rows(tx, table.c.next_at.is_not(None))
    return in_hand + _count_rows(tx, table.c.status == "pending", table.c.next_at.is_(None))


def _count_gathered(tx: Tx) -> int:
    """Count files in open windows, which have no import job yet."""
    held = sa.select(sa.func.coalesce(sa.func.sum(windows.c.object_count), 0))
    return int(tx.execute(held.where(windows.c.state == "open")).scalar_one())


def _count_rows(tx: Tx, *conditions: sa.ColumnElement[bool]) -> int:
    return int(tx.execute(sa.select(sa.func.count()).where(*conditions)).scalar_one())


def has_nothing_left(tx: Tx, started_at: float) -> bool:
    """Return whether every automation was scanned since `started_at` and no automatic work is under way."""
    waiting = [table for kind, table in ENTITIES.items() if kind is not Kind.SCAN]
    for table in waiting:
        waits: list[sa.ColumnElement[bool]] = [table.c.next_at.is_not(None)]
        if table is segment_retries:  # what is retried automatically some time later holds up nobody
            waits.append(table.c.tries == 0)
        if table is run_items:  # a refused key, a missing model: nothing continues automatically
            is_late = table.c.next_at > tx.now + _SOON_SECONDS
            is_paused = sa.and_(is_late, table.c.error_code == ProcessorPaused.code)
            waits.append(sa.not_(sa.func.coalesce(is_paused, sa.false())))
        if tx.first(sa.select(table.c.id).where(*waits).limit(1)) is not None:
            return False
    unscanned = sa.select(import_automations.c.id).where(
        import_automations.c.enabled,
        ~import_automations.c.paused,
        sa.func.coalesce(import_automations.c.last_scan_at, 0.0) < started_at,
    )
    return tx.first(unscanned) is None
