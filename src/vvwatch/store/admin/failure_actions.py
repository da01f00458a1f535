"""Retry or dismiss failures that have the same reason, a bounded number at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.errors import Conflict, InvalidInput, NotFound
from vvwatch.store.admin.failure_groups import FailedKind, FailedPiece, list_pieces
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import retrying
from vvwatch.store.runs import result_queries, segment_retries
from vvwatch.store.schema import deliveries, exports, import_jobs, prompt_runs, run_items

MOST_AT_ONCE: Final = 200
"""How many failures one transaction retries or dismisses."""


@dataclass(frozen=True, slots=True)
class Acted:
    """How many failures were retried or dismissed, how many could not be, and whether there may be more."""

    done: int
    refused: int
    more: bool
    refusal: str = ""


def retry_group(tx: Tx, kind: FailedKind, reason: str, about: str, since: float) -> Acted:
    """Retry the newest failures of a group, at most `MOST_AT_ONCE`. Raises InvalidInput for whole jobs and runs."""
    if kind not in _RETRY:
        raise InvalidInput(
            f"failures of the kind {kind} cannot be retried as a whole",
            "retry the files or media, or dismiss the failures",
        )
    pieces = list_pieces(tx, kind, reason, about, since, None, MOST_AT_ONCE + 1)
    done, refusal = 0, ""
    for piece in pieces[:MOST_AT_ONCE]:
        try:
            _RETRY[kind](tx, piece)
        except (Conflict, NotFound) as error:
            refusal = refusal or error.message
        else:
            done += 1
    tried = min(len(pieces), MOST_AT_ONCE)
    return Acted(done, tried - done, len(pieces) > MOST_AT_ONCE, refusal)


def dismiss_group(tx: Tx, kind: FailedKind, reason: str, about: str, since: float) -> Acted:
    """Dismiss the newest failures of a group, at most `MOST_AT_ONCE`; with files and items, all of their job or run."""
    pieces = list_pieces(tx, kind, reason, about, since, None, MOST_AT_ONCE + 1)
    table = _TABLES[kind]
    ids = {piece.id if table in (exports, deliveries) else piece.owner for piece in pieces[:MOST_AT_ONCE]}
    tx.execute(sa.update(table).where(table.c.id.in_(ids)).values(dismissed_at=tx.now))
    return Acted(min(len(pieces), MOST_AT_ONCE), 0, len(pieces) > MOST_AT_ONCE)


def _retry_item(tx: Tx, piece: FailedPiece) -> None:
    """Retry an item that failed as a whole, or each of its failed segments."""
    lacking = sa.select(run_items.c.failed_segment_count, run_items.c.status, run_items.c.error_code)
    row = tx.execute(lacking.where(run_items.c.id == piece.id)).one()
    failed = result_queries.list_failed_segments(tx, [piece.id], MOST_AT_ONCE).get(piece.id, ())
    ordinals = [each.ordinal for each in failed] if row.status != "failed" and failed else [WHOLE]
    for ordinal in ordinals:
        segment_retries.request(tx, piece.owner, piece.media_id, segment_id(piece.id, ordinal))


def _retry_file(tx: Tx, piece: FailedPiece) -> None:
    retrying.retry_file(tx, piece.owner, str(piece.id))


_RETRY: Final[Mapping[FailedKind, Callable[[Tx, FailedPiece], None]]] = {
    FailedKind.FILE: _retry_file,
    FailedKind.ITEM: _retry_item,
    FailedKind.EXPORT: lambda tx, piece: retrying.retry_export(tx, piece.id),
    FailedKind.DELIVERY: lambda tx, piece: retrying.retry_delivery(tx, piece.id),
}
_TABLES: Final = {
    FailedKind.FILE: import_jobs,
    FailedKind.JOB: import_jobs,
    FailedKind.ITEM: prompt_runs,
    FailedKind.RUN: prompt_runs,
    FailedKind.EXPORT: exports,
    FailedKind.DELIVERY: deliveries,
}
