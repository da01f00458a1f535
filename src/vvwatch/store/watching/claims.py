"""Claims of import jobs without a window: automations do not import their versions again.

The ledger records a claimed version under a negative mark instead of a window. The mark counts the claims: once all
are released, the ledger is as before. It is -1, -3, -5, … if the ledger did not have the version, and -2, -4, … if the
version was known and not to be imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.imports import FileStatus
from vvwatch.store.db.database import Tx, is_one_of
from vvwatch.store.schema import import_files, import_jobs, ledger_scopes, objects, tombstones, windows
from vvwatch.store.watching import absences, ledger

_NEW: Final = -1
_ONE: Final = 2

Pair = tuple[str, str]
"""Key and version."""


def _select_window_versions(table: sa.Table) -> sa.Select[Any]:
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
        .where(_is_in_scope(table), table.c.window_seq > ledger.NOT_IMPORTED)
    )


def _select_claimed_versions(table: sa.Table) -> sa.Select[Any]:
    """Select keys of claimed versions, with `failed` if every job that claimed them failed."""
    files = (
        sa.select(import_files.c.key)
        .select_from(ledger_scopes)
        .join(
            import_jobs,
            sa.and_(
                import_jobs.c.index_id == ledger_scopes.c.index_id,
                import_jobs.c.connector_id == ledger_scopes.c.connector_id,
                import_jobs.c.window_id.is_(None),
            ),
        )
        .join(import_files, import_files.c.job_id == import_jobs.c.id)
        .where(
            ledger_scopes.c.id == table.c.scope_id,
            import_files.c.key == table.c.key,
            import_files.c.version == table.c.version,
        )
        .correlate(table)
    )
    others = files.where(import_files.c.status != FileStatus.FAILED)
    status = sa.case((sa.and_(files.exists(), ~others.exists()), FileStatus.FAILED), else_=None)
    return sa.select(table.c.key, status).where(_is_in_scope(table), table.c.window_seq < ledger.NOT_IMPORTED)


def _is_in_scope(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.scope_id == sa.bindparam("scope_id"), is_one_of(table.c.key))


_taken_up = [
    of(table) for of in (_select_window_versions, _select_claimed_versions) for table in (objects, tombstones)
]
_of_no_window = sa.select(objects.c.key, objects.c.version).where(
    objects.c.scope_id == sa.bindparam("scope_id"),
    objects.c.window_seq <= ledger.NOT_IMPORTED,
    is_one_of(objects.c.key),
)
_one = (
    objects.c.scope_id == sa.bindparam("its_scope"),
    objects.c.key == sa.bindparam("its_key"),
    objects.c.version == sa.bindparam("its_version"),
)
_mark = objects.c.window_seq
_insert = sa.insert(objects)
_take = sa.update(objects).where(*_one).values(window_seq=_mark - _ONE)
_give = sa.update(objects).where(*_one, _mark < _NEW).values(window_seq=_mark + _ONE)
_remove = sa.delete(objects).where(*_one, _mark == _NEW)


def _keys_parameter(scope_id: int, keys: Sequence[str]) -> dict[str, Any]:
    return {"scope_id": scope_id, "keys": json.dumps(keys)}


def _pair_parameters(scope_id: int, pairs: Iterable[Pair]) -> list[dict[str, Any]]:
    return [{"its_scope": scope_id, "its_key": key, "its_version": version} for key, version in pairs]


def find_imported(tx: Tx, scope_id: int, keys: Sequence[str]) -> set[str]:
    """Return those of `keys` that have, or had, a version taken for import.

    Failed imports do not count: a repaired file under the same key is its first version.
    """
    if not keys:
        return set()
    given = _keys_parameter(scope_id, keys)
    found = (pair for each in _taken_up for pair in tx.pairs(each, given))
    return {key for key, status in found if status != FileStatus.FAILED}


def claim_versions(tx: Tx, scope_id: int, pairs: Sequence[Pair]) -> set[Pair]:
    """Record versions. Returns those that no window has, which the caller may release."""
    if not pairs:
        return set()
    keys = [key for key, _ in pairs]
    known = set(pairs).intersection(ledger.list_recorded(tx, scope_id, keys))
    absent = [(scope_id, *pair, _NEW) for pair in sorted(pairs) if pair not in known]
    if absent:
        tx.insert_tuples(_insert, ("scope_id", "key", "version", "window_seq"), absent)
    taken = known.intersection(tx.pairs(_of_no_window, _keys_parameter(scope_id, keys))) if known else set()
    if taken:
        tx.execute(_take, _pair_parameters(scope_id, sorted(taken)))
    return set(pairs) - known | taken


def release_versions(tx: Tx, index_id: str, connector_id: str, pairs: Sequence[Pair]) -> None:
    """Release one claim of each version: the ledger is as before the claim."""
    if not pairs:
        return
    scopes = ledger_scopes.c.index_id == index_id, ledger_scopes.c.connector_id == connector_id
    scope_id = tx.execute(sa.select(ledger_scopes.c.id).where(*scopes)).scalar()
    if scope_id is None:  # the index was deleted with its ledger
        return
    tx.execute(_remove, _pair_parameters(scope_id, pairs))
    tx.execute(_give, _pair_parameters(scope_id, pairs))
    absences.clear_absences(tx, scope_id, [key for key, _ in pairs])
