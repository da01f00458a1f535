"""Fakes that keep the promises of the ports; the contract suites hold them to it."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio

from vvwatch.core.changes import ObjectEvent
from vvwatch.core.objects import StorageObject
from vvwatch.core.store_notes import StoreNotes
from vvwatch.errors import (
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutsideLocation,
    StorageError,
    StorageUnavailable,
)
from vvwatch.ports import Capabilities, Excerpt, Finding, Message, ObjectFacts, Page, Refusal, WriteResult


class FakeStorage:
    """A store in memory with atomic writes. `moment` dates what is put; `broken` is raised by every call.

    `refused` has what is raised for single keys, by all but listings; `reads` counts how often each was asked for.
    """

    capabilities = Capabilities(atomic_writes=True)
    clock_ahead_seconds = 0.0

    def __init__(self) -> None:
        self.notes = StoreNotes()
        self.moment = 1_000.0
        self.broken: Exception | None = None
        self.refused: dict[str, Exception] = {}
        self.reads: Counter[str] = Counter()
        self.thawed: set[str] = set()
        self.known: dict[str, ObjectFacts] = {}
        self._objects: dict[str, tuple[StorageObject, bytes]] = {}

    def put(self, key: str, data: bytes) -> StorageObject:
        obj = StorageObject(key, secrets.token_hex(8), len(data), self.moment, self.moment)
        self._objects[key] = (obj, data)
        return obj

    def remove(self, key: str) -> None:
        del self._objects[key]

    def uri(self, key: str) -> str:
        return f"fake://{id(self):x}/{key}"

    async def list(
        self, prefix: str, *, recursive: bool, after: str = "", skips: Callable[[str], bool] | None = None
    ) -> AsyncIterator[Page]:
        self._check(prefix and (prefix.removesuffix("/") or "/"))
        keys = [key for key in self._objects if key.startswith(prefix) and key > after]
        found = [self._objects[key][0] for key in keys if recursive or "/" not in key[len(prefix) :]]
        for start in range(0, len(found), 1000):
            yield Page(found[start : start + 1000])

    async def stat(self, key: str) -> StorageObject:
        return self._at(key)[0]

    async def facts(self, key: str, version: str) -> ObjectFacts:
        self._at(key)
        return self.known.get(key, ObjectFacts())

    async def stat_each(self, keys: Sequence[str]) -> Sequence[StorageObject | StorageError]:
        return [await self._stat_or_error(key) for key in keys]

    async def _stat_or_error(self, key: str) -> StorageObject | StorageError:
        try:
            return await self.stat(key)
        except StorageUnavailable:
            raise
        except StorageError as error:
            return error

    async def in_use(self, keys: Sequence[str]) -> set[str]:
        return set()

    async def restored(self, keys: Sequence[str]) -> set[str]:
        return self.thawed & set(keys)

    @asynccontextmanager
    async def excerpt(self, key: str, version: str) -> AsyncIterator[Excerpt]:
        async with self.descriptor(key, version) as file:
            yield Excerpt(file, whole=True)

    @asynccontextmanager
    async def descriptor(self, key: str, version: str) -> AsyncIterator[int]:
        obj, data = self._at(key)
        if obj.version != version:
            raise ObjectChanged(f"{key!r} is another version")
        writer = os.memfd_create("object")
        os.write(writer, data)
        reader = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY)
        os.close(writer)
        try:
            yield reader
        finally:
            os.close(reader)

    @asynccontextmanager
    async def stream(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self.descriptor(key, version) as file:
            yield _chunks(file, start, length)

    async def write(self, key: str, source: Path, *, content_type: str) -> WriteResult:
        self._check(key or "/")
        data = await anyio.Path(source).read_bytes()
        if self._objects.get(key, (None, data))[1] != data:
            raise ObjectExists(f"other content exists at {key!r}")
        if key not in self._objects:
            self.put(key, data)
        return WriteResult(
            self.uri(key), len(data), hashlib.sha256(data).hexdigest(), self._objects[key][0].version
        )

    async def replace(self, key: str, source: Path, version: str, *, content_type: str) -> WriteResult:
        self._check(key or "/")
        data = await anyio.Path(source).read_bytes()
        there, before = self._at(key)
        if before != data:
            if there.version != version:
                raise ObjectChanged(f"{key!r} is another version")
            there = self.put(key, data)
        return WriteResult(self.uri(key), len(data), hashlib.sha256(data).hexdigest(), there.version)

    async def delete(self, key: str, version: str) -> None:
        self._check(key or "/")
        if key in self._objects:
            if self._objects[key][0].version != version:
                raise ObjectChanged(f"{key!r} is another version")
            self.remove(key)

    async def check(self, *, read: bool, write_below: str | None) -> None:
        self._check("")

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _at(self, key: str) -> tuple[StorageObject, bytes]:
        self._check(key or "/")
        self.reads[key] += 1
        if key in self.refused:
            raise self.refused[key]
        try:
            return self._objects[key]
        except KeyError:
            raise ObjectNotFound(f"no object {key!r}") from None

    def _check(self, key: str) -> None:
        if self.broken:
            raise self.broken
        if key and (os.path.normpath(key) != key or key.startswith(("/", "../")) or key == ".."):
            raise OutsideLocation(f"{key!r} is not a plain path")


async def _chunks(file: int, start: int, length: int | None) -> AsyncIterator[bytes]:
    """In pieces that are no whole number of anything."""
    left = 1 << 40 if length is None else length
    while left and (chunk := os.pread(file, min(left, 1_000), start)):
        start, left = start + len(chunk), left - len(chunk)
        yield chunk


class FakeQueue:
    """A queue in memory. What was received is hidden until it is acknowledged, released or `returned`.

    `broken` is raised by each call named in `breaks`. Every receipt is another one, as the services have it.
    """

    def __init__(self) -> None:
        self.broken: Exception | None = None
        self.breaks: set[str] = {"receive", "acknowledge", "release"}
        self.waiting: list[Message] = []
        self.hidden: dict[str, Message] = {}
        self.acknowledged: list[str] = []
        self.released: list[str] = []
        self.closed = 0
        self.most = 1_000
        self._arrived = anyio.Event()
        self._receipts = 0
        self._sent = 0

    def send(
        self,
        *events: ObjectEvent,
        refusal: Refusal | None = None,
        sent_at: float | None = None,
        times: int = 1,
    ) -> str:
        """Send a message, `times` as the same one; returns its id."""
        self._sent += 1
        message = Message("", f"message {self._sent}", events, refusal, sent_at)
        self.waiting += [message] * times
        self._arrived.set()
        return message.id

    def returned(self) -> None:
        """What was received and never answered comes again: a consumer has died."""
        self.waiting += self.hidden.values()
        self.hidden.clear()
        self._arrived.set()

    def look(self) -> None:
        """Let who waits, or is about to, go without a message."""
        self._arrived.set()

    @property
    def is_empty(self) -> bool:
        return not self.waiting and not self.hidden

    async def receive(self) -> Sequence[Message]:
        self._check("receive")
        if not self.waiting:
            await self._arrived.wait()
            self._check("receive")
        self._arrived = anyio.Event()
        taken, self.waiting = self.waiting[: self.most], self.waiting[self.most :]
        return [self._hide(message) for message in taken]

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        self._check("acknowledge")
        for message in messages:
            if self.hidden.pop(message.receipt, None):
                self.acknowledged.append(message.id)

    async def release(self, messages: Sequence[Message]) -> None:
        self._check("release")
        for message in messages:
            if self.hidden.pop(message.receipt, None):
                self.released.append(message.id)
                self.waiting.append(message)
        self._arrived.set()

    async def examine(self) -> Sequence[Finding]:
        return ()

    async def repair(self) -> Sequence[Finding]:
        return ()

    async def aclose(self) -> None:
        self.closed += 1

    def _hide(self, message: Message) -> Message:
        self._receipts += 1
        received = replace(message, receipt=str(self._receipts))
        self.hidden[received.receipt] = received
        return received

    def _check(self, call: str) -> None:
        if self.broken and call in self.breaks:
            raise self.broken


class FakeBucket(FakeStorage):
    """A store that lists in the order of keys, from a key on, `page_keys` at a request; `calls` counts these."""

    capabilities = Capabilities(atomic_writes=True, start_after=True, versions_recur=True, list_usd=0.000_005)

    def __init__(self, page_keys: int = 1_000) -> None:
        super().__init__()
        self.page_keys = page_keys
        self.calls = 0

    async def list(
        self, prefix: str, *, recursive: bool, after: str = "", skips: Callable[[str], bool] | None = None
    ) -> AsyncIterator[Page]:
        while True:
            self._check("")
            self.calls += 1
            found = [
                key
                for key in sorted(self._objects)
                if key.startswith(prefix) and key > after and (recursive or "/" not in key[len(prefix) :])
            ][: self.page_keys]
            yield Page([self._objects[key][0] for key in found], calls=1)
            if len(found) < self.page_keys:
                return
            after = found[-1]
