"""Folders that a NAS or a desktop keeps for itself: recycle bins, thumbnails, snapshots. They hold no media.

Names are compared exactly, except those of systems that ignore case. Plain words in any language are left out,
because they may name a folder of media.
"""

from __future__ import annotations

import re
from typing import Final

_EXACT: Final = frozenset(
    (
        "@eaDir",  # Synology, UGREEN: thumbnails and attributes
        "@tmp",
        "@sharebin",
        "#snapshot",
        "@Recently-Snapshot",  # QNAP
        ".@__thumb",
        "@__thumb",
        "~snapshot",  # NetApp
        ".snapshot",
        ".snapshots",
        ".zfs",
        "lost+found",
        "RECYCLER",  # Windows XP
        ".AppleDouble",  # netatalk, macOS
        "Network Trash Folder",
        ".TemporaryItems",
        ".Trashes",
        ".Trash",
        ".Spotlight-V100",
        ".DocumentRevisions-V100",
        ".fseventsd",
        ".stfolder",  # Syncthing
        ".stversions",
        ".recycle",  # Samba
    )
)
_ANY_CASE: Final = frozenset(("#recycle", "@recycle", "$recycle.bin", "system volume information"))
_TRASH: Final = re.compile(r"\.Trash-[0-9]+")  # freedesktop.org: one for each user id


_FILES: Final = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini"))


def is_housekeeping(name: str) -> bool:
    """Return whether a folder of this name belongs to the system."""
    return name in _EXACT or name.lower() in _ANY_CASE or _TRASH.fullmatch(name) is not None


def is_housekeeping_file(name: str) -> bool:
    """Return whether a file of this name is a desktop's own."""
    return name.lower() in _FILES
