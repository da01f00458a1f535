"""Claims of import jobs without a window: automations do not import their versions again.

A claimed version is in the ledger without a window. Once all its claims are released, the ledger is as before: a
`provisional` version, which the first claim added, goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.imports import FileStatus
from vvwatch.store.db.database import Tx, is_one_of, upsert
from vvwatch.store.models.imports import ImportJob
from vvwatch.store.schema import claims, import_files, ledger_scopes, objects, tombstones, windows
from vvwatch.store.watching import absences, ledger

Pair = tuple[str, str]
"""Key and version."""

_COLUMNS: Final = ("scope_id", "key", "version", "job_id", "provisional")


def _is_in_scope(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.scope_id == sa.bindparam("scope_id"), is_one_of(table.c.key))


def _select_taken(table: sa.Table) -> sa.Select[Any]:
    """Select keys of versions that windows took, with the status of the file; NULL if unknown."""
    file = import_files.c
    its_file = sa.and_(
        file.job_id == windows.c.import_job_id, file.key == table.c.key, file.version == table.c.version
    )
    return (
        sa.select(table.c.key, file.status)
        .select_from(table)
        .outerjoin(windows, windows.c.seq == table.c.window_seq)
        .outerjoin(import_files, its_file)
        .where(_is_in_scope(table), table.c.window_seq != ledger.NOT_IMPORTED)
    )


def _select_claimed() -> sa.Select[Any]:
    """Select keys of claimed versions, with the status of the file; NULL if unknown."""
    names = ("job_id", "key", "version")
    its_file = sa.and_(*(import_files.c[name] == claims.c[name] for name in names))
    return (
        sa.select(claims.c.key, import_files.c.status)
        .select_from(claims)
        .outerjoin(import_files, its_file)
        .where(_is_in_scope(claims))
    )


_imported = (_select_taken(objects), _select_taken(tombstones), _select_claimed())
_of_no_window = sa.select(objects.c.key, objects.c.version).where(
    _is_in_scope(objects), objects.c.window_seq == ledger.NOT_IMPORTED
)
_provisional = sa.select(claims.c.key, claims.c.version).where(
    _is_in_scope(claims), claims.c.provisional, ~claims.c.gone
)


def _is_one(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name] == sa.bindparam(f"its_{name}") for name in ("scope_id", "key", "version")))


_is_of_job = claims.c.job_id == sa.bindparam("its_job_id")
_live = sa.exists().where(_is_one(claims), ~claims.c.gone)
_insert = sa.insert(objects)
_guard = sa.update(objects).where(_is_one(objects)).values(window_seq=objects.c.window_seq)
_remove = sa.delete(objects).where(
    _is_one(objects),
    objects.c.window_seq == ledger.NOT_IMPORTED,
    _live.where(_is_of_job, claims.c.provisional),
    ~_live.where(~_is_of_job),
)
_release = sa.delete(claims).where(_is_one(claims), _is_of_job)


@cache
def _upsert_claim(dialect: str) -> Any:
    """Insert a claim; it replaces one of the same job on a version that is gone."""
    insert = upsert(dialect, claims)
    live = {"provisional": insert.excluded.provisional, "gone": sa.false()}
    return insert.on_conflict_do_update(index_elements=list(_COLUMNS[:4]), set_=live)


def find_imported(tx: Tx, scope_id: int, keys: Sequence[str]) -> set[str]:
    """Return those of `keys` that have, or had, a version taken for import.

    Failed imports do not count: a repaired file under the same key is its first version.
    """
    if not keys:
        return set()
    given = _keys_parameter(scope_id, keys)
    found = (pair for each in _imported for pair in tx.pairs(each, given))
    return {key for key, status in found if status != FileStatus.FAILED}


def claim_versions(tx: Tx, scope_id: int, job_id: str, pairs: Sequence[Pair]) -> set[Pair]:
    """Claim versions for a job. Returns those that no window has, which the caller may release."""
    if not pairs:
        return set()
    given = _keys_parameter(scope_id, [key for key, _ in pairs])
    known = set(pairs).intersection(ledger.list_recorded(tx, scope_id, [key for key, _ in pairs]))
    absent = set(pairs) - known
    if absent:
        new = [(scope_id, *pair, ledger.NOT_IMPORTED) for pair in sorted(absent)]
        tx.insert_tuples(_insert, ("scope_id", "key", "version", "window_seq"), new)
    taken = known.intersection(tx.pairs(_of_no_window, given)) if known else set()
    provisional = absent | set(tx.pairs(_provisional, given) if taken else ())
    if taken:  # written, so that a transaction that forgets them meanwhile conflicts
        tx.execute(_guard, _pair_parameters(scope_id, sorted(taken)))
    claimed = sorted(absent | taken)
    if claimed:
        rows = [(scope_id, *pair, job_id, pair in provisional) for pair in claimed]
        tx.insert_tuples(_upsert_claim(tx.conn.dialect.name), _COLUMNS, rows)
    return set(claimed)


def release_versions(tx: Tx, job: ImportJob, pairs: Sequence[Pair]) -> None:
    """Release the job's claims of these versions."""
    if not pairs:
        return
    scopes = ledger_scopes.c.index_id == job.index_id, ledger_scopes.c.connector_id == job.connector_id
    scope_id = tx.execute(sa.select(ledger_scopes.c.id).where(*scopes)).scalar()
    if scope_id is None:  # the index was deleted with its ledger
        return
    for statement in (_remove, _release):
        tx.execute(statement, _pair_parameters(scope_id, pairs, its_job_id=job.id))
    absences.clear_absences(tx, scope_id, [key for key, _ in pairs])


def _keys_parameter(scope_id: int, keys: Sequence[str]) -> dict[str, Any]:
    return {"scope_id": scope_id, "keys": json.dumps(keys)}


def _pair_parameters(scope_id: int, pairs: Iterable[Pair], **more: str) -> list[dict[str, Any]]:
    return [
        {"its_scope_id": scope_id, "its_key": key, "its_version": version, **more} for key, version in pairs
    ]
