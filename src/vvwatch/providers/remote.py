"""Shared base of the object stores: downloads into the spool, verified writes, and connector tests."""

from __future__ import annotations

import hashlib
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from anyio import to_thread

from vvwatch.core.locations import check_key
from vvwatch.core.objects import StorageObject
from vvwatch.core.store_notes import StoreNotes
from vvwatch.errors import (
    InvalidInput,
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutsideLocation,
    StorageError,
    StorageUnavailable,
)
from vvwatch.ports import Capabilities, Excerpt, ObjectFacts, Page, WriteResult
from vvwatch.providers.digests import StatedDigests, new_digest
from vvwatch.providers.listing import ListedPage, split_page
from vvwatch.providers.parts import digest_file
from vvwatch.providers.sharding import list_sharded
from vvwatch.providers.spool import Spool, SpoolFile
from vvwatch.providers.unanswered import NoResponse, ResponseTooSlow, enter_in_time, read_in_time

_EXCERPT_BYTES: Final = 4 << 20
"""The size of the start, and of the end, that shows what an object is."""

_POURED_BYTES: Final = 1 << 20
_INTERRUPTIONS: Final = 5
_PROGRESS_BYTES: Final = 64 << 20
"""After this progress an interruption counts as the first one again."""

_CHECK_CONTENT: Final = b"vvwatch tests whether it can write here, and removes this again.\n"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A body in transfer: `size_bytes` of the whole object, `chunks` of the requested part.

    `md5` is the digest of the whole object if the store states one; it may be wrong.
    """

    size_bytes: int
    chunks: AsyncIterator[bytes]
    md5: bytes | None = None


class RemoteStorage(ABC):
    """`ports.Storage` for an object store, on top of the operations of each service."""

    capabilities = Capabilities(atomic_writes=True)
    any_prefix = True
    """Whether a listing may begin within a name. If not, no listing is split."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.notes = StoreNotes()
        self._digests = StatedDigests(self.notes)
        self._heard: str | None = None
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
    async def facts(self, key: str, version: str) -> ObjectFacts:
        """As `Storage.facts`."""

    async def stat_each(self, keys: Sequence[str]) -> Sequence[StorageObject | StorageError]:
        """As `Storage.stat_each`, one request each."""
        return [await self._stat_or_error(key) for key in keys]

    async def _stat_or_error(self, key: str) -> StorageObject | StorageError:
        try:
            return await self.stat(key)
        except StorageUnavailable:
            raise
        except StorageError as error:
            return error

    @abstractmethod
    def opened(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AbstractAsyncContextManager[Incoming]:
        """Stream that version's bytes from `start` on, at most `length`.

        Raises ObjectChanged, ObjectNotFound, ObjectArchived, AccessDenied; StorageUnavailable also from the iterator,
        when the body breaks off.
        """

    @abstractmethod
    async def create(
        self, key: str, source: Path, size_bytes: int, sha256: str, content_type: str, over: str = ""
    ) -> None:
        """Create the object from the file `source`, whole or not at all; large ones in parts.

        The sha256 (hex) is stored as metadata. Raises ObjectExists if the key is taken. With `over`, replace that
        version; raises ObjectChanged or ObjectNotFound if it is not there, unless the server ignores conditions.
        """

    @abstractmethod
    async def remove(self, key: str, version: str) -> None:
        """Delete that version. Raises ObjectChanged, ObjectNotFound."""

    @abstractmethod
    async def aclose(self) -> None:
        """As `Storage.aclose`."""

    async def restored(self, keys: Sequence[str]) -> Collection[str]:  # noqa: ARG002
        """As `Storage.restored`; empty if the listing already shows restored objects."""
        return ()

    async def in_use(self, keys: Sequence[str]) -> Collection[str]:  # noqa: ARG002  # nobody writes to an object
        """As `Storage.in_use`."""
        return ()

    def note_server_date(self, date: str | None) -> None:
        """Record the service's clock from the Date header of a fresh response; ignore an invalid one."""
        if date == self._heard:
            return
        self._heard = date
        with suppress(ValueError, OverflowError):
            there = parsedate_to_datetime(date or "").replace(tzinfo=UTC)  # HTTP knows no other zone
            self.clock_ahead_seconds = there.timestamp() - time.time()

    async def list(
        self,
        prefix: str,
        *,
        recursive: bool,
        after: str = "",
        skips: Callable[[str], bool] | None = None,  # noqa: ARG002  # a listing of keys passes over nothing
    ) -> AsyncIterator[Page]:
        """As `Storage.list`; a large prefix is listed in parallel."""
        serial = after or not recursive or not self.any_prefix
        pages = self.pages(prefix, level=not recursive, after=after) if serial else list_sharded(self, prefix)
        async with aclosing(pages):
            async for listed in pages:
                for page in split_page(listed):
                    yield page

    @asynccontextmanager
    async def descriptor(self, key: str, version: str) -> AsyncIterator[int]:
        """As `Storage.descriptor`: one download, with its length and digest compared with the store's."""
        async with AsyncExitStack() as held:
            async with self._begin(key, version) as incoming:
                size = incoming.size_bytes
                file = await held.enter_async_context(self._spool.file(size, (0, size)))
                digest = new_digest()
                received = await self._write_chunks(incoming, file, (0, size), digest)
            md5, interruptions = incoming.md5, _INTERRUPTIONS
            while received < size and interruptions:
                async with self._begin(key, version, received) as incoming:
                    more = await self._write_chunks(incoming, file, (received, size - received), digest)
                received += more
                interruptions = interruptions - 1 if more < _PROGRESS_BYTES else _INTERRUPTIONS
            _require_whole(key, received, size)
            self._digests.judge(key, version, md5, digest.digest())
            yield file.descriptor

    @asynccontextmanager
    async def _begin(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[Incoming]:
        """As `opened`, with a time limit on every wait."""
        async with AsyncExitStack() as body:
            answer = await enter_in_time(body, self.opened(key, version, start, length), key)
            async with aclosing(read_in_time(answer.chunks, key)) as chunks:
                yield replace(answer, chunks=chunks)

    @asynccontextmanager
    async def excerpt(self, key: str, version: str) -> AsyncIterator[Excerpt]:
        """As `Storage.excerpt`: with at most two requests."""
        async with AsyncExitStack() as held:
            async with self._begin(key, version, 0, _EXCERPT_BYTES) as head:
                size = head.size_bytes
                tail = max(_EXCERPT_BYTES, size - _EXCERPT_BYTES)
                first = (0, min(size, _EXCERPT_BYTES))
                last = (tail, max(0, size - tail))
                whole = tail == _EXCERPT_BYTES
                file = await held.enter_async_context(self._spool.file(size, first, last))
                digest = new_digest()
                _require_whole(key, await self._write_chunks(head, file, first, digest), first[1])
            if size > tail:
                async with self._begin(key, version, tail) as end:
                    _require_whole(key, await self._write_chunks(end, file, last, digest), last[1])
            if whole:
                self._digests.judge(key, version, head.md5, digest.digest())
            yield Excerpt(file.descriptor, whole=whole)

    @asynccontextmanager
    async def stream(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """As `Storage.stream`: one download that resumes after interruptions."""
        async with AsyncExitStack() as body:
            incoming = await body.enter_async_context(self._begin(key, version, start, length))
            end = incoming.size_bytes if length is None else min(incoming.size_bytes, start + length)
            yield self._stream_rest(key, version, (start, end), incoming, body)

    async def _stream_rest(
        self, key: str, version: str, stretch: tuple[int, int], incoming: Incoming, body: AsyncExitStack
    ) -> AsyncIterator[bytes]:
        """Yield the bytes of the stretch (start, end); `incoming` is its first body, `body` holds the current one."""
        at, end = stretch
        interruptions = _INTERRUPTIONS
        while True:
            begun = at
            try:
                async for chunk in incoming.chunks:
                    at += len(chunk)
                    _require_room(at, end)
                    yield chunk
            except StorageUnavailable as broken:  # the bytes received so far show that it broke off
                if isinstance(broken, ResponseTooSlow) or (isinstance(broken, NoResponse) and at == begun):
                    raise
            if at < end:
                interruptions = interruptions - 1 if at - begun < _PROGRESS_BYTES else _INTERRUPTIONS
            if at >= end or not interruptions:
                break
            await body.aclose()
            incoming = await body.enter_async_context(self._begin(key, version, at, end - at))
        _require_whole(key, at, end)

    async def write(self, key: str, source: Path, *, content_type: str) -> WriteResult:
        """As `Storage.write`; reads the stored object back, whichever writer created it."""
        _require_possible(key)
        size_bytes, sha256 = await to_thread.run_sync(digest_file, source)
        with suppress(ObjectExists):  # perhaps by an attempt of ours whose answer was lost
            await self.create(key, source, size_bytes, sha256, content_type)
        return await self._verify_written(key, size_bytes, sha256)

    async def replace(self, key: str, source: Path, version: str, *, content_type: str) -> WriteResult:
        """As `Storage.replace`; reads the stored object back, whichever writer replaced it."""
        size_bytes, sha256 = await to_thread.run_sync(digest_file, source)
        with suppress(ObjectChanged):  # perhaps by an attempt of ours whose answer was lost
            await self._stat_version(key, version)  # some compatible servers ignore the condition
            await self.create(key, source, size_bytes, sha256, content_type, version)
        try:
            return await self._verify_written(key, size_bytes, sha256)
        except ObjectExists as error:
            raise ObjectChanged(error.message, "it is left alone") from None

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

    async def _stat_version(self, key: str, version: str) -> StorageObject:
        there = await self.stat(key)
        self._require_version(key, version, there.version)
        return there

    def _require_version(self, key: str, version: str, found: str) -> None:
        if found != version:
            raise ObjectChanged(
                f"{self.uri(key)!r} is not the requested version",
                "the new version is picked up automatically",
            )

    async def _require_none(self, key: str) -> None:
        """Fail before the upload if the key is taken; some compatible servers ignore the condition."""
        try:
            await self.stat(key)
        except ObjectNotFound:
            return
        raise ObjectExists(
            f"an object already exists at {self.uri(key)!r}", "choose another name or remove it"
        )

    async def _check_reading(self) -> None:
        async with aclosing(self.pages("")) as pages:
            first = await anext(pages, None)
        for obj in first.objects if first else ():
            if obj.size_bytes and not obj.archived:
                try:
                    async with self._begin(obj.key, obj.version, 0, 1):
                        return
                except (ObjectArchived, ObjectChanged, ObjectNotFound):
                    continue

    async def _check_writing(self, below: str) -> None:
        folder = below.strip("/")
        key = f"{folder}/" * bool(folder) + f".vvwatch-check-{secrets.token_hex(8)}"
        async with self._spool.file(len(_CHECK_CONTENT), (0, len(_CHECK_CONTENT))) as file:
            await self._spool.write(file, _CHECK_CONTENT, 0)
            written = await self.write(key, Path(f"/dev/fd/{file.descriptor}"), content_type="text/plain")
        await self.delete(key, written.version)

    async def _write_chunks(
        self, incoming: Incoming, file: SpoolFile, stretch: tuple[int, int], digest: hashlib._Hash
    ) -> int:
        """Write and digest the chunks until they end or break off; return the number of bytes.

        More bytes than the stretch (start, length) allows are an error: the spool is bounded.
        """
        start, length = stretch
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
                _require_room(received + len(buffer), length)
                if len(buffer) >= _POURED_BYTES:
                    await flush()
        except StorageUnavailable as broken:  # the bytes received so far show that it broke off
            if isinstance(broken, ResponseTooSlow) or (
                isinstance(broken, NoResponse) and not received + len(buffer)
            ):
                raise
        await flush()
        return received

    async def _verify_written(self, key: str, size_bytes: int, sha256: str) -> WriteResult:
        try:
            there = await self.stat(key)
            equal = there.size_bytes == size_bytes and await self._sha256(there) == sha256
        except (ObjectChanged, ObjectNotFound):
            raise StorageUnavailable(
                f"{key!r} was changed while it was looked at", "it is looked at again automatically"
            ) from None
        if equal:
            return WriteResult(self.uri(key), size_bytes, sha256, there.version)
        raise ObjectExists(f"other content exists at {key!r}", "choose another name or remove that object")

    async def _sha256(self, obj: StorageObject) -> str:
        digest, received = hashlib.sha256(), 0
        if obj.size_bytes:
            async with self._begin(obj.key, obj.version) as incoming:
                async for chunk in incoming.chunks:
                    digest.update(chunk)
                    received += len(chunk)
        _require_whole(obj.key, received, obj.size_bytes)
        return digest.hexdigest()


def _require_possible(key: str) -> None:
    try:
        check_key(key)
    except InvalidInput as error:
        raise OutsideLocation(error.message, error.hint) from None


def _require_room(received: int, length: int) -> None:
    if received > length:
        raise StorageError(
            f"the store sends more than the {length:,} bytes that the object has",
            "if the object is kept compressed, store it as it is",
        )


def _require_whole(key: str, received: int, length: int) -> None:
    if received != length:
        raise StorageUnavailable(
            f"{key!r} broke off after {received:,} of {length:,} bytes", "it is read again automatically"
        )
