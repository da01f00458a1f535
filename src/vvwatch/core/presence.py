"""What a sweep saw, kept so small that a million keys take two megabytes; and when a sweep proves that more is gone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable
from itertools import accumulate
from operator import attrgetter
from typing import Final, NamedTuple

_BITS_PER_KEY: Final = 16
_LEAST_BITS: Final = 1 << 20
_MOST_BITS: Final = 1 << 29  # 64 MiB
_LOW_BITS: Final = 32  # of a product, those above are the better mixed
_ALWAYS_TOO_FEW: Final = 10
_highest: Final = attrgetter("highest")


class KeySpan(NamedTuple):
    """A part of a ledger that was seen: the first and the last key of it, and how many rows."""

    lowest: str
    highest: str
    rows: int


class SeenKeys:
    """Which keys of a ledger were seen, in whatever order: it forgets none, and takes a few for seen that were not.

    Of `expected` keys it takes at most one in sixteen so, and more when more come. `salt` decides which: with another
    one, in the next sweep, it is others.
    """

    def __init__(self, expected: int, salt: int) -> None:
        wanted = max(_LEAST_BITS, expected * _BITS_PER_KEY)
        bits = min(1 << (wanted - 1).bit_length(), _MOST_BITS)
        self.expected = expected
        self._table = bytearray(bits >> 3)
        self._mask = bits - 1
        self._salt = salt | 1  # multiplied by another odd number, other keys meet
        self._stretches: list[KeySpan] = []
        self._covered: list[tuple[str, str]] = []
        self._reach: tuple[list[str], list[str]] | None = None

    @property
    def last_key(self) -> str:
        """The last of all keys that were seen, in order."""
        return max((stretch.highest for stretch in self._stretches), default="")

    def cover(self, lowest: str, highest: str, rows: int) -> None:
        """Note that every key of the ledger from `lowest` to `highest` was seen, of which it has so many rows."""
        self._covered.append((lowest, highest))
        self._reach = None
        self._stretches.append(KeySpan(lowest, highest, rows))

    def add(self, keys: Collection[str], rows: int) -> None:
        """Note `keys`, of which the ledger has so many rows."""
        table, mask, salt = self._table, self._mask, self._salt
        for key in keys:
            place = (hash(key) * salt >> _LOW_BITS) & mask
            table[place >> 3] |= 1 << (place & 7)
        if keys:
            self._stretches.append(KeySpan(min(keys), max(keys), rows))

    def absent(self, keys: Iterable[str]) -> set[str]:
        """Those of `keys` that were certainly not seen."""
        table, mask, salt = self._table, self._mask, self._salt
        unmarked = {
            key
            for key in keys
            if not table[(place := (hash(key) * salt >> _LOW_BITS) & mask) >> 3] & (1 << (place & 7))
        }
        if self._reach is None:
            self._reach = _merge_covered(self._covered)
        lowest, highest = self._reach
        return {
            key for key in unmarked if not (place := bisect_right(lowest, key)) or highest[place - 1] < key
        }

    def at_least(self) -> int:
        """How many different rows were certainly seen; all of them where those that came together lay apart."""
        return most_disjoint_rows(self._stretches)


def _merge_covered(covered: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """The beginnings of what is covered, and how far it reaches that begins there or before."""
    in_order = sorted(covered)
    return [lowest for lowest, _ in in_order], list(accumulate((highest for _, highest in in_order), max))


def most_disjoint_rows(stretches: Iterable[KeySpan]) -> int:
    """The most rows that some of these stretches hold of which no two overlap: so many differ for certain."""
    ends: list[str] = []
    best = [0]
    for lowest, highest, rows in sorted(stretches, key=_highest):
        with_it = best[bisect_left(ends, lowest)] + rows
        ends.append(highest)
        best.append(max(best[-1], with_it))
    return best[-1]


def explain_doubt(listed: int, seen: int, missing: int) -> str:
    """Why a whole listing proves nothing about what it lacks; empty when it does.

    `listed` objects came at all; of the live ones `seen` were among them, and `missing` were not.
    """
    if missing and not listed:
        known = "1 object is" if missing == 1 else f"{missing:,} objects are"
        return f"the listing is empty, although {known} known: nothing is taken for gone"
    if missing > _ALWAYS_TOO_FEW and missing > seen:
        return (
            f"{missing:,} of {seen + missing:,} known objects are missing at once: nothing is taken for gone"
        )
    return ""
