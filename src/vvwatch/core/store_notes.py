"""Notes on a store's deviations, collected during use and reported once each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

_MOST_REMARKS: Final = 10_000


class Oddity(StrEnum):
    """A deviation of a store that weakens the guarantees for its objects."""

    NO_VERSIONS = "no_versions"
    OTHER_VERSIONS = "other_versions"
    FALSE_SIZES = "false_sizes"
    FALSE_DIGESTS = "false_digests"
    NO_RANGES = "no_ranges"
    NO_CONDITIONS = "no_conditions"


_SENTENCES: Final[Mapping[Oddity, str]] = {
    Oddity.NO_VERSIONS: (
        "the store lists objects without an ETag: their version is size and time of change, "
        "and a rewrite of equal size at the same time, as precisely as the store gives it, is not noticed"
    ),
    Oddity.OTHER_VERSIONS: (
        "the store gives another version of an object when it is read than when it is listed: "
        "the listing counts, and each object costs one more request"
    ),
    Oddity.FALSE_SIZES: (
        "the store lists another size than the object has: what is read counts, not what is listed"
    ),
    Oddity.FALSE_DIGESTS: (
        "the store states digests that are not those of the bytes: bytes that came equal twice are taken"
    ),
    Oddity.NO_RANGES: (
        "the store does not send parts of an object: the whole is read where a part would do, which takes longer"
    ),
    Oddity.NO_CONDITIONS: (
        "the store refuses to read an object on condition that it is unchanged: it is looked at before and after"
    ),
}
"""Complete sentences for log lines, doctor findings and connector tests."""


def describe_oddity(oddity: str) -> str:
    """Return the sentence for an oddity, or the word itself if a newer vvwatch wrote it."""
    return _SENTENCES[Oddity(oddity)] if oddity in _SENTENCES else oddity


class StoreNotes:
    """The oddities of one store in the order of discovery, and remarks on versions.

    `versions_shown`: events carry the version of an object as a listing does; otherwise it must be looked up.
    """

    def __init__(self) -> None:
        self.versions_shown = True
        self._odd: dict[Oddity, None] = {}
        self._remarks: dict[tuple[str, str], str] = {}

    def note(self, oddity: Oddity) -> None:
        """Record the oddity."""
        self._odd.setdefault(oddity)

    @property
    def odd(self) -> Mapping[Oddity, str]:
        """Return each recorded oddity with its sentence."""
        return {oddity: _SENTENCES[oddity] for oddity in self._odd}

    def remark(self, key: str, version: str, words: str) -> None:
        """Record what was odd about one version when it was read; keep only the latest of very many."""
        self._remarks.pop((key, version), None)
        self._remarks[key, version] = words
        if len(self._remarks) > _MOST_REMARKS:
            del self._remarks[next(iter(self._remarks))]

    def remark_on(self, key: str, version: str) -> str:
        """Return what was odd about that version when it was read; empty for nothing."""
        return self._remarks.get((key, version), "")
