"""Decide when a mass loss is real.

Enough complete listings miss the same objects, over enough time, at the same place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

ANY_PLACE: Final = "bucket"
"""The place id of a store whose location cannot change."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The number of complete listings, and of seconds, that must miss the same objects before the loss counts."""

    scans: int = 3
    seconds: float = 3_600.0

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.scans} complete scans over {self.seconds / 3_600:g} h"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Consecutive complete listings that miss too much.

    `times` of them since `since`; the last one missed `missing` objects, for the reason `why`. `proven`: each listing
    saw the same place as before.
    """

    since: float
    times: int
    missing: int
    why: str
    proven: bool

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> Doubt | None:
        """Return the doubt from its stored form; None for none."""
        return None if document is None else cls(**document)

    def document(self) -> dict[str, Any]:
        """Return the form that is stored."""
        return asdict(self)

    def is_over(self, now: float, wanted: Confirmation) -> bool:
        """Return whether the missing objects now count as gone."""
        return self.proven and self.times >= wanted.scans and now - self.since >= wanted.seconds


def extend_doubt(before: Doubt | None, now: float, missing: int, why: str, *, proven: bool) -> Doubt:
    """Return the doubt after one more listing that misses too much; another place starts a new one."""
    if before is None or before.proven != proven or before.since > now:
        return Doubt(now, 1, missing, why, proven)
    return Doubt(before.since, before.times + 1, missing, why, proven)
