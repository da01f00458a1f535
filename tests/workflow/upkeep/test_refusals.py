"""Refused requests: a flood of them is few rows, and loses no count while the database is away."""

from __future__ import annotations

import pytest

from tests.clock import FakeClock
from vvwatch.core.audit import Origin, Reason
from vvwatch.errors import StoreUnavailable
from vvwatch.store.admin import audit
from vvwatch.store.admin.audit import AuditFilter
from vvwatch.store.db.database import Database
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.upkeep.refusals import OTHERS, RefusedRequests

pytestmark = pytest.mark.anyio


@pytest.fixture
def refused(database: Database, clock: FakeClock) -> RefusedRequests:
    return RefusedRequests(database, clock, Telemetry("test"))


async def rows(database: Database) -> list[tuple[str, int]]:
    found = await database.read(audit.list_newest, AuditFilter(), None, 1000)
    return [(row.address, row.times) for row in found]


async def test_a_flood_from_many_addresses_is_few_rows(
    refused: RefusedRequests, database: Database, clock: FakeClock
) -> None:
    for number in range(10_000):
        refused.note(Reason.UNKNOWN_KEY, Origin("", address=f"2001:db8::{number:x}"))
        if number % 1000 == 0:
            clock.advance(60)
            await refused.flush()
    await refused.flush()
    found = dict(await rows(database))
    assert len(found) == 51
    assert sum(found.values()) == 10_000
    assert found[OTHERS] == 9_950


async def test_a_row_counts_for_an_hour(
    refused: RefusedRequests, database: Database, clock: FakeClock
) -> None:
    for _ in range(4):
        refused.note(Reason.SCOPE, Origin("key_1", address="10.0.0.1"))
        clock.advance(1200)
        await refused.flush()
    assert [times for _, times in await rows(database)] == [1, 3]


async def test_what_cannot_be_kept_is_kept_later(
    refused: RefusedRequests, database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_args: object) -> None:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as outage:
        outage.setattr(database, "write", away)
        for _ in range(5):
            refused.note(Reason.UNKNOWN_KEY, Origin("", address="10.0.0.1"))
            await refused.flush()
            clock.advance(3600)
    await refused.flush()
    assert sum(times for _, times in await rows(database)) == 5
    assert len(await rows(database)) <= 2


async def test_nothing_is_written_while_nothing_is_refused(
    refused: RefusedRequests, database: Database
) -> None:
    refused.note(Reason.NO_KEY, Origin(""))
    await refused.flush()
    before = database.traffic.transactions
    await refused.flush()
    assert database.traffic.transactions == before
