"""What a folder source needs of whoever tells it of changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from vvwatch.ports import SourceHealth


@dataclass
class Changes:
    """What happened: `keys` of files that were touched, prefixes whose content was not seen arriving."""

    keys: list[str] = field(default_factory=list)
    rescan: list[str] = field(default_factory=list)
    overflowed: bool = False
    """Events were thrown away: this notifier knows nothing for sure any more and has to be made anew."""


class Notifier(Protocol):
    """Tells of changes below one root, from when it is made until it is closed; names that start with a dot aside.

    Blocking; for one thread at a time. Making and using one raises StorageUnavailable when the root is not
    there, AccessDenied when it is closed to us, OSError when this machine grants no (further) notices.
    """

    def fileno(self) -> int:
        """A descriptor that is readable when `read` has something to return."""
        ...

    def revisit(self) -> None:
        """Have `grow` go through the whole tree again: folders may have become readable, or a budget other."""
        ...

    def grow(self) -> bool:
        """Take in some of the folders that wait for it; True when none waits any more."""
        ...

    def shortfall(self) -> SourceHealth | None:
        """Why some folders are not told of, although they could be; None when all are."""
        ...

    def read(self) -> Changes:
        """What has happened since the last read; a root that was replaced counts as gone."""
        ...

    def close(self) -> None:
        """Tell no more; nothing of it runs on."""
        ...
