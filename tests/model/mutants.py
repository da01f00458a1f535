"""Watchers that are wrong, each in a way that others have been: the model has to catch every one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import fields, replace
from typing import Any, cast

import sqlalchemy as sa

from tests.model.cloud import Store
from tests.model.world import Process, World
from vvwatch.core.objects import StorageObject
from vvwatch.core.retries import Bound
from vvwatch.errors import VvwatchError
from vvwatch.ports import Job, Kind, Page, Storage
from vvwatch.store.schema import objects
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.import_retries import ImportRetries
from vvwatch.workflow.pipeline.reading import Attempt, Judgement, Reading
from vvwatch.workflow.watching.watcher import Watcher


class Glasses:
    """The store, seen through `sees`, which leaves objects out."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def list(
        self, prefix: str, *, recursive: bool, after: str = "", skips: Callable[[str], bool] | None = None
    ) -> AsyncIterator[Page]:
        async for page in self.store.list(prefix, recursive=recursive, after=after):
            yield Page([obj for obj in page.objects if self.sees(obj)], calls=page.calls)

    def sees(self, obj: StorageObject) -> bool:
        raise NotImplementedError


class HighWaterMark(Glasses):
    """Takes only keys behind the last one (trap 1)."""

    mark = ""

    def sees(self, obj: StorageObject) -> bool:
        seen = obj.key > self.mark
        self.mark = max(self.mark, obj.key)
        return seen


class NewerThanLast(Glasses):
    """Takes only what is younger than the youngest it knows (traps 2 and 3)."""

    mark = 0.0

    def sees(self, obj: StorageObject) -> bool:
        seen = obj.modified_at > self.mark
        self.mark = max(self.mark, obj.modified_at)
        return seen


class KnownKeys(Glasses):
    """Knows keys and no versions (trap 5)."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.known: dict[str, str] = {}

    def sees(self, obj: StorageObject) -> bool:
        return self.known.setdefault(obj.key, obj.version) == obj.version


class Bespectacled(Process):
    glasses: type[Glasses]

    def __init__(self, world: World) -> None:
        self.storage = cast(Storage, self.glasses(world.store))
        super().__init__(world)

    def make_watcher(self, telemetry: Telemetry) -> Watcher:
        world = self.world
        return Watcher(world.database, world.clock, telemetry, lambda _: self.storage, lambda: 0.5)


class WithHighWaterMark(Bespectacled):
    glasses = HighWaterMark


class WithNewerThanLast(Bespectacled):
    glasses = NewerThanLast


class WithKnownKeys(Bespectacled):
    glasses = KnownKeys


class AcknowledgesFirst(Process):
    """Deletes messages before it commits what they tell (trap 17)."""

    async def consume(self) -> None:
        queue = self.world.queue
        messages = await queue.receive()
        await queue.acknowledge(messages)
        if messages:
            await self.consumer._forward(queue, messages)


class AcknowledgesAlways(Process):
    """Deletes messages of which it could not take in what they tell."""

    async def consume(self) -> None:
        queue = self.world.queue
        if messages := await queue.receive():
            await self.consumer._forward(queue, messages)
            await queue.acknowledge(messages)


class ForgetfulLedger(Process):
    """Keeps its ledger in memory (trap 20)."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        world.database.at_once(lambda tx: tx.execute(sa.delete(objects)))


class SleepyWindows(Process):
    """Looks at windows when it likes."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.handlers[Kind.WINDOW] = self.sleep

    async def sleep(self, job: Job) -> None:
        """Not now."""


class NeverTriesAgain(Process):
    """What was denied or lost once is failed for ever."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.troubles = Idle(*(getattr(self.troubles, field.name) for field in fields(self.troubles)))


class Idle(ImportRetries):
    async def run_round(self) -> int:
        return 0


class WaitsForEver(Process):
    """Waits for an object as for a store that is away."""

    bound = Bound(1_000_000_000, 45.0)


class Unforgiving(Reading):
    """Takes other bytes than the digest's for the object's last word."""

    async def judge_failure(self, error: VvwatchError, attempt: Attempt) -> Judgement:
        judged = await super().judge_failure(error, attempt)
        return replace(judged, patience=None) if error.message.endswith("digest") else judged


class BelievesDigests(Process):
    reading = Unforgiving


class SizesAlone(Glasses):
    """Knows a version without an ETag by its size."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.known: dict[tuple[str, int], str] = {}

    def sees(self, obj: StorageObject) -> bool:
        return self.known.setdefault((obj.key, obj.size_bytes), obj.version) == obj.version


class WithSizesAlone(Bespectacled):
    glasses = SizesAlone
    etagless = True


class Inodes(Glasses):
    """Takes a file for another when its inode number is another."""

    async def list(
        self, prefix: str, *, recursive: bool, after: str = "", skips: Callable[[str], bool] | None = None
    ) -> AsyncIterator[Page]:
        mount = self.store.mount
        async for page in self.store.list(prefix, recursive=recursive, after=after):
            seen = [obj._replace(version=f"{obj.version}#{mount}") if mount else obj for obj in page.objects]
            yield Page(seen, calls=page.calls)


class WithInodes(Bespectacled):
    glasses = Inodes
    etagless = True


MUTANTS = (
    WithHighWaterMark,
    WithNewerThanLast,
    WithKnownKeys,
    AcknowledgesFirst,
    AcknowledgesAlways,
    ForgetfulLedger,
    SleepyWindows,
    NeverTriesAgain,
    WaitsForEver,
    BelievesDigests,
    WithSizesAlone,
    WithInodes,
)
