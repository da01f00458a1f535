"""What the object stores share: reading into the spool, writes that are looked at, and the test of a connector."""

from __future__ import annotations

import hashlib
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from anyio import open_file, to_thread

from vvwatch.core.locations import check_key
from vvwatch.core.objects import StorageObject
from vvwatch.errors import ObjectChanged, ObjectExists, ObjectNotFound, StorageUnavailable
from vvwatch.ports import Capabilities, Excerpt, Page, Written
from vvwatch.storage.listing import ListedPage, cut
from vvwatch.storage.sharding import sharded
from vvwatch.storage.spool import Spool, SpoolFile

_EXCERPT_BYTES: Final = 4 << 20
"""How much of the start, and of the end, tells what an object is."""

_POURED_BYTES: Final = 1 << 20
_INTERRUPTIONS: Final = 5
_CHECK_CONTENT: Final = b"vvwatch tests whether it can write here, and removes this again.\n"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A body under way: `size_bytes` of the whole object, `chunks` of what was asked for.

    `md5` is the digest of the whole object's bytes, where the store vouches for one.
    """

    size_bytes: int
    chunks: AsyncIterator[bytes]
    md5: bytes | None = None


class RemoteStorage(ABC):
    """`ports.Storage` for a service with whole objects, on top of what each service does in its own way."""

    capabilities = Capabilities(atomic_writes=True)

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.clock_ahead_seconds = 0.0

    @abstractmethod
    def uri(self, key: str) -> str:
        """As `Storage.uri`."""

    @abstractmethod
    def pages(self, prefix: str, *, level: bool = False, after: str = "") -> AsyncGenerator[ListedPage]:
        """As `Lister.pages`."""

    @abstractmethod
    async def stat(self, key: str) -> StorageObject:
        """As `Storage.stat`."""

    @abstractmethod
    def opened(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AbstractAsyncContextManager[Incoming]:
        """That version's bytes from `start` on, at most `length`, streamed; nothing behind its end.

        Raises ObjectChanged, ObjectNotFound, ObjectArchived, AccessDenied; StorageUnavailable also from the
        iterator, when the body breaks off.
        """

    @abstractmethod
    async def create(self, key: str, source: Path, size_bytes: int, sha256: str, content_type: str) -> None:
        """Make the object from the file `source`, whole or not at all; in parts when it is large.

        The sha256 (hex) is kept with the object as metadata. Raises ObjectExists when one stands there.
        """

    @abstractmethod
    async def remove(self, key: str, version: str) -> None:
        """Delete that version. Raises ObjectChanged, ObjectNotFound."""

    @abstractmethod
    async def aclose(self) -> None:
        """As `Storage.aclose`."""

    async def restored(self, keys: Sequence[str]) -> Collection[str]:  # noqa: ARG002
        """As `Storage.restored`; of a service whose listing tells it, none."""
        return ()

    async def in_use(self, keys: Sequence[str]) -> Collection[str]:  # noqa: ARG002  # nobody writes to an object
        """As `Storage.in_use`."""
        return ()

    def heard(self, date: str | None) -> None:
        """Note the service's clock: the Date header of an answer that just came."""
        if date:
            self.clock_ahead_seconds = parsedate_to_datetime(date).timestamp() - time.time()

    async def list(self, prefix: str, *, recursive: bool, after: str = "") -> AsyncIterator[Page]:
        """As `Storage.list`; a large prefix is listed in parallel."""
        serial = after or not recursive
        pages = self.pages(prefix, level=not recursive, after=after) if serial else sharded(self, prefix)
        async for listed in pages:
            for page in cut(listed):
                yield page

    @asynccontextmanager
    async def descriptor(self, key: str, version: str) -> AsyncIterator[int]:
        """As `Storage.descriptor`: one download, whose length and digest are held against the store's."""
        async with AsyncExitStack() as held:
            async with self.opened(key, version) as incoming:
                size = incoming.size_bytes
                file = await held.enter_async_context(self._spool.file(size, (0, size)))
                digest = hashlib.md5(usedforsecurity=False)
                received = await self._poured(incoming, file, 0, digest)
            md5 = incoming.md5
            for _ in range(_INTERRUPTIONS):
                if received == size:
                    break
                async with self.opened(key, version, received) as incoming:
                    received += await self._poured(incoming, file, received, digest)
            _require_whole(key, received, size, digest.digest(), md5)
            yield file.descriptor

    @asynccontextmanager
    async def excerpt(self, key: str, version: str) -> AsyncIterator[Excerpt]:
        """As `Storage.excerpt`: by at most two requests."""
        async with AsyncExitStack() as held:
            async with self.opened(key, version, 0, _EXCERPT_BYTES) as head:
                size = head.size_bytes
                tail = max(_EXCERPT_BYTES, size - _EXCERPT_BYTES)
                first = (0, min(size, _EXCERPT_BYTES))
                last = (tail, max(0, size - tail))
                file = await held.enter_async_context(self._spool.file(size, first, last))
                await self._filled(key, head, file, *first)
            if size > tail:
                async with self.opened(key, version, tail) as end:
                    await self._filled(key, end, file, *last)
            yield Excerpt(file.descriptor, whole=tail <= _EXCERPT_BYTES)

    async def write(self, key: str, source: Path, *, content_type: str) -> Written:
        """As `Storage.write`; what stands there afterwards is read back, whoever wrote it."""
        check_key(key)
        size_bytes, sha256 = await to_thread.run_sync(_digested, source)
        with suppress(ObjectExists):  # perhaps by an attempt of ours whose answer was lost
            await self.create(key, source, size_bytes, sha256, content_type)
        return await self._verified(key, size_bytes, sha256)

    async def delete(self, key: str, version: str) -> None:
        """As `Storage.delete`."""
        try:
            await self.remove(key, version)
        except ObjectNotFound:
            return

    async def check(self, *, read: bool, write_below: str | None) -> None:
        """As `Storage.check`; one object is read, if there is one."""
        if read:
            await self._check_reading()
        if write_below is not None:
            await self._check_writing(write_below)

    async def _check_reading(self) -> None:
        async with aclosing(self.pages("")) as pages:
            first = await anext(pages, None)
        for obj in first.objects if first else ():
            if obj.size_bytes and not obj.archived:
                try:
                    async with self.opened(obj.key, obj.version, 0, 1):
                        return
                except (ObjectChanged, ObjectNotFound):
                    continue

    async def _check_writing(self, below: str) -> None:
        folder = below.strip("/")
        key = f"{folder}/" * bool(folder) + f".vvwatch-check-{secrets.token_hex(8)}"
        async with self._spool.file(len(_CHECK_CONTENT), (0, len(_CHECK_CONTENT))) as file:
            await self._spool.write(file, _CHECK_CONTENT, 0)
            written = await self.write(key, Path(f"/dev/fd/{file.descriptor}"), content_type="text/plain")
        await self.delete(key, written.version)

    async def _poured(self, incoming: Incoming, file: SpoolFile, start: int, digest: hashlib._Hash) -> int:
        """Write and digest what comes, up to its end or to where it breaks off; returns how many bytes."""
        received, buffer = 0, bytearray()

        async def flush() -> None:
            nonlocal received
            data = bytes(buffer)
            await self._spool.write(file, data, start + received)
            await to_thread.run_sync(digest.update, data)
            received += len(data)
            buffer.clear()

        try:
            async for chunk in incoming.chunks:
                buffer += chunk
                if len(buffer) >= _POURED_BYTES:
                    await flush()
        except StorageUnavailable:
            if not received and not buffer:
                raise  # nothing comes at all
        await flush()
        return received

    async def _filled(self, key: str, incoming: Incoming, file: SpoolFile, start: int, length: int) -> None:
        received = await self._poured(incoming, file, start, hashlib.md5(usedforsecurity=False))
        _require_whole(key, received, length, b"", None)

    async def _verified(self, key: str, size_bytes: int, sha256: str) -> Written:
        there = await self.stat(key)
        if there.size_bytes == size_bytes and await self._sha256(there) == sha256:
            return Written(self.uri(key), size_bytes, sha256, there.version)
        raise ObjectExists(f"other content stands at {key!r}", "choose another name or remove that object")

    async def _sha256(self, obj: StorageObject) -> str:
        digest = hashlib.sha256()
        if obj.size_bytes:
            async with self.opened(obj.key, obj.version) as incoming:
                async for chunk in incoming.chunks:
                    digest.update(chunk)
        return digest.hexdigest()


async def read_parts(source: Path, part_bytes: int) -> AsyncIterator[bytes]:
    """The content of a file in parts of `part_bytes`, the last one shorter; none of an empty file."""
    async with await open_file(source, "rb") as file:
        while part := await file.read(part_bytes):
            yield part


def _digested(source: Path) -> tuple[int, str]:
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _require_whole(key: str, received: int, size: int, digest: bytes, md5: bytes | None) -> None:
    if received != size:
        raise StorageUnavailable(
            f"{key!r} broke off after {received:,} of {size:,} bytes", "it is read again by itself"
        )
    if md5 is not None and digest != md5:
        raise StorageUnavailable(
            f"{key!r} arrived with other bytes than the store vouches for", "it is read again"
        )
