"""A service in memory below the shared part of the object stores; its answers break where a test wants them to."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from vvwatch.core.objects import StorageObject
from vvwatch.errors import ObjectChanged, ObjectExists, ObjectNotFound, StorageUnavailable
from vvwatch.ports import ObjectFacts
from vvwatch.providers.listing import ListedPage
from vvwatch.providers.remote import Incoming, RemoteStorage
from vvwatch.providers.spool import Spool


class MemoryStorage(RemoteStorage):
    """`breaks` says of one body after the other after how many bytes it breaks off; None: not at all.

    `delays` are waited for before the next answers.

    `states` has digests that are stated of keys in place of the right one. `body` makes the chunks of a body of its
    bytes, `on_request` hears of each request before it is done.
    """

    def __init__(self, spool: Spool) -> None:
        super().__init__(spool)
        self.objects: dict[str, tuple[StorageObject, bytes]] = {}
        self.requests: list[str] = []
        self.breaks: list[int | None] = []
        self.delays: list[Callable[[], Awaitable[object]]] = []
        self.chunk_bytes = 7
        self.open_bodies = 0
        self.vouches = True
        self.states: dict[str, bytes] = {}
        self.on_request: Callable[[str], object] = str
        self.body: Callable[[bytes], AsyncIterator[bytes]] = self._chunks
        self._versions = itertools.count(1)

    def put(self, key: str, data: bytes, *, archived: bool = False) -> StorageObject:
        obj = StorageObject(key, str(next(self._versions)), len(data), 1.0, 1.0, archived)
        self.objects[key] = (obj, data)
        return obj

    def uri(self, key: str) -> str:
        return f"memory://{key}"

    async def pages(self, prefix: str, *, level: bool = False, after: str = "") -> AsyncGenerator[ListedPage]:
        self._asked(f"list {prefix!r} level={level} after={after!r}")
        yield ListedPage([obj for obj, _ in self.objects.values() if obj.key.startswith(prefix)])

    async def stat(self, key: str) -> StorageObject:
        self._asked(f"stat {key}")
        return self._at(key)[0]

    async def facts(self, key: str, version: str) -> ObjectFacts:
        return ObjectFacts()

    @asynccontextmanager
    async def opened(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[Incoming]:
        end = None if length is None else start + length
        self._asked(f"open {key} {start}-{'' if end is None else end}")
        if self.delays:
            await self.delays.pop(0)()
        obj, data = self._at(key)
        if obj.version != version:
            raise ObjectChanged(f"{key!r} is another version")
        md5 = self.states.get(key, hashlib.md5(data).digest()) if self.vouches else None
        self.open_bodies += 1
        try:
            yield Incoming(obj.size_bytes, self.body(data[start:end]), md5)
        finally:
            self.open_bodies -= 1

    async def create(
        self, key: str, source: Path, size_bytes: int, sha256: str, content_type: str, over: str = ""
    ) -> None:
        self._asked(f"create {key} {size_bytes} {sha256} {content_type}")
        if over and self._at(key)[0].version != over:
            raise ObjectChanged(f"{key!r} is another version")
        if key in self.objects and not over:
            raise ObjectExists(f"an object already exists at {key!r}")
        self.put(key, await anyio.Path(source).read_bytes())

    async def remove(self, key: str, version: str) -> None:
        self._asked(f"remove {key}")
        if self._at(key)[0].version != version:
            raise ObjectChanged(f"{key!r} is another version")
        del self.objects[key]

    async def aclose(self) -> None:
        """There is nothing to close."""

    async def _chunks(self, data: bytes) -> AsyncIterator[bytes]:
        limit = self.breaks.pop(0) if self.breaks else None
        whole = data[:limit]
        for start in range(0, len(whole), self.chunk_bytes):
            yield whole[start : start + self.chunk_bytes]
        if limit is not None:
            raise StorageUnavailable("the body broke off")

    def _asked(self, request: str) -> None:
        self.requests.append(request)
        self.on_request(request)

    def _at(self, key: str) -> tuple[StorageObject, bytes]:
        try:
            return self.objects[key]
        except KeyError:
            raise ObjectNotFound(f"no object {key!r}") from None
