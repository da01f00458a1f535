"""Versions that are gone: missing from two full scans in a row, or reported as removed and not found.

A person may also accept everything that a full scan missed. Only then does a version leave the ledger; found again, it
is new. It leaves a tombstone that keeps its history.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.objects import StorageObject
from vvwatch.core.presence import SeenKeys
from vvwatch.core.versions import is_same_version
from vvwatch.ports import Job
from vvwatch.store.db.database import Tx, is_one_of
from vvwatch.store.schema import absences, claims, objects, tombstones

PROOF_BY_SCANS: Final = "sweeps"
PROOF_BY_EVENT: Final = "event"
PROOF_BY_PERSON: Final = "person"
CHUNK_ROWS: Final = 4_000

_LAST_SURROGATE: Final = 0xDFFF
_FIRST_SURROGATE: Final = 0xD800

Pair = tuple[str, str]
"""A key and a version."""

_its_absences = sa.select(absences.c.key, absences.c.version).where(
    absences.c.scope_id == sa.bindparam("scope_id")
)
_any_absent = _its_absences.limit(1)
_absent = _its_absences.where(is_one_of(absences.c.key))


@dataclass(frozen=True, slots=True)
class MissingChunk:
    """A chunk of the ledger: how many versions were seen, which were not, and the last one (None: no more follow)."""

    seen: int
    lacking: list[Pair]
    last: Pair | None


def _with_prefix(scope_id: int, prefix: str, after: Pair | None = None) -> list[sa.ColumnElement[bool]]:
    """Select versions after `after` whose keys begin with `prefix`. Both ends need a bound to use the index."""
    begin = objects.c.key >= prefix
    if after is not None:
        begin = sa.tuple_(objects.c.key, objects.c.version) > sa.tuple_(*map(sa.literal, after))
    end = _prefix_end(prefix)
    return [objects.c.scope_id == scope_id, begin, *([objects.c.key < end] if end else [])]


def _prefix_end(prefix: str) -> str:
    """Return the first text that sorts after all texts with this prefix; empty if there is none."""
    rest = prefix.rstrip("\U0010ffff")
    if not rest:
        return ""
    following = ord(rest[-1]) + 1
    return rest[:-1] + chr(_LAST_SURROGATE + 1 if following == _FIRST_SURROGATE else following)


def count_live(tx: Tx, scope_id: int, prefix: str) -> int:
    """Return how many versions the ledger has below `prefix`."""
    counted = sa.select(sa.func.count()).select_from(objects).where(*_with_prefix(scope_id, prefix))
    return int(tx.execute(counted).scalar_one())


def read_missing(
    tx: Tx, scope_id: int, prefix: str, after: Pair | None, seen: SeenKeys, meant: Callable[[str], bool]
) -> MissingChunk:
    """Read the next ledger rows after `after`; return those that were not seen and whose key is `meant`."""
    query = sa.select(objects.c.key, objects.c.version).where(*_with_prefix(scope_id, prefix, after))
    rows = tx.pairs(query.order_by(objects.c.key, objects.c.version).limit(CHUNK_ROWS), {})
    keys = seen.absent([key for key, _ in rows])
    absent = [pair for pair in rows if pair[0] in keys] if keys else []
    last = rows[-1] if len(rows) == CHUNK_ROWS else None
    return MissingChunk(len(rows) - len(absent), [pair for pair in absent if meant(pair[0])], last)


def record_missing(tx: Tx, job: Job, scope_id: int, sweep_id: str, pairs: Sequence[Pair]) -> int:
    """Record that a full scan missed these versions; mark those gone that an earlier scan missed too.

    Returns how many were marked gone; 0 for a stale job. Repeating it for the same scan changes nothing.
    """
    if not pairs or tx.touch(job, scope_id=scope_id) is None:
        return 0
    keys = _keys_parameter(key for key, _ in pairs)
    missed = sa.select(absences.c.key, absences.c.version).where(
        absences.c.scope_id == scope_id, absences.c.reconcile_id != sweep_id, is_one_of(absences.c.key)
    )
    before = set(tx.pairs(missed, keys))
    first = [
        {"scope_id": scope_id, "key": key, "version": version, "reconcile_id": sweep_id}
        for key, version in pairs
        if (key, version) not in before
    ]
    if first:
        tx.execute(tx.upsert(absences).on_conflict_do_nothing(), first)
    return _mark_gone(tx, scope_id, [pair for pair in pairs if pair in before], PROOF_BY_SCANS)


def accept_missing(tx: Tx, job: Job, scope_id: int, pairs: Sequence[Pair]) -> int:
    """Mark versions gone because a person says so. Returns how many left the ledger; 0 for a stale job."""
    if not pairs or tx.touch(job, scope_id=scope_id) is None:
        return 0
    return _mark_gone(tx, scope_id, pairs, PROOF_BY_PERSON)


def drop_stale_absences(tx: Tx, scope_id: int, sweep_id: str) -> None:
    """Drop absences that an earlier scan recorded and this one did not confirm."""
    stale = absences.c.scope_id == scope_id, absences.c.reconcile_id != sweep_id
    tx.execute(sa.delete(absences).where(*stale))


def list_missing(tx: Tx, scope_id: int, keys: Iterable[str]) -> list[str]:
    """Return those of `keys` that the last full scan missed."""
    if not tx.pairs(_any_absent, {"scope_id": scope_id}):
        return []
    return [key for key, _ in tx.pairs(_absent, {"scope_id": scope_id, **_keys_parameter(keys)})]


def clear_absences(tx: Tx, scope_id: int, keys: Sequence[str]) -> None:
    """Clear the absences of keys that were found again."""
    absent = absences.c.scope_id == scope_id, is_one_of(absences.c.key)
    tx.execute(sa.delete(absences).where(*absent), _keys_parameter(keys))


def mark_gone(tx: Tx, scope_id: int, pairs: Sequence[Pair]) -> int:
    """Mark versions gone after an event reported it and the lookup found nothing.

    Returns how many left the ledger.
    """
    return _mark_gone(tx, scope_id, pairs, PROOF_BY_EVENT)


def _mark_gone(tx: Tx, scope_id: int, pairs: Sequence[Pair], proof: str) -> int:
    if not pairs:
        return 0
    given, wanted = _keys_parameter(key for key, _ in pairs), set(pairs)
    rows = tx.execute(
        sa.select(objects).where(objects.c.scope_id == scope_id, is_one_of(objects.c.key)), given
    )
    gone = [dict(row._mapping) for row in rows if (row.key, row.version) in wanted]
    if not gone:
        return 0
    insert = tx.upsert(tombstones)
    again = {name: insert.excluded[name] for name in ("window_seq", "gone_at", "proof")}
    keyed = ["scope_id", "key", "version"]
    buried = [{**row, "gone_at": tx.now, "proof": proof} for row in gone]
    tx.execute(insert.on_conflict_do_update(index_elements=keyed, set_=again), buried)
    for table in (objects, absences):
        _delete_rows(tx, table, gone)
    _flag_claims(tx, scope_id, wanted, gone=True)
    return len(gone)


def _flag_claims(tx: Tx, scope_id: int, pairs: AbstractSet[Pair], *, gone: bool) -> None:
    """Keep with the claims of versions whether the versions are gone."""
    theirs = claims.c.scope_id == scope_id, claims.c.gone != gone
    found = sa.select(claims.c.key, claims.c.version).where(*theirs, is_one_of(claims.c.key))
    claimed = pairs & set(tx.pairs(found, _keys_parameter(key for key, _ in pairs)))
    one = claims.c.key == sa.bindparam("its_key"), claims.c.version == sa.bindparam("its_version")
    if claimed:
        its = [{"its_key": key, "its_version": version} for key, version in sorted(claimed)]
        tx.execute(sa.update(claims).where(*theirs, *one).values(gone=gone), its)


def find_tombstones(tx: Tx, scope_id: int, found: Sequence[StorageObject]) -> dict[Pair, Pair]:
    """Return the versions in `found` that have a tombstone, each with the key and version of its tombstone."""
    known = sa.select(tombstones.c.key, tombstones.c.version).where(
        tombstones.c.scope_id == scope_id, is_one_of(tombstones.c.key)
    )
    versions = {obj.key: obj.version for obj in found}
    buried_pairs = tx.pairs(known, _keys_parameter(versions))
    return {
        (key, versions[key]): (key, version)
        for key, version in buried_pairs
        if is_same_version(versions[key], version)
    }


def restore_versions(tx: Tx, scope_id: int, pairs: Sequence[Pair]) -> None:
    """Restore versions in the ledger, under the window that took them: they were never deleted."""
    among, wanted = _keys_parameter(key for key, _ in pairs), set(pairs)
    theirs = tombstones.c.scope_id == scope_id, is_one_of(tombstones.c.key)
    columns = [tombstones.c[column.name] for column in objects.c]
    rows = [dict(row._mapping) for row in tx.execute(sa.select(*columns).where(*theirs), among)]
    back = [row for row in rows if (row["key"], row["version"]) in wanted]
    if back:
        tx.execute(tx.upsert(objects).on_conflict_do_nothing(), back)
        _delete_rows(tx, tombstones, back)
        _flag_claims(tx, scope_id, wanted, gone=False)


def _delete_rows(tx: Tx, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    keyed = ("scope_id", "key", "version")
    tx.execute(
        sa.delete(table).where(*(table.c[name] == sa.bindparam(f"its_{name}") for name in keyed)),
        [{f"its_{name}": row[name] for name in keyed} for row in rows],
    )


def _keys_parameter(keys: Iterable[str]) -> dict[str, str]:
    """Return the keys as the parameter of `is_one_of`."""
    return {"keys": json.dumps(list(keys))}
