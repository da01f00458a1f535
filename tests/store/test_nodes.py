from __future__ import annotations

import pytest

from tests.clock import FakeClock
from vvwatch.store import catalog, nodes
from vvwatch.store.catalog import ConnectorSpec
from vvwatch.store.database import Database

pytestmark = pytest.mark.anyio


async def names(database: Database) -> list[tuple[str, tuple[str, ...]]]:
    return [(node.name, node.waiting) for node in await database.read(nodes.present)]


async def test_who_works_is_seen_and_who_left_is_not(database: Database, clock: FakeClock) -> None:
    for name in ("b", "a"):
        await database.write(nodes.note, name, "1.0", f"{name}:8787", clock.now())
    [a, _] = await database.read(nodes.present)
    assert (a.name, a.version, a.address, a.seen_at) == ("a", "1.0", "a:8787", clock.now())
    await database.write(nodes.leave, "a")
    assert await names(database) == [("b", ())]


async def test_a_node_that_is_gone_is_told_of_while_something_waits_for_it(
    database: Database, clock: FakeClock
) -> None:
    spec = ConnectorSpec("in", "local", {"root": "/in"}, node="a")
    await database.write(catalog.declare_connector, "conn_in", spec)
    assert await names(database) == [("a", ("conn_in",))]
    for name in ("a", "b"):
        await database.write(nodes.note, name, "1.0", "", clock.now())
    assert await names(database) == [("a", ()), ("b", ())]
    clock.advance(nodes.MISSING_SECONDS + 1)
    assert await names(database) == [("a", ("conn_in",))]
    clock.advance(2 * 86_400)
    await database.write(nodes.note, "c", "1.0", "", clock.now())
    assert await names(database) == [("a", ("conn_in",)), ("c", ())]
