from __future__ import annotations

import pytest

from tests.clock import FakeClock
from vvwatch.store.db.database import Database
from vvwatch.store.watching import quarantine
from vvwatch.store.watching.quarantine import MAX_KEPT_MESSAGES, RefusedMessage

pytestmark = pytest.mark.anyio


def refused(number: int, reason: str = "foreign", excerpt: str = "{}") -> RefusedMessage:
    return RefusedMessage(f"message {number:05}", reason, "it is about the bucket 'other'", excerpt)


async def test_a_message_stands_once_however_often_it_comes(database: Database, clock: FakeClock) -> None:
    first_at = clock.now()
    assert (
        await database.write(quarantine.keep_messages, "conn_a", [refused(1), refused(1)], deleted=False) == 1
    )
    clock.advance(60)
    again = [refused(1, "unmatched", "later"), refused(2)]
    assert await database.write(quarantine.keep_messages, "conn_a", again, deleted=True) == 1
    rows = await database.read(quarantine.list_messages, "conn_a", 10)
    assert [(row.message_id, row.times, row.reason) for row in rows] == [
        ("message 00001", 2, "unmatched"),
        ("message 00002", 1, "foreign"),
    ]
    assert (rows[0].first_seen_at, rows[0].last_seen_at) == (first_at, clock.now())
    assert (rows[0].excerpt, rows[0].deleted) == ("later", True)
    assert len(await database.read(quarantine.list_messages, "conn_a", 1)) == 1


async def test_noise_pushes_out_the_oldest_of_its_own_connector(database: Database, clock: FakeClock) -> None:
    await database.write(quarantine.keep_messages, "conn_quiet", [refused(0)], deleted=True)
    for batch in range(4):
        clock.advance(1)
        some = [refused(batch * 400 + number) for number in range(400)]
        await database.write(quarantine.keep_messages, "conn_noisy", some, deleted=True)
    rows = await database.read(quarantine.list_messages, "conn_noisy", 10_000)
    assert len(rows) == MAX_KEPT_MESSAGES
    assert {row.message_id for row in rows} > {refused(number).message_id for number in range(800, 1600)}
    assert len(await database.read(quarantine.list_messages, "conn_quiet", 10)) == 1


async def test_one_batch_may_be_larger_than_what_is_kept(database: Database) -> None:
    await database.write(
        quarantine.keep_messages, "c", [refused(number) for number in range(1_500)], deleted=True
    )
    assert len(await database.read(quarantine.list_messages, "c", 10_000)) == MAX_KEPT_MESSAGES


@pytest.mark.parametrize("hostile", ["\ud800" * 4_000, "é" * 5_000, "a\0b", "🎬" * 3_000])
async def test_what_came_from_outside_is_bounded_and_can_be_shown(database: Database, hostile: str) -> None:
    for _ in range(2):
        await database.write(
            quarantine.keep_messages,
            "c",
            [RefusedMessage(hostile, "malformed", hostile, hostile)],
            deleted=True,
        )
    [row] = await database.read(quarantine.list_messages, "c", 10)
    for text in (row.message_id, row.detail, row.excerpt):
        assert 0 < len(text.encode()) <= 2_048
    assert row.times == 2


async def test_a_connector_that_goes_takes_its_messages_along(database: Database) -> None:
    for connector in ("a", "b"):
        await database.write(quarantine.keep_messages, connector, [refused(1)], deleted=True)
    await database.write(quarantine.forget_messages, "a")
    assert [len(await database.read(quarantine.list_messages, name, 10)) for name in "ab"] == [0, 1]
