"""Whether a file has its size and not its content yet, as of a copy or a download that reserves all its room first."""

from __future__ import annotations

import errno
import os
from typing import Final

WAIT_SECONDS: Final = 3_600.0
"""How long after its last change a file may be unfilled. Then it is taken as it is: its writer has given up."""

_MOST_STRETCHES: Final = 10_000


def is_unfilled(descriptor: int, now: float) -> bool:
    """Whether most of the file behind `descriptor` is holes, and it was changed lately. `now` is in epoch seconds.

    Room that was reserved and never written counts as a hole, content that a file system has compressed does not. False
    where the file system does not tell. Moves the position of `descriptor`.
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
            # There is no content behind `end`; any other number is of a file system that does not tell.
            return error.errno == errno.ENXIO and 2 * filled < size
        filled += end - start
        if 2 * filled >= size:
            return False
    return False
