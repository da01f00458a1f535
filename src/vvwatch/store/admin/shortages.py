"""Work that waits because a machine is short of something, by reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from vvwatch.core import shortages
from vvwatch.core.imports import FileStatus
from vvwatch.core.runs import ItemStatus
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import import_files, run_items


@dataclass(frozen=True, slots=True)
class WaitingWork:
    """Files and run items, `count` in all, that wait because of `code`; `message` is that of one of them.

    The first has waited since `since`; the next is tried at `next_at`. Both are epoch seconds.
    """

    code: str
    message: str
    count: int
    since: float
    next_at: float


def list_waiting(tx: Tx) -> Sequence[WaitingWork]:
    """Return the waiting work by code. Reads only queued work."""
    files, items = import_files.c, run_items.c
    rows = [
        *tx.all(_count_waiting(files, files.reason, files.message, FileStatus.PENDING)),
        *tx.all(_count_waiting(items, items.error_code, items.error_message, ItemStatus.PENDING)),
    ]
    found = [
        WaitingWork(row.code, row.message or "", int(row.number), row.since or row.next_at, row.next_at)
        for row in rows
    ]
    return [_merge(its) for code in shortages.CODES if (its := [each for each in found if each.code == code])]


def _count_waiting(
    table: Any, code: sa.ColumnElement[Any], message: sa.ColumnElement[Any], pending: str
) -> sa.Select[Any]:
    figures = (
        code.label("code"),
        sa.func.max(message).label("message"),
        sa.func.count().label("number"),
        sa.func.min(table.failing_since).label("since"),
        sa.func.min(table.next_at).label("next_at"),
    )
    waits = table.next_at.is_not(None), table.status == pending, code.in_(shortages.CODES)
    return sa.select(*figures).where(*waits).group_by(code)


def _merge(found: Sequence[WaitingWork]) -> WaitingWork:
    return replace(
        found[0],
        count=sum(each.count for each in found),
        since=min(each.since for each in found),
        next_at=min(each.next_at for each in found),
    )
