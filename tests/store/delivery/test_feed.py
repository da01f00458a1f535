"""Events in the order in which they are told: whoever goes on from the last one misses none and hears none twice."""

from __future__ import annotations

import anyio
import asyncpg
import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.databases import Databases
from vvwatch.store.admin import retention
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.event_order import PLACES
from vvwatch.store.delivery import feed
from vvwatch.store.delivery.events import announce
from vvwatch.store.delivery.feed import FIRST, Position
from vvwatch.store.schema import events, facts

pytestmark = pytest.mark.anyio


def tell(tx: Tx, *subjects: str) -> None:
    for subject in subjects:
        announce(tx, "media.created", subject, None, {"video_id": subject})


async def told(database: Database, after: Position = FIRST, limit: int = 100) -> list[str]:
    return [row.data["video_id"] for row in await database.read(feed.list_after, after, limit)]


async def test_events_are_told_in_the_order_of_commits_and_within_one_as_they_were_announced(
    database: Database, clock: FakeClock
) -> None:
    await database.write(tell, "a", "b")
    clock.advance(-3600)
    await database.write(tell, "c", "d")
    assert await told(database) == ["a", "b", "c", "d"]


async def test_whoever_goes_on_from_the_last_misses_none_and_hears_none_twice(database: Database) -> None:
    for subject in "abcdefg":
        await database.write(tell, subject)
    heard, position = [], FIRST
    while rows := await database.read(feed.list_after, position, 3):
        heard += [row.data["video_id"] for row in rows]
        position = feed.position_of(rows[-1])
    assert heard == list("abcdefg")
    tail = await database.read(feed.get_tail)
    assert tail == (position, True)


async def test_an_event_is_found_again_by_its_id(database: Database) -> None:
    await database.write(tell, "a", "b")
    [first, _] = await database.read(feed.list_after, FIRST, 2)
    position = await database.read(feed.find_position, first.id)
    assert position is not None
    assert await told(database, position) == ["b"]
    assert await database.read(feed.find_position, "evt_unknown") is None
    assert await database.read(feed.find_position, FIRST.event_id) == FIRST


async def test_without_events_the_tail_is_before_all(database: Database) -> None:
    assert await database.read(feed.get_tail) == (FIRST, True)


async def test_what_was_announced_before_is_announced_no_second_time(database: Database) -> None:
    await database.write(tell, "a")
    await database.write(tell, "a", "b")
    assert await told(database) == ["a", "b"]


async def test_the_newest_event_outlives_retention_so_that_no_place_is_given_twice(
    database: Database, clock: FakeClock
) -> None:
    await database.write(tell, "a", "b")
    last = (await database.read(feed.get_tail)).position
    clock.advance(1e6)
    before = clock.now() - 10
    found = await database.read(retention.list_old_events, before, "")
    assert await database.write(retention.drop_events, before, found) == 1
    await database.write(tell, "c")
    assert await told(database) == ["b", "c"]
    assert await told(database, last) == ["c"]


async def test_before_every_event_is_nowhere_when_the_first_of_them_is_gone(
    database: Database, clock: FakeClock
) -> None:
    for subject in ("a", "b"):
        await database.write(tell, subject)
    assert await database.read(feed.find_position, FIRST.event_id) == FIRST
    clock.advance(1e6)
    found = await database.read(retention.list_old_events, clock.now(), "")
    assert await database.write(retention.drop_events, clock.now(), found) == 1
    assert await database.read(feed.find_position, FIRST.event_id) is None


async def test_who_goes_on_from_before_a_dropped_event_is_told_that(
    database: Database, clock: FakeClock
) -> None:
    for subject in ("a", "b", "c"):
        await database.write(tell, subject)
    first, second, third = [row.id for row in await database.read(feed.list_after, FIRST, 3)]
    clock.advance(1e6)
    assert await database.write(retention.drop_events, clock.now(), [second]) == 1
    found = [await database.read(feed.find_position, each) for each in (first, second, third)]
    assert [position is None for position in found] == [True, True, False]


async def test_a_commit_wakes_whoever_waits_for_events(database: Database) -> None:
    woken = anyio.Event()

    async def wait() -> None:
        await database.announced.wait(database.announced.times)
        woken.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await database.write(lambda tx: tx.execute(sa.delete(facts)).rowcount)
        await anyio.wait_all_tasks_blocked()
        assert not woken.is_set()
        await database.write(tell, "a")
        with anyio.fail_after(5):
            await woken.wait()


on_postgres = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
"""One writer has no others beside it."""


async def others(databases: Databases) -> asyncpg.Connection:
    """A writer beside ours, as another node has one."""
    return await asyncpg.connect(databases.url)


ANNOUNCE = """
INSERT INTO events (id, type, occurrence, data, place)
SELECT $1, 'media.created', $1, $2, pg_current_xact_id()::text::bigint + convert_from(value, 'UTF8')::bigint
FROM facts WHERE name LIKE 'places@%'
"""


async def slow(connection: asyncpg.Connection, subject: str) -> None:
    await connection.execute(ANNOUNCE, f"evt_{subject}", f'{{"video_id": "{subject}"}}')


@on_postgres
async def test_an_event_waits_for_transactions_that_began_before_it_and_may_still_commit(
    database: Database, databases: Databases
) -> None:
    await database.write(tell, "first")
    other = await others(databases)
    try:
        transaction = other.transaction()
        await transaction.start()
        await slow(other, "slow")
        await database.write(tell, "quick")
        assert await told(database) == ["first"]
        assert (await database.read(feed.get_tail)).whole is False
        await transaction.commit()
        assert await told(database) == ["first", "slow", "quick"]
        assert (await database.read(feed.get_tail)).whole is True
    finally:
        await other.close()


@on_postgres
async def test_of_two_transactions_that_overlap_the_one_that_commits_last_is_not_missed(
    database: Database, databases: Databases
) -> None:
    await database.write(tell, "first")
    early, late = await others(databases), await others(databases)
    try:
        one, two = early.transaction(), late.transaction()
        await one.start()
        await early.execute("SELECT pg_current_xact_id()")  # its id is the smaller one, its event the later
        await two.start()
        await slow(late, "two")
        await slow(early, "one")
        await two.commit()
        heard = await database.read(feed.list_after, FIRST, 10)
        assert [row.data["video_id"] for row in heard] == ["first"]
        await one.commit()
        assert await told(database, feed.position_of(heard[-1])) == ["one", "two"]
    finally:
        await early.close()
        await late.close()


@on_postgres
async def test_what_is_rolled_back_holds_nothing_up_for_longer(
    database: Database, databases: Databases
) -> None:
    await database.write(tell, "first")
    other = await others(databases)
    transaction = other.transaction()
    await transaction.start()
    await slow(other, "slow")
    await database.write(tell, "quick")
    await other.close()
    with anyio.fail_after(5):
        while await told(database) != ["first", "quick"]:  # noqa: ASYNC110  # the server notices on its own
            await anyio.sleep(0.01)


@on_postgres
async def test_in_another_cluster_places_go_on_where_they_were(database: Database) -> None:
    await database.write(tell, "a")

    def move(tx: Tx) -> None:
        """As after a copy: transaction ids begin anew, and this cluster was never heard of."""
        tx.execute(sa.update(events).values(place=events.c.place + 1_000_000_000_000))
        tx.execute(sa.delete(facts).where(facts.c.name.startswith(PLACES)))

    await database.write(move)
    assert await told(database) == ["a"]
    last = (await database.read(feed.get_tail)).position
    await database.write(tell, "b")
    assert await told(database, last) == ["b"]
    assert await told(database) == ["a", "b"]
