"""The ledger: one row for every object version ever accepted. There is no high-water mark."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.imports import FileStatus
from vvwatch.core.known_pages import KnownPage, digest_pairs
from vvwatch.core.ledger import Diff, diff_listing, join_diffs
from vvwatch.core.objects import StorageObject
from vvwatch.core.presence import SeenKeys
from vvwatch.core.selection import KnownKeys, SkippedObject
from vvwatch.core.versions import is_same_version
from vvwatch.store.db.database import Tx, is_one_of
from vvwatch.store.schema import (
    claims,
    import_files,
    ledger_scopes,
    objects,
    observations,
    outputs,
    tombstones,
    windows,
)
from vvwatch.store.watching import absences

NOT_IMPORTED = 0
"""The window of versions that no window took: not to be imported (existing before, `new_only`), or claimed."""

_range = (
    sa.select(objects.c.key, objects.c.version)
    .where(
        objects.c.scope_id == sa.bindparam("scope_id"),
        objects.c.key.between(sa.bindparam("lowest"), sa.bindparam("highest")),
    )
    .limit(sa.bindparam("most"))
)
_among = sa.select(objects.c.key, objects.c.version).where(
    objects.c.scope_id == sa.bindparam("scope_id"), is_one_of(objects.c.key)
)
_insert = sa.insert(objects)
_pair: Final = itemgetter(0, 1)
_OBSERVED: Final = ("version", "reason", "detail", "size_bytes")


def ensure_scope(tx: Tx, index_id: str, connector_id: str) -> int:
    """Return the scope id of (index, connector) in the ledger; create it on first use."""
    tx.insert_new(ledger_scopes, [{"index_id": index_id, "connector_id": connector_id}])
    found = sa.select(ledger_scopes.c.id).where(
        ledger_scopes.c.index_id == index_id, ledger_scopes.c.connector_id == connector_id
    )
    return int(tx.execute(found).scalar_one())


def list_recorded(tx: Tx, scope_id: int, keys: Sequence[str]) -> list[tuple[str, str]]:
    """Return the recorded (key, version) pairs of these keys, and possibly of keys between them."""
    return tx.pairs_among(_range, _among, {"scope_id": scope_id}, keys)


def compare(tx: Tx, scope_id: int, found: Sequence[StorageObject]) -> Diff:
    """Compare objects with the ledger."""
    return diff_listing(found, list_recorded(tx, scope_id, [obj.key for obj in found]))


@dataclass(frozen=True, slots=True)
class LedgerComparison:
    """Part of a listing compared with the ledger; the last full scan had missed the keys `missed`."""

    diff: Diff
    missed: list[str]


def compare_pages(
    tx: Tx, scope_id: int, runs: Sequence[Sequence[StorageObject]], seen: SeenKeys | None
) -> LedgerComparison:
    """Compare pages of objects with the ledger, each a range of keys; note in `seen` what the ledger has.

    Each page is read on its own, so keys between pages of different folders are not read.
    """
    differences = [_compare_page(tx, scope_id, run, seen) for run in runs]
    keys = (obj[0] for run in runs for obj in run)
    return LedgerComparison(join_diffs(differences), absences.list_missing(tx, scope_id, keys))


def _compare_page(tx: Tx, scope_id: int, run: Sequence[StorageObject], seen: SeenKeys | None) -> Diff:
    if seen is None or not run:
        return compare(tx, scope_id, run)
    known = run.facts if isinstance(run, KnownPage) else None
    lowest, highest = (known.first_key, known.last_key) if known else (run[0].key, run[-1].key)
    bounds = {"scope_id": scope_id, "lowest": lowest, "highest": highest, "most": 2 * len(run) + 100}
    rows = tx.pairs(_range, bounds)
    equal = digest_pairs(rows) == known.digest if known else rows == list(map(_pair, run))
    if equal:  # nothing changed: the common case
        seen.cover(lowest, highest, len(rows))
        return Diff([], [], len(rows))
    return _compare_keys(tx, scope_id, run, seen)


def _compare_keys(tx: Tx, scope_id: int, run: Sequence[StorageObject], seen: SeenKeys) -> Diff:
    keys = [obj.key for obj in run]
    lowest, highest, most = min(keys), max(keys), 2 * len(keys) + 100
    rows = tx.pairs(_range, {"scope_id": scope_id, "lowest": lowest, "highest": highest, "most": most})
    crowded = len(rows) == most  # other keys fill the range: read only the page's own
    if crowded:
        rows = tx.pairs(_among, {"scope_id": scope_id, "keys": json.dumps(keys)})
    theirs = set(keys).intersection(key for key, _ in rows)
    if crowded or not all(key in theirs for key, _ in rows):
        seen.add(theirs, sum(key in theirs for key, _ in rows))
    elif rows:
        seen.cover(lowest, highest, len(rows))
    return diff_listing(run, rows)


def find_known_keys(tx: Tx, scope_id: int, keys: Sequence[str]) -> KnownKeys:
    """Return those of `keys` that have or had a version; versions whose import failed do not count."""
    given = {"scope_id": scope_id, "keys": json.dumps(keys)}
    living, gone = (tx.pairs(_select_outcomes(table), given) for table in (objects, tombstones))
    awaited = {key for key, status in living if status == FileStatus.PENDING}
    had = {key for key, status in (*living, *gone) if status != FileStatus.FAILED}
    return KnownKeys(had - awaited, awaited)


def _select_outcomes(table: sa.Table) -> sa.Select[Any]:
    """Select keys with the status of their file, `waiting` in an open window, and NULL without a window."""
    file = import_files.c
    gathers = windows.c.state == "open"
    status = sa.case((gathers, FileStatus.WAITING.value), else_=file.status)
    its_file = sa.and_(
        file.job_id == windows.c.import_job_id, file.key == table.c.key, file.version == table.c.version
    )
    return (
        sa.select(table.c.key, status)
        .select_from(table)
        .outerjoin(windows, windows.c.seq == table.c.window_seq)
        .outerjoin(import_files, its_file)
        .where(table.c.scope_id == sa.bindparam("scope_id"), is_one_of(table.c.key))
    )


def forget_version(tx: Tx, index_id: str, connector_id: str, key: str, version: str) -> None:
    """Forget a version and those declined because of it: found again, they are new."""
    scope_id = ensure_scope(tx, index_id, connector_id)
    here = objects.c.scope_id == scope_id, objects.c.key == key
    known = tx.execute(sa.select(objects.c.version).where(*here)).scalars()
    same = [each for each in known if is_same_version(each, version)]
    live = claims.c.scope_id == scope_id, claims.c.key == key, ~claims.c.gone
    tx.execute(sa.delete(claims).where(*live, claims.c.version.in_(same)))
    declined = sa.and_(
        objects.c.window_seq == NOT_IMPORTED, ~sa.exists().where(*live, claims.c.version == objects.c.version)
    )
    tx.execute(sa.delete(objects).where(*here, sa.or_(objects.c.version.in_(same), declined)))
    absences.clear_absences(tx, scope_id, [key])


def record_versions(tx: Tx, scope_id: int, page: Iterable[StorageObject], window_seq: int) -> None:
    """Record versions under a window. The caller guards the automation and knows that they are new."""
    rows = [(scope_id, obj.key, obj.version, window_seq) for obj in sorted(page)]
    tx.insert_tuples(_insert, ("scope_id", "key", "version", "window_seq"), rows)


def forget_superseded(tx: Tx, scope_id: int, keys: Collection[str], window_seq: int) -> None:
    """Forget the versions of this window that newer ones replace: found again, they are new."""
    if keys:
        here = objects.c.scope_id == scope_id, objects.c.window_seq == window_seq, is_one_of(objects.c.key)
        tx.execute(sa.delete(objects).where(*here), {"keys": json.dumps(list(keys))})


def claim_outputs(tx: Tx, uris: Sequence[str], export_id: str) -> None:
    """Record, before the writes, that `uris` are outputs of vvwatch and never inputs."""
    tx.insert_new(outputs, [{"uri": uri, "export_id": export_id, "created_at": tx.now} for uri in uris])


def release_outputs(tx: Tx, uris: Sequence[str], export_id: str | None = None) -> None:
    """Forget claims of the export, or of all: something else exists at these addresses, which may be an input."""
    of_export = () if export_id is None else (outputs.c.export_id == export_id,)
    tx.execute(sa.delete(outputs).where(outputs.c.uri.in_(uris), *of_export))


def record_observations(
    tx: Tx, automation_id: str, seen: Sequence[SkippedObject], reported_in: str | None = None
) -> list[SkippedObject]:
    """Record why objects were not picked up; return the new observations.

    An unchanged observation stays, so an object is reported as skipped once per version and reason. `reported_in`
    is the job that already reported them.
    """
    news = _select_new_observations(tx, automation_id, seen)
    if news:
        common = {"automation_id": automation_id, "seen_at": tx.now, "job_id": reported_in}
        insert = tx.upsert(observations)
        values = {name: insert.excluded[name] for name in (*_OBSERVED, "seen_at", "job_id")}
        keyed = ["automation_id", "key"]
        tx.execute(
            insert.on_conflict_do_update(index_elements=keyed, set_=values),
            [common | asdict(each) for each in news],
        )
    return news


def find_observed(
    tx: Tx, automation_id: str, reason: str, among: Sequence[StorageObject]
) -> set[tuple[str, str]]:
    """Return the (key, version) pairs of `among` that were observed for this reason."""
    found = sa.select(observations.c.key, observations.c.version).where(
        observations.c.automation_id == automation_id,
        observations.c.reason == reason,
        observations.c.key.in_([obj.key for obj in among]),
    )
    return {(row.key, row.version) for row in tx.all(found)}


def has_new_observations(tx: Tx, automation_id: str, seen: Sequence[SkippedObject]) -> bool:
    """Return whether `record_observations` would record anything."""
    return bool(_select_new_observations(tx, automation_id, seen))


def _select_new_observations(
    tx: Tx, automation_id: str, seen: Sequence[SkippedObject]
) -> list[SkippedObject]:
    known = tx.all(
        sa.select(observations.c.key, observations.c.version, observations.c.reason).where(
            observations.c.automation_id == automation_id,
            observations.c.key.in_([each.key for each in seen]),
        )
    )
    before = {row.key: (row.reason, row.version) for row in known}
    return [each for each in seen if not _is_recorded(before.get(each.key), each)]


def _is_recorded(before: tuple[str, str] | None, seen: SkippedObject) -> bool:
    """Return whether the reason and the version of the earlier observation are the same."""
    return before is not None and before[0] == seen.reason and is_same_version(before[1], seen.version)


def forget_observations(tx: Tx, automation_id: str, keys: Sequence[str]) -> None:
    """Forget the observations of objects that were picked up."""
    tx.execute(
        sa.delete(observations).where(
            observations.c.automation_id == automation_id, observations.c.key.in_(keys)
        )
    )
