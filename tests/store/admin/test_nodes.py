from __future__ import annotations

import pytest

from tests.clock import FakeClock
from vvwatch.store.admin import nodes
from vvwatch.store.admin.nodes import Life
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec
from vvwatch.store.db.database import Database

pytestmark = pytest.mark.anyio


async def names(database: Database) -> list[tuple[str, tuple[str, ...]]]:
    return [(node.name, node.waiting) for node in await database.read(nodes.list_nodes)]


async def seen(database: Database, clock: FakeClock, name: str, started_at: float = 0.0) -> float | None:
    life = Life(name, "1.0", f"{name}:8787", started_at or clock.now(), 15.0, {"import_file": 2})
    return await database.write(nodes.record_life, life)


async def test_who_works_is_seen_and_who_left_is_not(database: Database, clock: FakeClock) -> None:
    for name in ("b", "a"):
        assert await seen(database, clock, name) is None
    [a, _] = await database.read(nodes.list_nodes)
    assert (a.name, a.version, a.address, a.seen_at) == ("a", "1.0", "a:8787", clock.now())
    await database.write(nodes.remove_node, "a")
    clock.advance(16)
    await seen(database, clock, "b", clock.now() - 16)
    assert await names(database) == [("b", ())]
    assert await database.write(nodes.claim_lost) == [], "who says goodbye is not missed"
    assert await database.read(nodes.count_lost) == 0


async def test_a_node_that_is_silent_for_its_heartbeat_is_missed_once_with_what_it_held(
    database: Database, clock: FakeClock
) -> None:
    began = clock.now()
    for name in ("a", "b", "c"):
        await seen(database, clock, name, began)
    clock.advance(14)
    for name in ("b", "c"):
        await seen(database, clock, name, began)
    assert await database.write(nodes.claim_lost) == []
    clock.advance(2)
    [missed] = await database.write(nodes.claim_lost)
    assert (missed.name, missed.lost_at, missed.held) == ("a", began, {"import_file": 2})
    assert await database.write(nodes.claim_lost) == [], "one of the others tells it"
    assert [each.lost_at for each in await database.read(nodes.list_nodes)] == [began, None, None]
    assert await database.read(nodes.count_lost) == 1


async def test_a_node_that_is_lost_is_told_for_a_day_or_until_it_is_back(
    database: Database, clock: FakeClock
) -> None:
    began = clock.now()
    for name in ("a", "b"):
        await seen(database, clock, name, began)
    clock.advance(nodes.REPORTED_SECONDS - 1)
    assert [name for name, _ in await names(database)] == ["a", "b"]
    assert await seen(database, clock, "b") == began, "it says what it was silent for"
    assert [each.lost_at for each in await database.read(nodes.list_nodes)] == [began, None]
    clock.advance(2)
    await seen(database, clock, "b")
    assert await names(database) == [("b", ())]


async def test_a_node_that_ended_without_a_word_and_is_back_at_once_knows(
    database: Database, clock: FakeClock
) -> None:
    died = clock.now()
    await seen(database, clock, "a", died - 100)
    clock.advance(3)
    assert await seen(database, clock, "a", clock.now()) == died
    assert await seen(database, clock, "a", clock.now()) is None
    assert await database.write(nodes.claim_lost) == []


async def test_a_node_that_is_gone_is_told_of_while_something_waits_for_it(
    database: Database, clock: FakeClock
) -> None:
    spec = ConnectorSpec("in", "local", {"root": "/in"}, node="a")
    await database.write(catalog.declare_connector, "conn_in", spec)
    assert await names(database) == [("a", ("conn_in",))]
    for name in ("a", "b"):
        await seen(database, clock, name)
    assert await names(database) == [("a", ()), ("b", ())]
    clock.advance(16)
    assert await names(database) == [("a", ("conn_in",)), ("b", ())]
    clock.advance(2 * 86_400)
    await seen(database, clock, "c")
    assert await names(database) == [("a", ("conn_in",)), ("c", ())]
