"""Split a long listing into prefixes, and decide whether that pays.

Correctness does not depend on the order of keys: prefixes cover whole folders. Only the cost estimate uses the order
of the listing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from operator import itemgetter
from typing import Final, NamedTuple

_WORTH_PAGES: Final = 32
"""A listing with fewer pages to come continues as it is, because a split lists past pages again."""

_PAGES_A_GROUP: Final = 2
"""The least length of a group: its last page is half empty on average."""

_MOST_GROUPS: Final = 512
"""Longer listings are split again; the event loop waits while groups are made."""


class Course(NamedTuple):
    """The progress of a listing through its known folders."""

    pages: int = 0
    begun: int = 0
    """The number of folders at or before the last key."""
    entered: int = 0
    """The page count when `begun` last changed."""

    def after(self, last_key: str, folders: Sequence[str]) -> Course:
        """Return the course after one more page that ends with `last_key`; `folders` are sorted."""
        begun = bisect_right(folders, last_key)
        return Course(self.pages + 1, begun, self.entered if begun == self.begun else self.pages)

    def pages_to_come(self, folders: Sequence[str]) -> float:
        """Return a guess: folders are equally long, and the current one is at most half done."""
        evenly = self.pages * (len(folders) / max(self.begun, 1) - 1)
        return max(evenly, self.pages - self.entered)


def split_prefixes(folders: Sequence[str], course: Course, at_once: int) -> list[str]:
    """Return prefixes to list `at_once` in place of the one that covers all `folders`; none when that does not pay."""
    to_come = course.pages_to_come(folders)
    if to_come < _WORTH_PAGES:
        return []
    most = min(int(course.pages + to_come) // _PAGES_A_GROUP, _MOST_GROUPS)
    parts = group_folders(folders, max(2 * at_once, most))
    return parts if len(parts) > 1 else []


def group_folders(folders: Iterable[str], most: int) -> list[str]:
    """Return at most `most` prefixes, the fullest first; each folder starts with exactly one of them.

    A group is the common start of its folders; the fullest are divided first while there is room. `most` is at least
    1. No folders give no groups.
    """
    names = sorted(dict.fromkeys(folders))  # nearly sorted they come, and a set would lose that
    pending = [(-len(names), 0, len(names))] if names else []
    whole: list[str] = []
    while pending:
        _, low, high = heappop(pending)
        parts = _split_names(names, low, high)
        if len(whole) + len(pending) + len(parts) > most:
            parts = [(low, high)]
        if len(parts) == 1:
            whole.append(_common_prefix(names[low], names[high - 1]))
            continue
        for start, end in parts:
            heappush(pending, (start - end, start, end))
    return whole


def _split_names(names: Sequence[str], low: int, high: int) -> list[tuple[int, int]]:
    """Return the ranges of sorted names that differ at the first differing character.

    One if a name begins all others.
    """
    depth = len(_common_prefix(names[low], names[high - 1]))
    if len(names[low]) == depth:
        return [(low, high)]
    parts = []
    while low < high:
        end = bisect_right(names, names[low][depth], low, high, key=itemgetter(depth))
        parts.append((low, end))
        low = end
    return parts


def _common_prefix(first: str, last: str) -> str:
    """Return the common start of both."""
    pairs = enumerate(zip(first, last, strict=False))
    length = next((place for place, (one, other) in pairs if one != other), min(len(first), len(last)))
    return first[:length]
