"""When a mass loss is believed: what so many complete listings miss, over so long a time, at a place that stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

ANY_PLACE: Final = "bucket"
"""The place of a store that is the same whenever it answers at all."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How many complete listings, and over how many seconds, have to miss the same before it is believed."""

    scans: int = 3
    seconds: float = 3_600.0

    def __str__(self) -> str:
        """As it is told."""
        return f"{self.scans} complete scans over {self.seconds / 3_600:g} h"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Complete listings in a row that miss too much: `times` of them since then, the last `missing` so many; and why.

    `proven`: what stood at the place was what stood there when the missing was seen, each time.
    """

    since: float
    times: int
    missing: int
    why: str
    proven: bool

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> Doubt | None:
        """As it was stored; None for no doubt."""
        return None if document is None else cls(**document)

    def document(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)

    def is_over(self, now: float, wanted: Confirmation) -> bool:
        """Whether it is believed by now that what is missing is gone."""
        return self.proven and self.times >= wanted.scans and now - self.since >= wanted.seconds


def extend_doubt(before: Doubt | None, now: float, missing: int, why: str, *, proven: bool) -> Doubt:
    """The doubt after one more listing that misses too much; it begins anew where the place is another one."""
    if before is None or before.proven != proven or before.since > now:
        return Doubt(now, 1, missing, why, proven)
    return Doubt(before.since, before.times + 1, missing, why, proven)
