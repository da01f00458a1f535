"""What a listing holds that the ledger does not: identity alone decides, never an order of keys or times."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from vvwatch.core.objects import StorageObject

_key: Final = itemgetter(0)
_pair: Final = itemgetter(0, 1)


@dataclass(frozen=True, slots=True)
class Diff:
    """The objects of a listing by what the ledger knows of them, in the order of the listing."""

    created: list[StorageObject]
    """Keys that were never recorded."""
    modified: list[StorageObject]
    """Keys that were recorded with other versions only."""
    known: int
    """How many keys were recorded with exactly the listed version."""


def diff(listed: Sequence[StorageObject], recorded: Collection[tuple[str, str]]) -> Diff:
    """`listed` held against `recorded` pairs of key and version.

    `recorded` need hold only the pairs whose key lies in `listed`; a set is fastest. A key listed twice counts
    once, with its last version. A listing without news costs no Python loop, only calls of C.
    """
    pairs = recorded if isinstance(recorded, AbstractSet) else frozenset(recorded)
    if all(map(pairs.__contains__, map(_pair, listed))):
        return Diff([], [], len(set(map(_key, listed))))
    latest = dict(zip(map(_key, listed), listed, strict=True)).values()
    new = [obj for obj in latest if obj[:2] not in pairs]
    keys = set(map(_key, pairs))
    created = [obj for obj in new if obj.key not in keys]
    modified = [obj for obj in new if obj.key in keys]
    return Diff(created, modified, len(latest) - len(new))
