"""An object store and its event queue, in memory, which remember all that ever stood there and fail on demand."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from vvwatch.core.changes import EventKind, ObjectEvent
from vvwatch.core.objects import StorageObject
from vvwatch.core.store_notes import StoreNotes
from vvwatch.errors import AccessDenied, ObjectChanged, ObjectNotFound, StorageError, StorageUnavailable
from vvwatch.ports import Capabilities, Excerpt, Finding, Message, ObjectFacts, Page, WriteResult

PAGE = 3
_FOREVER = 1_000_000_000
_CAPABILITIES = Capabilities(atomic_writes=True, start_after=True, versions_recur=True)


class Died(BaseException):
    """The process was killed here."""


@dataclass
class Fuse:
    """Burns at each await of the process; when it is short, the process dies there."""

    left: int = _FOREVER

    def burn(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.left = _FOREVER
            raise Died


@dataclass
class Life:
    """One stay of one version at one key, from step to step."""

    key: str
    version: str
    size_bytes: int
    born: int
    died: int | None = None


@dataclass
class Store:
    """The truth. Keys hold versions as S3 names them (same bytes, same version) or as Google does (`generations`).

    Of a store without ETags, or a mount, a version is size and time (`etagless`); its inodes move with each `mount`.
    `ills` are keys whose object is `denied`, `lost`, or of other bytes than its `digest` says: listed, and not given.
    """

    fuse: Fuse
    moment: Callable[[], float]
    generations: bool
    etagless: bool = False
    mount: int = 0
    ills: dict[str, str] = field(default_factory=dict)
    capabilities: Capabilities = _CAPABILITIES
    clock_ahead_seconds: float = 0.0
    notes: StoreNotes = field(default_factory=StoreNotes)
    step: int = 0
    lives: list[Life] = field(default_factory=list)
    shown: list[StorageObject] = field(default_factory=list)
    between: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    happened: int = 0
    failing: int = _FOREVER
    blind: int = 0
    stands: dict[str, StorageObject] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def put(self, key: str, body: str) -> StorageObject:
        number = next(self._numbers)
        version = f"{number}" if self.generations else f"{etag(body)}:{len(body)}"
        if self.etagless:
            version = f"{len(body)}@{self.moment()}"
        if self.ills.get(key) == "digest":  # it went with the bytes
            del self.ills[key]
        found = StorageObject(key, version, len(body), self.moment(), self.moment())
        standing = self.stands.get(key)
        if standing is None or standing.version != version:
            self._end(key)
            self.lives.append(Life(key, version, len(body), self.step))
        self.stands[key] = found
        return found

    def remove(self, key: str) -> bool:
        self.ills.pop(key, None)
        self._end(key)
        return self.stands.pop(key, None) is not None

    def _end(self, key: str) -> None:
        for life in self.lives:
            if life.key == key and life.died is None:
                life.died = self.step

    def uri(self, key: str) -> str:
        return f"fake://store/{key}"

    async def list(
        self, prefix: str, *, recursive: bool, after: str = "", skips: Callable[[str], bool] | None = None
    ) -> AsyncIterator[Page]:
        last, blind = after, self.blind > 0
        self.blind -= blind
        while True:
            await self._called()
            names = sorted(k for k in self.stands if k.startswith(prefix) and k > last)
            names = [k for k in names if recursive or "/" not in k[len(prefix) :]]
            found = [] if blind else [self.stands[key] for key in names[:PAGE]]
            self.shown += found
            await self._meanwhile()
            yield Page(found, calls=1)
            if len(found) < PAGE:
                return
            last = found[-1].key

    async def stat(self, key: str) -> StorageObject:
        await self._called()
        found = self.stands.get(key)
        await self._meanwhile()
        if found is None:
            raise ObjectNotFound(f"no object {key!r}")
        return found

    async def facts(self, key: str, version: str) -> ObjectFacts:
        raise NotImplementedError

    async def stat_each(self, keys: Sequence[str]) -> Sequence[StorageObject | StorageError]:
        found: list[StorageObject | StorageError] = []
        for key in keys:
            try:
                found.append(await self.stat(key))
            except ObjectNotFound as error:  # as many as a test has
                found.append(error)
        return found

    async def in_use(self, keys: Sequence[str]) -> Collection[str]:
        return ()

    async def restored(self, keys: Sequence[str]) -> Collection[str]:
        return ()

    @asynccontextmanager
    async def descriptor(self, key: str, version: str) -> AsyncIterator[int]:
        await self._called()
        if key not in self.stands:
            raise ObjectNotFound(f"no object {key!r}")
        self._require_well(key)
        if self.stands[key].version != version:
            raise ObjectChanged(f"{key!r} is another version")
        reader = os.open(os.devnull, os.O_RDONLY)
        try:
            yield reader
        finally:
            os.close(reader)

    @asynccontextmanager
    async def excerpt(self, key: str, version: str) -> AsyncIterator[Excerpt]:
        async with self.descriptor(key, version) as file:
            yield Excerpt(file, whole=True)

    def _require_well(self, key: str) -> None:
        ill = self.ills.get(key)
        if ill == "denied":
            raise AccessDenied(f"{key!r} is denied")
        if ill is not None:
            raise StorageUnavailable(f"{key!r} cannot be had: {ill}")

    @asynccontextmanager
    async def stream(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self.descriptor(key, version):
            yield _nothing()

    async def write(self, key: str, source: Path, *, content_type: str) -> WriteResult:
        raise NotImplementedError

    async def replace(self, key: str, source: Path, version: str, *, content_type: str) -> WriteResult:
        raise NotImplementedError

    async def delete(self, key: str, version: str) -> None:
        raise NotImplementedError

    async def check(self, *, read: bool, write_below: str | None) -> None:
        """It may be read."""

    async def aclose(self) -> None:
        """There is nothing to close."""

    async def _meanwhile(self) -> None:
        """What happens while an answer is on its way."""
        between, self.between = self.between, []
        self.happened += len(between)
        for happen in between:
            await happen()

    async def _called(self) -> None:
        self.fuse.burn()
        self.failing -= 1
        if self.failing < 0:
            self.failing = _FOREVER
            raise StorageUnavailable("the store is away", "wait")


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


def etag(body: str) -> str:
    """Equal for equal bytes, and telling nothing of their order."""
    return hashlib.md5(body.encode()).hexdigest()[:8]


@dataclass
class Queue:
    """What the store tells, in any order and number. `acknowledged` hears of each message that is deleted."""

    fuse: Fuse
    acknowledged: Callable[[Message], None]
    waiting: dict[str, Message] = field(default_factory=dict)
    offered: list[Message] = field(default_factory=list)
    latest: dict[str, str] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def tell(self, kind: EventKind, key: str, found: StorageObject | None, *, spellings: int = 1) -> None:
        number = next(self._numbers)
        keys = (key, key.replace("+", " ").replace("/", "%2F"))[:spellings]
        event = ObjectEvent(kind, keys, found, f"{number:08x}")
        self.latest[key] = event.sequencer
        self.add((event,))

    def add(self, events: tuple[ObjectEvent, ...]) -> None:
        name = f"m{next(self._numbers)}"
        self.waiting[name] = Message(name, name, events, None, None)

    def pick(self, start: int, many: int, *, backwards: bool) -> list[Message]:
        """Some of what waits, from anywhere."""
        everything = list(self.waiting.values())
        if not everything:
            return []
        start %= len(everything)
        some = everything[start : start + many]
        return some[::-1] if backwards else some

    async def receive(self) -> Sequence[Message]:
        self.fuse.burn()
        offered, self.offered = self.offered, []
        return [message for message in offered if message.receipt in self.waiting]

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        self.fuse.burn()
        for message in messages:
            if self.waiting.pop(message.receipt, None) is not None:
                self.acknowledged(message)
        self.fuse.burn()

    async def release(self, messages: Sequence[Message]) -> None:
        self.fuse.burn()

    async def examine(self) -> Sequence[Finding]:
        return ()

    async def repair(self) -> Sequence[Finding]:
        return ()

    async def aclose(self) -> None:
        """There is nothing to close."""
