"""What is gone: absent from one sweep, then from the next as well, or said to be removed and looked for in vain.

A person may say so as well, of all that a sweep lacked.

Only then a version leaves the ledger, and found again it is new. It leaves a tombstone, which tells its story.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.objects import StorageObject
from vvwatch.core.presence import Presence
from vvwatch.core.versions import is_same_version
from vvwatch.ports import Job
from vvwatch.store.db.database import Tx, is_one_of
from vvwatch.store.schema import absences, objects, tombstones

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
    """A chunk of the ledger: how many versions were seen, which not, and the last of all (None: no more follow)."""

    seen: int
    lacking: list[Pair]
    last: Pair | None


def _with_prefix(scope_id: int, prefix: str, after: Pair | None = None) -> list[sa.ColumnElement[bool]]:
    """The versions of keys that begin with `prefix`, those behind `after`. One bound at each end, or no index helps."""
    begin = objects.c.key >= prefix
    if after is not None:
        begin = sa.tuple_(objects.c.key, objects.c.version) > sa.tuple_(*map(sa.literal, after))
    end = _prefix_end(prefix)
    return [objects.c.scope_id == scope_id, begin, *([objects.c.key < end] if end else [])]


def _prefix_end(prefix: str) -> str:
    """The first text behind all that begin with `prefix`; empty when there is none."""
    rest = prefix.rstrip("\U0010ffff")
    if not rest:
        return ""
    following = ord(rest[-1]) + 1
    return rest[:-1] + chr(_LAST_SURROGATE + 1 if following == _FIRST_SURROGATE else following)


def count_live(tx: Tx, scope_id: int, prefix: str) -> int:
    """How many versions the ledger has of keys that begin with `prefix`."""
    counted = sa.select(sa.func.count()).select_from(objects).where(*_with_prefix(scope_id, prefix))
    return int(tx.execute(counted).scalar_one())


def read_missing(
    tx: Tx, scope_id: int, prefix: str, after: Pair | None, seen: Presence, meant: Callable[[str], bool]
) -> MissingChunk:
    """The next rows of the ledger behind `after`, and those of them that were not seen and whose key is `meant`."""
    query = sa.select(objects.c.key, objects.c.version).where(*_with_prefix(scope_id, prefix, after))
    rows = tx.pairs(query.order_by(objects.c.key, objects.c.version).limit(CHUNK_ROWS), {})
    keys = seen.absent([key for key, _ in rows])
    absent = [pair for pair in rows if pair[0] in keys] if keys else []
    last = rows[-1] if len(rows) == CHUNK_ROWS else None
    return MissingChunk(len(rows) - len(absent), [pair for pair in absent if meant(pair[0])], last)


def record_missing(tx: Tx, job: Job, scope_id: int, sweep_id: str, pairs: Sequence[Pair]) -> int:
    """Note that a sweep did not find these versions, or bury those that an earlier one missed already.

    Returns how many were buried; none for a stale job. Repeated for the same sweep it changes nothing.
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
    """A person says that these versions are gone. Returns how many left the ledger; none for a stale job."""
    if not pairs or tx.touch(job, scope_id=scope_id) is None:
        return 0
    return _mark_gone(tx, scope_id, pairs, PROOF_BY_PERSON)


def drop_stale_absences(tx: Tx, scope_id: int, sweep_id: str) -> None:
    """What an earlier sweep missed and this one did not is not absent any more."""
    stale = absences.c.scope_id == scope_id, absences.c.reconcile_id != sweep_id
    tx.execute(sa.delete(absences).where(*stale))


def list_missing(tx: Tx, scope_id: int, keys: Iterable[str]) -> list[str]:
    """Those of `keys` that the last sweep did not find."""
    if not tx.pairs(_any_absent, {"scope_id": scope_id}):
        return []
    return [key for key, _ in tx.pairs(_absent, {"scope_id": scope_id, **_keys_parameter(keys)})]


def clear_absences(tx: Tx, scope_id: int, keys: Sequence[str]) -> None:
    """What stands there after all is not absent."""
    absent = absences.c.scope_id == scope_id, is_one_of(absences.c.key)
    tx.execute(sa.delete(absences).where(*absent), _keys_parameter(keys))


def mark_gone(tx: Tx, scope_id: int, pairs: Sequence[Pair]) -> int:
    """These versions, which the ledger had before nothing was found at their keys, are gone.

    Returns how many of them the ledger has still.
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
    return len(gone)


def find_tombstones(tx: Tx, scope_id: int, found: Sequence[StorageObject]) -> dict[Pair, Pair]:
    """Those of the very versions in `found` that were known once, and were taken for gone; with what was buried."""
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
    """They were never gone: the ledger has them again, under the window that took them."""
    among, wanted = _keys_parameter(key for key, _ in pairs), set(pairs)
    theirs = tombstones.c.scope_id == scope_id, is_one_of(tombstones.c.key)
    columns = [tombstones.c[column.name] for column in objects.c]
    rows = [dict(row._mapping) for row in tx.execute(sa.select(*columns).where(*theirs), among)]
    back = [row for row in rows if (row["key"], row["version"]) in wanted]
    if back:
        tx.execute(tx.upsert(objects).on_conflict_do_nothing(), back)
        _delete_rows(tx, tombstones, back)


def _delete_rows(tx: Tx, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    keyed = ("scope_id", "key", "version")
    tx.execute(
        sa.delete(table).where(*(table.c[name] == sa.bindparam(f"its_{name}") for name in keyed)),
        [{f"its_{name}": row[name] for name in keyed} for row in rows],
    )


def _keys_parameter(keys: Iterable[str]) -> dict[str, str]:
    """The keys, as `one_of` takes them."""
    return {"keys": json.dumps(list(keys))}
