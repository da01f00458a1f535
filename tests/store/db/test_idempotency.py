from __future__ import annotations

import json

import pytest

from tests.clock import FakeClock
from vvwatch.config import Retention
from vvwatch.errors import NotFound, RequestMismatch
from vvwatch.store.catalog import catalog
from vvwatch.store.db import idempotency
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.db.idempotency import KEPT_SECONDS, Answer, Claim
from vvwatch.store.schema import receipts as table
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.upkeep.housekeeping import Pruner

pytestmark = pytest.mark.anyio

BOX = SecretBox(b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
CLAIM = Claim("one", "content")


def told(index_id: str) -> Answer:
    return Answer(201, json.dumps({"index_id": index_id}))


def effect(tx: Tx) -> str:
    return str(catalog.create_index(tx, "films").id)


async def once(database: Database, claim: Claim = CLAIM) -> tuple[Answer, str | None]:
    return await database.write(idempotency.run_once, BOX, claim, effect, told)


async def count(database: Database) -> tuple[int, int]:
    def counted(tx: Tx) -> tuple[int, int]:
        return len(catalog.list_indexes(tx)), len(tx.all(table.select()))

    return await database.read(counted)


async def test_the_effect_happens_once(database: Database) -> None:
    answer, made = await once(database)
    assert made is not None
    assert await once(database) == (answer, None)
    assert await count(database) == (1, 1)


async def test_another_content_is_refused(database: Database) -> None:
    await once(database)
    with pytest.raises(RequestMismatch):
        await once(database, Claim("one", "another"))
    await once(database, Claim("two", "another"))
    assert await count(database) == (2, 2)


async def test_what_fails_leaves_no_receipt(database: Database) -> None:
    def fails(tx: Tx) -> str:
        effect(tx)
        raise NotFound("index", "idx_none")

    with pytest.raises(NotFound):
        await database.write(idempotency.run_once, BOX, CLAIM, fails, told)
    assert await count(database) == (0, 0)


async def test_a_receipt_counts_for_a_day(database: Database, clock: FakeClock) -> None:
    await once(database)
    clock.advance(KEPT_SECONDS - 1)
    assert (await once(database))[1] is None
    clock.advance(1)
    assert (await once(database))[1] is not None
    assert await count(database) == (2, 1)


async def test_a_receipt_is_sealed(database: Database) -> None:
    claim = Claim("one", "the digest of what was asked")
    secret = Answer(201, '{"secret": "whsec_x"}')
    await database.write(idempotency.run_once, BOX, claim, effect, lambda _: secret)
    [row] = await database.read(lambda tx: tx.all(table.select()))
    assert b"whsec" not in row.answer
    assert b"digest" not in row.answer
    assert "whsec" not in repr(secret)
    assert (await once(database, claim))[0] == secret


async def test_what_followed_is_answered_from_then_on(database: Database) -> None:
    await once(database)
    final = Answer(201, '{"status": "active"}')
    await database.write(idempotency.store_answer, BOX, CLAIM, final)
    assert await once(database) == (final, None)


async def test_old_receipts_are_dropped(database: Database, clock: FakeClock) -> None:
    await once(database)
    clock.advance(60)
    await once(database, Claim("two", ""))
    before = clock.now() - 60
    assert await database.read(idempotency.list_old, before, "") == ["one"]
    assert await database.read(idempotency.list_old, before, "one") == []
    assert await database.write(idempotency.delete_old, before, ["one", "two"]) == 1
    assert await count(database) == (2, 1)


async def test_housekeeping_drops_what_counts_no_more(database: Database, clock: FakeClock) -> None:
    async def nothing() -> int:
        return 0

    await once(database)
    clock.advance(KEPT_SECONDS)
    await once(database, Claim("two", ""))
    await Pruner(database, nothing, clock, Telemetry("test")).run(Retention())
    assert await count(database) == (2, 1)
