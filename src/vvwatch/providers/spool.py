"""The spool: bounded disk space for media between a store and a processor."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from anyio import to_thread

from vvwatch import private_files
from vvwatch.core.filesystems import kept_free_bytes, spool_room_bytes
from vvwatch.errors import ObjectTooLarge, SpoolFull

_DENIED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CANNOT_RESERVE: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV)
_T = TypeVar("_T")


class SpoolFile:
    """An unnamed file that vanishes with the process; `descriptor` reads it, `write` fills any part."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        path = folder / f"{secrets.token_hex(8)}.part"
        self._writer = private_files.create_private(path)
        try:
            os.truncate(self._writer, size_bytes)
            self.descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except BaseException:
            os.close(self._writer)
            raise
        finally:
            path.unlink()

    @property
    def writer(self) -> int:
        """The descriptor that writes it, for another process."""
        return self._writer

    def reserve(self, start: int, length: int) -> None:
        """Allocate the disk space now. Raises OSError if there is none."""
        try:
            if length:
                os.posix_fallocate(self._writer, start, length)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise

    def write(self, data: bytes, start: int) -> None:
        """Write all of `data` at `start`; blocks."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._writer, view, start)
            view, start = view[written:], start + written

    def close(self) -> None:
        """Release the space."""
        os.close(self._writer)
        os.close(self.descriptor)


class Spool:
    """The spool in `folder`, with at most `max_bytes` in use."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._taken_bytes = 0

    @property
    def taken_bytes(self) -> int:
        """The room in use."""
        return self._taken_bytes

    @asynccontextmanager
    async def file(self, size_bytes: int, *filled: tuple[int, int]) -> AsyncIterator[SpoolFile]:
        """Yield a file for an object of `size_bytes`, whose stretches `filled` (start, length) are written.

        Raises ObjectTooLarge if the object can never fit, SpoolFull if it does not fit now.
        """
        await self._require_fit(size_bytes)
        wanted = sum(length for _, length in filled)
        self._require_room(wanted)
        self._taken_bytes += wanted
        try:
            file = await self._run_in_thread(self._open_file, size_bytes, filled)
            try:
                yield file
            finally:
                file.close()
        finally:
            self._taken_bytes -= wanted

    async def _require_fit(self, size_bytes: int) -> None:
        disk = await self._run_in_thread(os.statvfs, self._folder)
        most = spool_room_bytes(disk.f_blocks * disk.f_frsize, self._max_bytes)
        if size_bytes > most:
            raise ObjectTooLarge(
                f"the object has {size_bytes:,} bytes, and the spool takes {most:,} at most",
                self._cure(most),
            )

    def _cure(self, most: int) -> str:
        """Return how to make room for a larger object, by the limit that applies."""
        if most < self._max_bytes:
            return f"give {self._folder} a larger disk; then retry"
        return "raise spool_bytes under [processing]; then retry"

    def _require_room(self, wanted: int) -> None:
        if self._taken_bytes + wanted > self._max_bytes:
            raise SpoolFull(
                f"the spool is full: {self._taken_bytes:,} of {self._max_bytes:,} bytes are taken",
                "it is tried again; raise spool_bytes under [processing] when that takes too long",
            )

    def _open_file(self, size_bytes: int, filled: tuple[tuple[int, int], ...]) -> SpoolFile:
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        wanted = sum(length for _, length in filled)
        if free - wanted < kept_free_bytes(disk.f_blocks * disk.f_frsize):
            raise _room_missing(f"{free:,} bytes are free and {wanted:,} are wanted")
        file = SpoolFile(self._folder, size_bytes)
        try:
            for start, length in filled:
                file.reserve(start, length)
        except BaseException:
            file.close()
            raise
        return file

    async def write(self, file: SpoolFile, data: bytes, start: int) -> None:
        """Write `data` into `file`. Raises SpoolFull."""
        await self._run_in_thread(file.write, data, start)

    async def _run_in_thread(self, fn: Callable[..., _T], *args: object) -> _T:
        try:
            return await to_thread.run_sync(fn, *args)
        except OSError as error:
            if error.errno in _FULL:
                raise _room_missing(str(error.strerror)) from error
            if error.errno in _DENIED:
                raise SpoolFull(
                    f"the spool may not be written: {error.strerror}: {self._folder}",
                    f"make the daemon's user (id {os.geteuid()}) its owner; it is tried again automatically",
                ) from error
            raise


def _room_missing(why: str) -> SpoolFull:
    return SpoolFull(
        f"no room on the disk of the spool: {why}",
        "free space below state_dir; it is tried again automatically",
    )
