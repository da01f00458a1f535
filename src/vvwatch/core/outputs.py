"""Whether a file is still what an export wrote: people edit such files, and then they are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST_REMEMBERED: Final = 8
"""So many contents of one address are remembered: the last ones that exports wrote there."""


@dataclass(frozen=True, slots=True)
class Written:
    """The content that an export wrote, or was about to write, to an address."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Output:
    """An address that an export claimed, and what it wrote there; nothing is known of claims of older versions."""

    export_id: str
    written: tuple[Written, ...] = ()

    def may_have(self, size_bytes: int) -> bool:
        """Return whether a file of this size may be what was written."""
        return not self.written or any(each.size_bytes == size_bytes for each in self.written)

    def has(self, size_bytes: int, sha256: str) -> bool:
        """Return whether this content was written; any counts if nothing is known."""
        return not self.written or Written(size_bytes, sha256) in self.written


def remember(before: Sequence[Written], now: Written) -> list[Written]:
    """Return the contents to remember of an address, the last one last."""
    return [*(each for each in before if each != now), now][-MOST_REMEMBERED:]
