"""Compare a listing with the ledger by identity alone, never by the order of keys or times."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from vvwatch.core.objects import StorageObject
from vvwatch.core.versions import is_same_version, names_by_time

_key: Final = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Diff:
    """The objects of a listing, in its order, by what the ledger knows of them."""

    created: list[StorageObject]
    """Objects whose keys the ledger does not have."""
    modified: list[StorageObject]
    """Objects whose keys the ledger has with other versions only."""
    known: int
    """The number of keys that the ledger has with exactly the listed version."""


def diff_listing(listed: Sequence[StorageObject], recorded: Collection[tuple[str, str]]) -> Diff:
    """Return the difference between `listed` and `recorded` pairs of key and version.

    `recorded` needs only the pairs whose key is in `listed`. Of an object listed twice the last version counts.
    Nearly all objects of a full scan are known: such an object costs one dictionary lookup. File versions compare by
    `is_same_version`.
    """
    versions = dict(recorded)
    if len(versions) == len(recorded):
        unknown = [obj for obj in listed if versions.get(obj[0]) != obj[1]]
    else:  # some key has several versions
        pairs = set(recorded)
        unknown = [obj for obj in listed if obj[:2] not in pairs]
    if unknown:
        unknown = _without_same(unknown, recorded)
    keys = len(set(map(_key, listed)))
    if not unknown:
        return Diff([], [], keys)
    return _match_versions(listed, unknown, versions, keys)


def _without_same(unknown: list[StorageObject], recorded: Collection[tuple[str, str]]) -> list[StorageObject]:
    """Return the objects whose version is not recorded in another form either, such as by time and size alone."""
    keys = {obj.key for obj in unknown}
    others: dict[str, list[str]] = {}
    for key, version in recorded:
        if key in keys:
            others.setdefault(key, []).append(version)
    return [
        obj
        for obj in unknown
        if not any(
            is_same_version(obj.version, version) or names_by_time(version, obj.modified_at, obj.size_bytes)
            for version in others.get(obj.key, ())
        )
    ]


def join_diffs(differences: Iterable[Diff]) -> Diff:
    """Return one difference for several listings; of an object that is new in two of them the last form counts."""
    created: dict[str, StorageObject] = {}
    modified: dict[str, StorageObject] = {}
    known = 0
    for difference in differences:
        created |= {obj.key: obj for obj in difference.created}
        modified |= {obj.key: obj for obj in difference.modified}
        known += difference.known
    return Diff(list(created.values()), list(modified.values()), known)


def _match_versions(
    listed: Sequence[StorageObject],
    unknown: list[StorageObject],
    versions: Mapping[str, str],
    keys: int,
) -> Diff:
    last = dict(zip(map(_key, listed), listed, strict=True)) if keys != len(listed) else None
    new = {obj.key: obj for obj in unknown if last is None or last[obj.key] == obj}
    created = [obj for obj in new.values() if obj.key not in versions]
    modified = [obj for obj in new.values() if obj.key in versions]
    return Diff(created, modified, keys - len(new))
