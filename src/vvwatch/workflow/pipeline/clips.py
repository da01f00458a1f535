"""Clips of media for download: cut when somebody asks, kept in the spool only while they are sent."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio
import anyio.to_thread

from vvwatch.core.objects import extension
from vvwatch.ports import Storage
from vvwatch.processors.media.clips import Clip, Clipper
from vvwatch.providers.spool import Spool
from vvwatch.store.models.imports import Media

_AT_ONCE: Final = 2
_LEAST_BYTES: Final = 16 << 20
_CHUNK_BYTES: Final = 256 << 10


@dataclass(frozen=True, slots=True)
class OpenClip:
    """A clip in a file without a name, as long as it is open."""

    clip: Clip
    descriptor: int
    size_bytes: int

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield its bytes."""
        offset = 0
        while chunk := await anyio.to_thread.run_sync(os.pread, self.descriptor, _CHUNK_BYTES, offset):
            yield chunk
            offset += len(chunk)


class Clips:
    """Cuts at most two clips at once, within the room of `spool`."""

    def __init__(self, clipper: Clipper, spool: Spool) -> None:
        self._clipper = clipper
        self._spool = spool
        self._turns = anyio.Semaphore(_AT_ONCE)

    @asynccontextmanager
    async def open(self, storage: Storage, row: Media, span: tuple[float, float]) -> AsyncIterator[OpenClip]:
        """Cut the stretch `span` out of the media item, and keep the clip for the life of the block.

        Raises MediaError if it cannot be cut, StorageError, and SpoolFull.
        """
        most_bytes = estimate_room(row.size_bytes, row.duration_seconds, span)
        async with self._spool.file(0, (0, most_bytes)) as file:
            await anyio.to_thread.run_sync(os.ftruncate, file.writer, 0)
            async with self._turns, storage.descriptor(row.key, row.version) as media:
                clip = await self._clipper.cut(media, span, extension(row.key), file.writer, most_bytes)
            yield OpenClip(clip, file.descriptor, os.fstat(file.descriptor).st_size)


def estimate_room(size_bytes: int, duration_seconds: float | None, span: tuple[float, float]) -> int:
    """Return the most bytes that a clip may have: thrice its share of the file, and never much more than that."""
    whole = size_bytes + _LEAST_BYTES
    if not duration_seconds:
        return whole
    share = min(1.0, (span[1] - span[0]) / duration_seconds)
    return min(whole, int(size_bytes * share * 3) + _LEAST_BYTES)
