"""Folders that a NAS or a desktop keeps for itself: recycle bins, thumbnails, snapshots. What lies there is no media.

Names are compared exactly, but for those that systems without regard for case make. Plain words are left out, in
whichever language: somebody may have named a folder of media so.
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
    """Whether a folder of this name is one that a system keeps for itself."""
    return name in _EXACT or name.lower() in _ANY_CASE or _TRASH.fullmatch(name) is not None


def is_housekeeping_file(name: str) -> bool:
    """Whether a file of this name is one that a desktop leaves in every folder."""
    return name.lower() in _FILES
