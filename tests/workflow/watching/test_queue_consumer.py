"""From a queue to the ledger: nothing is acknowledged before it is committed, and nothing is taken twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeQueue, FakeStorage
from tests.store.pipeline import jobs_of, obj, prepare
from tests.workflow.conftest import Told
from tests.workflow.watching.queues import created, keys, removed, second, until
from vvwatch.core.changes import EventKind, ObjectEvent
from vvwatch.core.objects import StorageObject
from vvwatch.errors import (
    AccessDenied,
    CredentialsRefused,
    InvalidInput,
    StorageUnavailable,
    StoreUnavailable,
)
from vvwatch.ports import Kind, Refusal
from vvwatch.store.db.database import Database
from vvwatch.store.schema import import_files, objects, windows
from vvwatch.store.watching import automations, quarantine
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.watching.queue_consumer import QueueConsumer
from vvwatch.workflow.watching.watcher import Watcher

pytestmark = pytest.mark.anyio

FOREIGN = Refusal("foreign", "it is about the bucket 'other'", '{"Records": []}')
MALFORMED = Refusal("malformed", "it is no JSON", "\ud800not json" + "x" * 5_000)


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


@pytest.fixture
def make(
    database: Database, clock: FakeClock, telemetry: Telemetry, watcher: Watcher, queue: FakeQueue
) -> Callable[..., QueueConsumer]:
    def make(open_queue: Any = None, *, exclusive: bool = True) -> QueueConsumer:
        return QueueConsumer(
            database,
            clock,
            telemetry,
            watcher.notice,
            lambda: 0.5,
            "conn_in",
            open_queue or (lambda: queue),
            exclusive=exclusive,
        )

    return make


@asynccontextmanager
async def running(consumer: QueueConsumer) -> AsyncIterator[QueueConsumer]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consumer.run)
        yield consumer
        tasks.cancel_scope.cancel()


async def emptied(queue: FakeQueue) -> None:
    await until(lambda: queue.is_empty)


async def put_aside(database: Database) -> dict[str, tuple[str, int, bool]]:
    rows = await database.read(quarantine.list_messages, "conn_in", 2_000)
    return {row.message_id: (row.reason, row.times, row.deleted) for row in rows}


@contextmanager
def database_away(database: Database, transaction: str) -> Iterator[None]:
    """Let each write of that name fail."""
    honest = database.write

    async def write(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if fn.__name__ == transaction:
            raise StoreUnavailable("the disk is full", "make room")
        return await honest(fn, *args, **kwargs)

    database.write = write  # type: ignore[method-assign]
    yield
    database.write = honest  # type: ignore[method-assign]


async def test_a_batch_is_one_transaction(
    database: Database, make: Callable[..., QueueConsumer], queue: FakeQueue, storage: FakeStorage, told: Told
) -> None:
    await database.write(prepare)
    for number in range(200):
        queue.send(created(storage.put(f"{number:03}.mp4", b"x")), sent_at=FakeClock().now() - 3)
    async with running(make()) as consumer:
        await emptied(queue)
        await until(lambda: "queue.batch_taken" in told.names())
        assert consumer.health.state == "healthy"
    assert len(await keys(database)) == 200
    assert told.names().count("change.accepted") == 1
    [taken] = [fields for name, fields in told if name == "queue.batch_taken"]
    assert (taken["messages"], taken["acknowledged"], taken["lag_seconds"]) == (200, 200, 3.0)


async def test_event_then_list_once(
    database: Database,
    make: Callable[..., QueueConsumer],
    queue: FakeQueue,
    storage: FakeStorage,
    watcher: Watcher,
) -> None:
    """Trap 6: what an event told and a listing finds, and what is told again, is one unit."""
    await database.write(prepare)
    event = created(storage.put("a.mp4", b"x"))
    queue.send(event, times=3)
    queue.send(created("a.mp4"))
    async with running(make()):
        await emptied(queue)
        await watcher.scan(jobs_of(database).take(Kind.SCAN)[-1])
        queue.send(event)
        await emptied(queue)
    assert await keys(database) == ["a.mp4"]
    assert await keys(database, import_files) == ["a.mp4"]


async def test_nothing_is_acknowledged_before_it_is_committed(
    database: Database, make: Callable[..., QueueConsumer], queue: FakeQueue, storage: FakeStorage
) -> None:
    await database.write(prepare)
    queue.send(created(storage.put("a.mp4", b"x")))
    honest, seen = queue.acknowledge, []

    async def acknowledge(messages: Any) -> None:
        seen.append(await keys(database))
        await honest(messages)

    queue.acknowledge = acknowledge  # type: ignore[method-assign]
    async with running(make()):
        await emptied(queue)
    assert seen == [["a.mp4"]]


async def test_slow_job_no_redelivery_a_death_before_the_acknowledgement_doubles_nothing(
    database: Database, make: Callable[..., QueueConsumer], queue: FakeQueue, storage: FakeStorage
) -> None:
    """Trap 17: committed and not acknowledged comes again and is absorbed; nothing waits for the processing."""
    await database.write(prepare)
    queue.send(created(storage.put("a.mp4", b"x")))

    async def died(*_: object) -> None:
        await anyio.sleep_forever()

    dead: Any = FakeQueue()
    dead.waiting, dead.acknowledge, dead.release, dead.aclose = queue.waiting, died, died, died
    async with running(make(lambda: dead)):
        for _ in range(2_000):
            if await keys(database):
                break
            await anyio.sleep(0.005)
    assert dead.acknowledged == []
    dead.returned()
    again = FakeQueue()
    again.waiting = dead.waiting
    async with running(make(lambda: again)):
        await emptied(again)
    assert again.acknowledged == ["message 1"]
    assert await keys(database, import_files) == ["a.mp4"]


async def test_what_is_in_hand_when_it_ends_is_left_to_others_at_once(
    database: Database, make: Callable[..., QueueConsumer], queue: FakeQueue, storage: FakeStorage
) -> None:
    await database.write(prepare)
    queue.most = 1
    for number in range(5):
        queue.send(created(storage.put(f"{number}.mp4", b"x")))
    consumer = make()
    forward = anyio.Event()

    async def stuck(*_: object) -> bool:
        forward.set()
        await anyio.sleep_forever()
        return True

    consumer._notice = stuck
    async with running(consumer):
        await forward.wait()
        await until(lambda: len(queue.hidden) == 2)
        await anyio.wait_all_tasks_blocked()
        assert len(queue.hidden) == 2  # the one under way and one ahead, no more
    assert (sorted(queue.released), queue.hidden, queue.closed) == (["message 1", "message 2"], {}, 1)


@pytest.mark.parametrize("exclusive", [True, False], ids=["exclusive", "shared"])
async def test_poison_matrix(
    database: Database,
    make: Callable[..., QueueConsumer],
    queue: FakeQueue,
    storage: FakeStorage,
    told: Told,
    exclusive: bool,
) -> None:
    """Trap 18: a test event goes; what nobody wants is kept aside, and deleted only from a queue of our own."""
    await database.write(prepare, source_prefix="in/")
    good = queue.send(created(storage.put("in/a.mp4", b"x")), created(obj("elsewhere/a.mp4")))
    test = queue.send()
    poison = {
        queue.send(refusal=FOREIGN): "foreign",
        queue.send(refusal=MALFORMED): "malformed",
        queue.send(created(obj("out/a.mp4")), removed("out/b.mp4")): "unmatched",
        queue.send(created("in/\0.mp4")): "malformed",
        queue.send(created("in/\ud800.mp4")): "malformed",
    }
    async with running(make(exclusive=exclusive)):
        await until(lambda: len(queue.acknowledged) == (7 if exclusive else 2))
        await until(lambda: "queue.batch_taken" in told.names())
    assert set(queue.acknowledged) == {good, test, *(poison if exclusive else ())}
    assert {message.id for message in queue.waiting} == (set() if exclusive else set(poison))
    kept = await put_aside(database)
    assert {name: reason for name, (reason, _, _) in kept.items()} == poison
    assert {deleted for _, _, deleted in kept.values()} == {exclusive}
    assert await keys(database) == ["in/a.mp4"]


async def test_what_comes_back_in_a_shared_queue_is_counted_and_does_not_spin(
    database: Database, make: Callable[..., QueueConsumer], queue: FakeQueue, clock: FakeClock
) -> None:
    await database.write(prepare)
    noise = queue.send(refusal=FOREIGN)
    async with running(make(exclusive=False)):
        for times in range(1, 4):
            await until(lambda: len(queue.released) == times)  # noqa: B023  # awaited in this round
            await until(lambda: clock._sleepers)
            assert len(queue.released) == times
            clock.advance(10)
    assert (await put_aside(database))[noise][1] >= 3


async def test_what_only_a_paused_automation_wants_is_no_poison(
    database: Database, make: Callable[..., QueueConsumer], queue: FakeQueue, storage: FakeStorage
) -> None:
    """Its listing when it goes on finds the object."""
    row = await database.write(prepare)
    queue.send(created(storage.put("a.mp4", b"x")))
    await database.write(automations.pause_import, "idx_main", paused=True)
    async with running(make()):
        await emptied(queue)
    assert (await keys(database), await put_aside(database)) == ([], {})
    await database.write(automations.pause_import, "idx_main", paused=False)
    assert jobs_of(database).take(Kind.SCAN)[-1].ref == row.id


async def test_create_delete_swapped(
    database: Database, make: Callable[..., QueueConsumer], queue: FakeQueue, storage: FakeStorage
) -> None:
    """Trap 15: an overtaken event is nothing; where no order is told, the store is asked."""
    await database.write(prepare)
    ghost, late = obj("ghost.mp4"), storage.put("late.mp4", b"x")
    queue.send(removed("ghost.mp4", "0A2"))
    queue.send(created(ghost, "0A1"))
    queue.send(created(replace_version(late, "old"), "1F"))
    queue.send(created(late, "2F"))
    queue.send(created(obj("unordered.mp4")))
    queue.send(removed("unordered.mp4"))
    back = storage.put("back.mp4", b"x")
    queue.send(removed("back.mp4"))
    queue.send(created(replace_version(back, "old")))
    async with running(make()):
        await emptied(queue)
    rows = await database.read(lambda tx: tx.all(sa.select(objects).order_by(objects.c.key)))
    assert [(row.key, row.version) for row in rows] == [
        ("back.mp4", back.version),
        ("late.mp4", late.version),
    ]
    assert await put_aside(database) == {}


def replace_version(found: StorageObject, version: str) -> StorageObject:
    return found._replace(version=version)


async def test_each_spelling_of_a_key_is_asked_for(
    database: Database, make: Callable[..., QueueConsumer], queue: FakeQueue, storage: FakeStorage
) -> None:
    await database.write(prepare, source_prefix="in a/")
    storage.put("in a/b+c.mp4", b"x")
    spellings = ("in a/b c.mp4", "in+a/b+c.mp4", "in a/b+c.mp4")
    queue.send(ObjectEvent(EventKind.CREATED, spellings))
    async with running(make()):
        await emptied(queue)
    assert await keys(database) == ["in a/b+c.mp4"]


async def test_while_the_database_is_away_nothing_is_acknowledged(
    database: Database,
    make: Callable[..., QueueConsumer],
    queue: FakeQueue,
    storage: FakeStorage,
    clock: FakeClock,
) -> None:
    await database.write(prepare)
    waiting = queue.send(created(storage.put("a.mp4", b"x")))
    queue.send(refusal=FOREIGN)
    async with running(make()) as consumer:
        for transaction, left in (("keep_messages", 2), ("accept_objects", 1)):
            before = len(queue.released)
            with database_away(database, transaction):
                clock.advance(60)
                await until(lambda: len(queue.released) == before + left)  # noqa: B023
                await until(lambda: consumer.health.state == "degraded" and clock._sleepers)
            assert waiting not in queue.acknowledged
        clock.advance(60)
        await emptied(queue)
        assert consumer.health.state == "healthy"
    assert await keys(database) == ["a.mp4"]
    assert len(await put_aside(database)) == 1


async def test_a_store_that_is_away_holds_up_what_has_to_be_looked_up(
    database: Database,
    make: Callable[..., QueueConsumer],
    queue: FakeQueue,
    storage: FakeStorage,
    clock: FakeClock,
) -> None:
    await database.write(prepare)
    storage.put("a.mp4", b"x")
    queue.send(created("a.mp4"))
    storage.broken = StorageUnavailable("the store does not answer", "wait")
    async with running(make()) as consumer:
        await until(lambda: queue.released)
        await until(lambda: consumer.health.state == "degraded")
        assert "could not be recorded" in consumer.health.reason
        storage.broken = None
        clock.advance(60)
        await emptied(queue)
        assert consumer.health.state == "healthy"
    assert await keys(database) == ["a.mp4"]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (StorageUnavailable("the queue does not answer", "look at it"), "degraded"),
        (AccessDenied("may not receive", "sqs:ReceiveMessage"), "failed"),
        (CredentialsRefused("the key is not known", "give it another one"), "failed"),
    ],
)
async def test_a_queue_that_fails_is_asked_again_for_ever(
    database: Database,
    make: Callable[..., QueueConsumer],
    queue: FakeQueue,
    storage: FakeStorage,
    clock: FakeClock,
    error: Exception,
    state: str,
) -> None:
    await database.write(prepare)
    queue.broken = error
    async with running(make()) as consumer:
        assert consumer.health.state == "starting"
        await until(lambda: consumer.health.state == state)
        since = consumer.health.since
        for _ in range(8):
            await until(lambda: clock._sleepers)
            clock.advance(60)
        assert (consumer.health.hint, consumer.health.since) == (getattr(error, "hint", ""), since)
        queue.broken = None
        queue.send(created(storage.put("a.mp4", b"x")))
        await emptied(queue)
        assert (consumer.health.state, consumer.health.reason) == ("healthy", "")
        assert consumer.health.since > since
    assert queue.closed == 1


async def test_messages_that_cannot_be_deleted_are_told_and_do_not_spin(
    database: Database,
    make: Callable[..., QueueConsumer],
    queue: FakeQueue,
    storage: FakeStorage,
    clock: FakeClock,
) -> None:
    await database.write(prepare)
    queue.send(created(storage.put("a.mp4", b"x")))
    queue.broken, queue.breaks = AccessDenied("may not delete", "sqs:DeleteMessage"), {"acknowledge"}
    async with running(make()) as consumer:
        await until(lambda: consumer.health.state == "failed")
        assert consumer.health.hint == "sqs:DeleteMessage"
        await until(lambda: clock._sleepers)
        assert len(queue.released) == 1
        queue.broken = None
        clock.advance(60)
        await emptied(queue)
        assert consumer.health.state == "healthy"
    assert await keys(database, import_files) == ["a.mp4"]


async def test_what_another_node_has_taken_meanwhile_is_no_trouble_any_more(
    database: Database, make: Callable[..., QueueConsumer], queue: FakeQueue, storage: FakeStorage
) -> None:
    await database.write(prepare)
    queue.send(created("a.mp4"))
    storage.broken = StorageUnavailable("the store does not answer", "wait")

    async def taken_by_another(_: object) -> None:
        queue.hidden.clear()

    queue.release = taken_by_another  # type: ignore[method-assign, assignment]
    async with running(make()) as consumer:
        await until(lambda: consumer.health.state == "degraded" and queue.is_empty)
        for _ in range(100):
            queue.look()
            await anyio.wait_all_tasks_blocked()
        assert consumer.health.state == "healthy"


async def test_a_queue_that_cannot_be_opened_is_tried_again(
    database: Database, make: Callable[..., QueueConsumer], queue: FakeQueue, clock: FakeClock
) -> None:
    tried = []

    def open_queue() -> FakeQueue:
        tried.append(1)
        if len(tried) < 3:
            raise InvalidInput("a connector of the type s3 needs aiobotocore", "pip install 'vvwatch[s3]'")
        return queue

    async with running(make(open_queue)) as consumer:
        for _ in range(2):
            await until(lambda: consumer.health.state == "failed" and clock._sleepers)
            assert consumer.health.hint == "pip install 'vvwatch[s3]'"
            clock.advance(60)
        await until(lambda: len(tried) == 3)
        queue.look()
        await until(lambda: consumer.health.state == "healthy")


async def test_a_fault_of_ours_ends_no_daemon(
    database: Database,
    make: Callable[..., QueueConsumer],
    queue: FakeQueue,
    storage: FakeStorage,
    clock: FakeClock,
    told: Told,
) -> None:
    await database.write(prepare)
    queue.send(created(storage.put("a.mp4", b"x")))
    storage.broken = ZeroDivisionError("a fault")
    storage.uri = _broken  # type: ignore[method-assign, assignment]
    async with running(make()) as consumer:
        await until(lambda: consumer.health.state == "failed")
        assert "task.failed" in told.names()
        await until(lambda: clock._sleepers)
        assert not queue.hidden
        storage.broken = None
        del storage.uri
        clock.advance(60)
        await emptied(queue)
    assert await keys(database) == ["a.mp4"]


def _broken(_: str) -> str:
    raise ZeroDivisionError


async def test_a_broken_automation_holds_up_none_of_its_neighbours(
    database: Database,
    make: Callable[..., QueueConsumer],
    queue: FakeQueue,
    storage: FakeStorage,
    watcher: Watcher,
) -> None:
    await database.write(prepare, source_prefix="a/")
    other = await database.write(second, "b/")
    bad = queue.send(created(storage.put("b/1.mp4", b"x")))
    good = queue.send(created(storage.put("a/1.mp4", b"x")))
    consumer = make()

    async def notice(automation_id: str, hint: Any) -> bool:
        return automation_id != other.id and await watcher.notice(automation_id, hint)

    consumer._notice = notice
    async with running(consumer):
        await until(lambda: queue.acknowledged and queue.released)
    assert (queue.acknowledged, set(queue.released)) == ([good], {bad})


async def test_each_automation_takes_what_lies_in_its_prefix(
    database: Database, make: Callable[..., QueueConsumer], queue: FakeQueue, storage: FakeStorage
) -> None:
    first = await database.write(prepare)
    await database.write(second, "b/")
    for key in ("a.mp4", "b/1.mp4", "b.mp4"):
        queue.send(created(storage.put(key, b"x")))
    async with running(make()):
        await emptied(queue)
    counts = await database.read(
        lambda tx: tx.all(sa.select(windows.c.automation_id, windows.c.object_count))
    )
    assert dict(map(tuple, counts)) == {first.id: 3, "auto_second": 1}
