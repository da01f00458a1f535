"""The audit trail in the database: a change and its entry, bounded rows, and how long they are kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clock import FakeClock
from vvwatch.config import Retention
from vvwatch.core.audit import CLI, Origin
from vvwatch.store.admin import audit
from vvwatch.store.admin.audit import AuditFilter
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.upkeep.housekeeping import Pruner

pytestmark = pytest.mark.anyio


def made(tx: Tx, name: str, details: dict[str, Any] | None = None) -> str:
    row = catalog.create_index(tx, name)
    audit.record(tx, Origin(CLI), "index.created", row.id, details)
    return str(row.id)


async def found(database: Database, **wanted: Any) -> list[Any]:
    return list(await database.read(audit.list_newest, AuditFilter(**wanted), None, 1000))


async def test_a_transaction_that_fails_leaves_neither_change_nor_entry(database: Database) -> None:
    def broken(tx: Tx) -> None:
        made(tx, "films")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await database.write(broken)
    assert await found(database) == []
    index_id = await database.write(made, "films")
    assert [row.resource_id for row in await found(database)] == [index_id]


async def test_a_row_is_bounded(database: Database) -> None:
    details = {"name": "x" * 100_000, "fields": ["f" * 1000] * 1000, "note": "", "number": 7}
    await database.write(made, "films", details)
    [row] = await found(database)
    assert row.details == {"name": "x" * 200, "fields": ["f" * 200] * 40, "number": 7}


async def test_entries_of_one_moment_keep_their_order(database: Database) -> None:
    ids = [await database.write(made, f"i{number}") for number in range(50)]
    rows = await found(database)
    assert [row.resource_id for row in rows] == ids[::-1]
    older = await database.read(audit.list_newest, AuditFilter(), rows[9].id, 1000)
    assert [row.resource_id for row in older] == ids[39::-1]


async def test_an_action_is_found_by_its_resource(database: Database) -> None:
    await database.write(made, "films")
    assert len(await found(database, action="index")) == 1
    assert len(await found(database, action="index.created")) == 1
    assert await found(database, action="ind") == []
    assert await found(database, action="index.deleted") == []


async def test_entries_are_kept_for_as_long_as_the_configuration_says(
    database: Database, clock: FakeClock
) -> None:
    async def nothing() -> int:
        return 0

    pruning = Pruner(database, nothing, clock, Telemetry("test"))
    for number in range(audit.AT_ONCE + 5):
        await database.write(made, f"i{number}")
    clock.advance(364 * 86_400)
    await database.write(made, "young")
    await pruning.run(Retention())
    assert len(await found(database)) == audit.AT_ONCE + 6
    clock.advance(86_401)
    await pruning.run(Retention(audit="forever"))
    assert len(await found(database)) == audit.AT_ONCE + 6
    await pruning.run(Retention())
    assert len(await found(database)) == 1
