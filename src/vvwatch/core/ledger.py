"""What a listing holds that the ledger does not: identity alone decides, never an order of keys or times."""

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
    """The objects of a listing by what the ledger knows of them, in the order of the listing."""

    created: list[StorageObject]
    """Keys that were never recorded."""
    modified: list[StorageObject]
    """Keys that were recorded with other versions only."""
    known: int
    """How many keys were recorded with exactly the listed version."""


def diff_listing(listed: Sequence[StorageObject], recorded: Collection[tuple[str, str]]) -> Diff:
    """`listed` held against `recorded` pairs of key and version.

    `recorded` need hold only the pairs whose key lies in `listed`. An object listed twice counts once, with
    its last version. Almost every object of a sweep is known: that case costs one look into a dictionary.
    Versions of files are equal as `is_same_version` has it.
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
    """Those whose version was not recorded in another form either: by time and size alone, say."""
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
    """One difference for several listings; an object that is new in two of them counts once, as the last has it."""
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
