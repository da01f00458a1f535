"""Subscribe first, then list: whatever comes between, nothing is missed and nothing is taken twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeQueue, FakeStorage
from tests.store.pipeline import jobs_of
from tests.workflow.watching.queues import created, removed, second, with_events
from vvwatch.ports import Hint, Kind, Message
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.schema import import_automations, import_files, windows
from vvwatch.store.watching import automations
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.watching.queue_consumer import QueueConsumer
from vvwatch.workflow.watching.watcher import Watcher

pytestmark = pytest.mark.anyio

STEPS = 60
PREFIXES = ("", "a/", "b/")
INDEXES = ("idx_main", "idx_second")


class World:
    """Objects come and go while messages are under way and automations are made, edited, stopped and taken up.

    In each batch something else may happen before and after the commit, and before the acknowledgement; a consumer
    may die there.
    """

    def __init__(
        self, seed: int, database: Database, clock: FakeClock, watcher: Watcher, storage: FakeStorage
    ) -> None:
        self.random = random.Random(seed)
        self.database = database
        self.clock = clock
        self.watcher = watcher
        self.storage = storage
        self.queue = queue = FakeQueue()
        queue.acknowledge = self._interrupted(queue.acknowledge)  # type: ignore[method-assign, assignment]
        telemetry = Telemetry("test")
        notice = self._interrupted(watcher.notice)
        self.consumer = QueueConsumer(
            database,
            clock,
            telemetry,
            notice,
            lambda: 0.5,
            "conn_in",
            lambda: self.queue,
            exclusive=seed % 2 == 0,
        )
        self.sequence = 0
        self.depth = 0

    def _interrupted(self, honest: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any) -> Any:
            if self.random.random() < 0.5:
                await self.happen()
            result = await honest(*args)
            if self.random.random() < 0.5:
                await self.happen()
            return result

        return call

    async def happen(self) -> None:
        """One of the things that others do."""
        if self.depth == 0:
            self.depth += 1
            self.clock.advance(self.random.random())
            await self.random.choice(
                [self.put, self.put, self.put, self.remove, self.edit, self.stop, self.scan]
            )()
            self.depth -= 1

    async def put(self) -> None:
        key = f"{self.random.choice(PREFIXES)}{self.random.randrange(12)}.mp4"
        self.sequence += 1
        found = self.storage.put(key, b"x")
        told = created(found if self.random.random() < 0.7 else key, f"{self.sequence:08X}")
        self._send(told)

    async def remove(self) -> None:
        if self.storage._objects:
            key = self.random.choice(sorted(self.storage._objects))
            self.sequence += 1
            self.storage.remove(key)
            self._send(removed(key, f"{self.sequence:08X}"))

    def _send(self, event: Any) -> None:
        self.queue.send(event, times=self.random.choice((1, 1, 2)))
        self.random.shuffle(self.queue.waiting)

    async def edit(self) -> None:
        prefix = self.random.choice(PREFIXES)
        index = self.random.choice(INDEXES)
        await self.database.write(_edited, index, prefix)

    async def stop(self) -> None:
        index = self.random.choice(INDEXES)
        if await self.database.read(_exists, index):
            paused = self.random.random() < 0.5
            await self.database.write(automations.pause_import, index, paused=paused)

    async def scan(self) -> None:
        """Run what scans are due."""
        for job in jobs_of(self.database).take(Kind.SCAN):
            if job.run_at <= self.clock.now():
                await self.watcher.scan(job)
            else:
                jobs_of(self.database).jobs.append(job)

    async def consume(self) -> None:
        """Take a batch, and perhaps die before it is acknowledged."""
        if not self.queue.waiting:
            return
        self.queue.most = self.random.choice((1, 3, 10))
        messages = await self.queue.receive()
        if self.random.random() < 0.2:
            await self._dying(messages)
        else:
            self.consumer._in_hand |= {message.receipt: message for message in messages}
            await self.consumer._forward(self.queue, messages)

    async def _dying(self, messages: Sequence[Message]) -> None:
        """Commit, and be gone: the messages come again, and so does everything else that nobody acknowledged."""
        await self.consumer._commit(messages)
        self.queue.returned()
        self.consumer._in_hand.clear()

    async def settled(self) -> None:
        """Nobody does anything any more: what is under way is brought to its end."""
        self.depth = 1
        await self.database.write(_resumed)
        self.queue.returned()
        for _ in range(200):
            await self.consume()
            if not [m for m in self.queue.waiting if m.id not in self.queue.released]:
                break
        await self.scan()


def _edited(tx: Tx, index: str, prefix: str) -> None:
    """As an edit over the API does: another prefix, one more generation, and a listing that is due at once."""
    row = tx.first(sa.select(import_automations).where(import_automations.c.index_id == index))
    if row is None:
        second(tx, prefix)
        return
    values = {"source_prefix": prefix, "generation": row.generation + 1, "updated_at": tx.now}
    tx.update(import_automations, row.id, **values)
    automations.pause_import(tx, index, paused=row.paused)


def _resumed(tx: Tx) -> None:
    """Those that stand still go on; of the others nothing is listed that was not due anyway."""
    for row in tx.all(sa.select(import_automations).where(import_automations.c.paused)):
        automations.pause_import(tx, row.index_id, paused=False)


def _exists(tx: Tx, index: str) -> bool:
    return tx.first(sa.select(import_automations).where(import_automations.c.index_id == index)) is not None


def _taken(tx: Tx, automation_id: str) -> Counter[tuple[str, str]]:
    of = (
        sa.select(import_files.c.key, import_files.c.version)
        .join(windows, windows.c.import_job_id == import_files.c.job_id)
        .where(windows.c.automation_id == automation_id)
    )
    return Counter((row.key, row.version) for row in tx.all(of))


@pytest.mark.parametrize("seed", range(8))
async def test_subscribe_first_then_list(
    database: Database, clock: FakeClock, watcher: Watcher, storage: FakeStorage, seed: int
) -> None:
    await database.write(with_events)
    world = World(seed, database, clock, watcher, storage)
    for _ in range(STEPS):
        await (world.consume() if world.random.random() < 0.4 else world.happen())
    await world.settled()
    for row in await database.read(lambda tx: tx.all(sa.select(import_automations))):
        taken = await database.read(_taken, row.id)
        there = {
            (found.key, found.version)
            for found, _ in storage._objects.values()
            if found.key.startswith(row.source_prefix)
        }
        assert there - set(taken) == set()
        assert set(taken.values()) <= {1}


async def test_subscribe_first_then_list_an_automation_made_while_a_message_is_under_way(
    database: Database, clock: FakeClock, watcher: Watcher, storage: FakeStorage
) -> None:
    """The message is matched before the automation is made, and acknowledged after: the listing finds the object."""
    await database.write(with_events, source_prefix="a/")
    queue = FakeQueue()

    async def notice(automation_id: str, hint: Hint) -> bool:
        await database.write(second, "b/")
        return await watcher.notice(automation_id, hint)

    consumer = QueueConsumer(
        database, clock, Telemetry("test"), notice, lambda: 0.5, "conn_in", lambda: queue, exclusive=True
    )
    for key in ("a/1.mp4", "b/1.mp4"):
        queue.send(created(storage.put(key, b"x")))
    jobs_of(database).jobs.clear()
    messages = await queue.receive()
    consumer._in_hand |= {message.receipt: message for message in messages}
    await consumer._forward(queue, messages)
    assert queue.is_empty
    assert await database.read(_taken, "auto_second") == Counter()
    [job] = jobs_of(database).take(Kind.SCAN)
    await watcher.scan(job)
    assert [key for key, _ in await database.read(_taken, "auto_second")] == ["b/1.mp4"]
