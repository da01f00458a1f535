"""How much of a disk vvwatch leaves free for others, its own database included."""

from __future__ import annotations

from typing import Final

_KEPT_FREE_BYTES: Final = 256 << 20
_KEPT_FREE_SHARE: Final = 1 / 8
COMFORTABLE_SPOOL_BYTES: Final = 8 << 30
"""A smaller spool rejects many camera files: worth a warning."""


def kept_free_bytes(whole_bytes: int) -> int:
    """Return the bytes to leave free on a disk of `whole_bytes`: an eighth, at most 256 MiB."""
    return min(_KEPT_FREE_BYTES, int(whole_bytes * _KEPT_FREE_SHARE))


def spool_room_bytes(whole_bytes: int, max_bytes: int) -> int:
    """Return the largest object that fits a spool of `max_bytes` on a disk of `whole_bytes`."""
    return min(max_bytes, whole_bytes - kept_free_bytes(whole_bytes))
