from __future__ import annotations

import pytest

from tests.clock import FakeClock
from vvwatch.core.limits import LEASE_SECONDS, Ask, Lease
from vvwatch.store.db.database import Database
from vvwatch.store.runs import quotas

pytestmark = pytest.mark.anyio

MOST = 6


async def leased(database: Database, node: str, ask: Ask, most: int = MOST) -> Lease:
    return await database.write(quotas.grant_lease, "gpt", node, ask, most)


async def slots(database: Database, node: str, in_flight: int, wants: int, most: int = MOST) -> int:
    return (await leased(database, node, Ask(in_flight, wants), most)).slots


async def test_stretches_of_the_schedule_follow_each_other_and_never_overlap(
    database: Database, clock: FakeClock
) -> None:
    now = clock.now()
    found = [await leased(database, node, Ask(0, 1, seconds=2.0)) for node in ("a", "b", "a")]
    assert [(each.begins_at, each.ends_at) for each in found] == [
        (now, now + 2),
        (now + 2, now + 4),
        (now + 4, now + 6),
    ]
    clock.advance(60)
    late = await leased(database, "c", Ask(0, 1, seconds=1.0))
    assert late.begins_at == clock.now(), "time that nobody took is not saved up"


async def test_each_processor_has_a_schedule_of_its_own(database: Database, clock: FakeClock) -> None:
    await leased(database, "a", Ask(0, 1, seconds=60.0))
    other = await database.write(quotas.grant_lease, "claude", "a", Ask(0, 1, seconds=1.0), MOST)
    assert other.begins_at == clock.now()


async def test_what_is_left_of_the_last_stretch_is_given_back(database: Database, clock: FakeClock) -> None:
    await leased(database, "a", Ask(0, 1, seconds=2.0))
    last = await leased(database, "b", Ask(0, 1, seconds=10.0))
    await database.write(quotas.return_lease, "gpt", "b", last.ends_at, 7.0)
    assert (await leased(database, "c", Ask(0, 1, seconds=1.0))).begins_at == clock.now() + 5


async def test_a_stretch_that_another_follows_cannot_be_given_back(
    database: Database, clock: FakeClock
) -> None:
    first = await leased(database, "a", Ask(0, 1, seconds=5.0))
    await leased(database, "b", Ask(0, 1, seconds=5.0))
    await database.write(quotas.return_lease, "gpt", "a", first.ends_at, 4.0)
    assert (await leased(database, "c", Ask(0, 1, seconds=1.0))).begins_at == clock.now() + 10


async def test_slots_are_divided_among_those_that_want_them_and_none_is_given_twice(
    database: Database,
) -> None:
    assert await slots(database, "a", 0, 6) == 6, "who is alone has all"
    assert await slots(database, "b", 0, 6) == 0, "they are in use"
    assert await slots(database, "a", 5, 6) == 3, "two calls more are to end before b has its share"
    assert await slots(database, "b", 0, 6) == 1
    assert await slots(database, "a", 3, 6) == 3
    assert await slots(database, "b", 1, 6) == 3


async def test_what_an_idle_node_does_not_want_the_busy_one_uses(database: Database) -> None:
    assert await slots(database, "idle", 0, 1) == 1
    assert await slots(database, "busy", 0, 6) == 5
    await database.write(quotas.return_lease, "gpt", "idle", None, 0.0)
    assert await slots(database, "busy", 5, 6) == 6


async def test_one_slot_goes_round_among_those_that_wait(database: Database, clock: FakeClock) -> None:
    holder, served = "", []
    for _ in range(9):
        clock.advance(1)
        for node in ("a", "b", "c"):
            if await slots(database, node, 0, 1, most=1):
                holder = node
        served.append(holder)
        await slots(database, holder, 1, 2, most=1)
        await slots(database, holder, 0, 1, most=1)
    assert {served.count(node) for node in "abc"} == {3}


async def test_the_slots_of_a_node_that_died_are_given_to_others(
    database: Database, clock: FakeClock
) -> None:
    await slots(database, "dead", 6, 6)
    clock.advance(LEASE_SECONDS - 1)
    assert await slots(database, "a", 0, 6) == 0
    assert await database.read(quotas.count_in_flight) == {"gpt": 6}
    clock.advance(1)
    assert await slots(database, "a", 0, 6) == 6
    assert await database.read(quotas.count_in_flight) == {"gpt": 0}


async def test_patience_that_one_node_was_asked_for_binds_all(database: Database, clock: FakeClock) -> None:
    now = clock.now()
    await leased(database, "a", Ask(1, 1, patience_seconds=30.0))
    told = await leased(database, "b", Ask(0, 1, seconds=1.0))
    assert (told.held_until, told.begins_at) == (now + 30, now + 30)
    await leased(database, "a", Ask(1, 1, patience_seconds=5.0))
    assert (await leased(database, "b", Ask(0, 1))).held_until == now + 30, "the longest holds"


async def test_a_schedule_planned_by_a_clock_that_was_set_back_counts_no_more(
    database: Database, clock: FakeClock
) -> None:
    await leased(database, "a", Ask(0, 1, seconds=1.0))
    clock.jump(-86_400)
    assert (await leased(database, "a", Ask(0, 1, seconds=1.0))).begins_at == clock.now()
