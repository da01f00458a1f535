"""Remember the keys that a full scan saw, in 2 MB per million, and judge whether missing keys are gone."""

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
    """A seen part of a ledger: its first key, last key and number of rows."""

    lowest: str
    highest: str
    rows: int


class SeenKeys:
    """The keys that a scan saw, in any order: a Bloom filter with one hash, plus spans seen whole.

    It never forgets a key, but reports at most one in sixteen unseen keys as seen (more if more than `expected`
    come). `salt` decides which, so another scan misjudges other keys.
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
        """The greatest key seen."""
        return max((stretch.highest for stretch in self._stretches), default="")

    def cover(self, lowest: str, highest: str, rows: int) -> None:
        """Record that the scan saw all `rows` ledger rows from `lowest` to `highest`."""
        self._covered.append((lowest, highest))
        self._reach = None
        self._stretches.append(KeySpan(lowest, highest, rows))

    def add(self, keys: Collection[str], rows: int) -> None:
        """Record `keys`, which have `rows` rows in the ledger."""
        table, mask, salt = self._table, self._mask, self._salt
        for key in keys:
            place = (hash(key) * salt >> _LOW_BITS) & mask
            table[place >> 3] |= 1 << (place & 7)
        if keys:
            self._stretches.append(KeySpan(min(keys), max(keys), rows))

    def absent(self, keys: Iterable[str]) -> set[str]:
        """Return those of `keys` that the scan certainly did not see."""
        table, mask, salt = self._table, self._mask, self._salt
        unmarked = []
        for key in keys:  # the hash as in `add`; a call per key would double the time
            place = (hash(key) * salt >> _LOW_BITS) & mask
            if not table[place >> 3] & (1 << (place & 7)):
                unmarked.append(key)
        if self._reach is None:
            self._reach = _merge_covered(self._covered)
        starts, ends = self._reach
        return {key for key in unmarked if not _is_covered(key, starts, ends)}

    def at_least(self) -> int:
        """Return a lower bound of the rows seen; exact if the spans do not overlap."""
        return most_disjoint_rows(self._stretches)


def _is_covered(key: str, starts: list[str], ends: list[str]) -> bool:
    """Return whether a span that starts at or before the key reaches it."""
    started = bisect_right(starts, key)
    return started > 0 and key <= ends[started - 1]


def _merge_covered(covered: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Return the sorted starts of the covered spans, and the greatest end of all spans up to each."""
    in_order = sorted(covered)
    return [lowest for lowest, _ in in_order], list(accumulate((highest for _, highest in in_order), max))


def most_disjoint_rows(stretches: Iterable[KeySpan]) -> int:
    """Return the most rows in any set of spans that do not overlap: so many rows certainly differ."""
    ends: list[str] = []
    best = [0]
    for lowest, highest, rows in sorted(stretches, key=_highest):
        with_it = best[bisect_left(ends, lowest)] + rows
        ends.append(highest)
        best.append(max(best[-1], with_it))
    return best[-1]


def explain_doubt(listed: int, seen: int, missing: int) -> str:
    """Return why a complete listing does not prove a loss; empty when it does.

    `listed` counts all listed objects; of the live ones `seen` were listed and `missing` were not.
    """
    if missing and not listed:
        known = "1 object is" if missing == 1 else f"{missing:,} objects are"
        return f"the listing is empty, although {known} known: nothing is taken for gone"
    if missing > _ALWAYS_TOO_FEW and missing > seen:
        return (
            f"{missing:,} of {seen + missing:,} known objects are missing at once: nothing is taken for gone"
        )
    return ""
