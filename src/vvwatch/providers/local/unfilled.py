"""Detect files with their full size but not their content, as during a preallocated copy or download."""

from __future__ import annotations

import errno
import os
from typing import Final

WAIT_SECONDS: Final = 3_600.0
"""How long after its last change a file may be unfilled. Then it is used as it is."""

_MOST_STRETCHES: Final = 10_000


def is_unfilled(descriptor: int, now: float) -> bool:
    """Return whether the file behind `descriptor` is mostly holes and recently changed; `now` is in epoch seconds.

    Allocated, unwritten space counts as a hole, compressed content does not. False where the file system cannot say.
    Moves the position of `descriptor`.
    """
    status = os.fstat(descriptor)
    if abs(now - max(status.st_mtime, status.st_ctime)) > WAIT_SECONDS:
        return False
    return _is_mostly_hole(descriptor, status.st_size)


def _is_mostly_hole(descriptor: int, size: int) -> bool:
    filled = end = 0
    for _ in range(_MOST_STRETCHES):
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            # There is no content behind `end`; any other number is of a file system that does not say.
            return error.errno == errno.ENXIO and 2 * filled < size
        filled += end - start
        if 2 * filled >= size:
            return False
    return False
