"""How much of a disk vvwatch leaves free for others: its own database may lie there as well."""

from __future__ import annotations

from typing import Final

_KEPT_FREE_BYTES: Final = 256 << 20
_KEPT_FREE_SHARE: Final = 1 / 8
COMFORTABLE_SPOOL_BYTES: Final = 8 << 30
"""A spool that takes less than this refuses many a camera's file: worth a warning."""


def kept_free_bytes(whole_bytes: int) -> int:
    """What stays free on a disk of `whole_bytes`: an eighth of it, and never more than 256 MiB."""
    return min(_KEPT_FREE_BYTES, int(whole_bytes * _KEPT_FREE_SHARE))


def spool_room_bytes(whole_bytes: int, max_bytes: int) -> int:
    """The largest object that a spool of `max_bytes` can ever take on a disk of `whole_bytes`."""
    return min(max_bytes, whole_bytes - kept_free_bytes(whole_bytes))
