"""The interface between a folder source and its change notifications."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from vvwatch.ports import SourceHealth


@dataclass
class Changes:
    """Changes: `keys` of touched files, and prefixes whose content may have arrived unseen."""

    keys: list[str] = field(default_factory=list)
    rescan: list[str] = field(default_factory=list)
    overflowed: bool = False
    """Events were lost: this notifier is no longer reliable and must be replaced."""


class Notifier(Protocol):
    """Reports changes below one root until closed, except for names that start with a dot.

    Blocking; for one thread at a time. Raises StorageUnavailable if the root is missing, AccessDenied if it is
    unreadable, OSError if this machine grants no (further) notifications.
    """

    def fileno(self) -> int:
        """A descriptor that is readable when `read` has something to return."""
        ...

    def revisit(self) -> None:
        """Let `grow` walk the whole tree again: folders may be readable now, or limits different."""
        ...

    def grow(self) -> bool:
        """Watch some of the waiting folders; return True when none waits any more."""
        ...

    def shortfall(self) -> SourceHealth | None:
        """Return why some readable folders are not watched; None when all are."""
        ...

    def read(self) -> Changes:
        """Return the changes since the last read; a replaced root counts as gone."""
        ...

    def close(self) -> None:
        """Stop; nothing continues in the background."""
        ...
