"""Results of small pictures that were measured while they were probed, kept until their run asks for them.

A probe decodes a picture completely, so measuring it costs little more, and the run needs no process of its own. What
is kept is a convenience: without it, after a restart for instance, the run measures the picture as any other.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vvwatch.core.pictures import PictureContents, PicturePack
from vvwatch.ports import Clock
from vvwatch.ports.processing import PictureDraft
from vvwatch.processors.media.asking import Answer

_MOST_FILE_BYTES: Final = 4 << 20
_MOST_BYTES: Final = 32 << 20
_MOST_PACK_BYTES: Final = 256 << 10
_BYTES_OF_ANSWER: Final = 8_192
_MOST_SECONDS: Final = 1_800.0
_WASTED: Final = 32
"""So many results that nobody asked for in a row end the measuring at the probe, until a run could have used one."""

Identity = tuple[int, ...]
"""What tells a file and its content from others, as long as it is there."""


@dataclass(frozen=True, slots=True)
class Early:
    """The answer of the confined process to a probe, and the pack of pictures that it wrote."""

    answer: Answer
    pack: bytes
    until: float

    def fill(self, draft: PictureDraft) -> bool:
        """Write the pack into a draft; return False, with the draft empty, if the disk does not take it all. Blocks."""
        whole = False
        with suppress(OSError):
            whole = os.pwrite(draft.fd, self.pack, 0) == len(self.pack)
        if not whole:
            os.ftruncate(draft.fd, 0)
        return whole


@dataclass(slots=True)
class _MemoryDraft:
    """Implements `PictureDraft` by a file in memory, which is copied into a real one at the run."""

    fd: int
    width: int
    most_bytes: int

    async def keep(self, contents: PictureContents) -> PicturePack | None:  # noqa: ARG002  # the port's name
        """Return None: nothing here lasts."""
        return None


class EarlyResults:
    """Keeps results for half an hour and up to 32 MiB in all; those that do not fit are measured again.

    `work_dir` holds files that are not there any more at the run. `pictures` are the largest width and the most bytes
    of the packs that runs will ask for; None if they ask for none.
    """

    def __init__(self, clock: Clock, work_dir: Path, pictures: tuple[int, int] | None) -> None:
        self._pictures = pictures
        self._clock = clock
        self._work_dir = work_dir
        self._kept: OrderedDict[Identity, Early] = OrderedDict()
        self._bytes = 0
        self._wasted = 0

    @property
    def are_wanted(self) -> bool:
        """Return whether a probe should measure a small picture."""
        self._drop_old()
        return hasattr(os, "memfd_create") and self._wasted < _WASTED and self._bytes < _MOST_BYTES

    def identify(self, fd: int) -> Identity | None:
        """Return the identity of a small file that will be there at the run; None for any other. Blocks."""
        status = os.fstat(fd)
        lasts = stat.S_ISREG(status.st_mode) and status.st_nlink and status.st_size <= _MOST_FILE_BYTES
        if not lasts or not self._is_elsewhere(fd):
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    @contextmanager
    def draft(self) -> Iterator[PictureDraft | None]:
        """Yield a file in memory for the pictures of one file; None if there are to be none."""
        if self._pictures is None:
            yield None
            return
        fd = os.memfd_create("pictures")
        try:
            yield _MemoryDraft(fd, *self._pictures)
        finally:
            os.close(fd)

    def suits(self, draft: PictureDraft | None) -> bool:
        """Return whether results have the pictures that a run wants; one that wants none can do with any."""
        return draft is None or (draft.width, draft.most_bytes) == self._pictures

    def put(self, identity: Identity, answer: Answer, draft: PictureDraft | None) -> None:
        """Keep a result for its run, unless its pictures are too large."""
        pack = b"" if draft is None else os.pread(draft.fd, _MOST_PACK_BYTES + 1, 0)
        self._forget(identity)
        if len(pack) > _MOST_PACK_BYTES:
            return
        self._kept[identity] = Early(answer, pack, self._clock.monotonic() + _MOST_SECONDS)
        self._bytes += len(pack) + _BYTES_OF_ANSWER

    def take(self, identity: Identity) -> Early | None:
        """Return the result for this file and forget it; None if there is none. Either way a run asks for some."""
        self._drop_old()
        self._wasted = 0
        return self._forget(identity)

    def _forget(self, identity: Identity) -> Early | None:
        early = self._kept.pop(identity, None)
        if early is not None:
            self._bytes -= len(early.pack) + _BYTES_OF_ANSWER
        return early

    def _drop_old(self) -> None:
        now = self._clock.monotonic()
        while self._kept:
            identity, oldest = next(iter(self._kept.items()))
            if now < oldest.until:
                return
            self._forget(identity)
            self._wasted += 1

    def _is_elsewhere(self, fd: int) -> bool:
        try:
            return not Path(f"/proc/self/fd/{fd}").readlink().is_relative_to(self._work_dir.absolute())
        except OSError:
            return False
