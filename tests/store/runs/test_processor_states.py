from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.store.footage import items, shot, started
from tests.store.pipeline import jobs_of
from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.core.processors import SPEECH_ENDPOINT
from vvwatch.ports import Job, Kind
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.runs import processor_states, runs, segment_retries
from vvwatch.store.runs.processor_states import Pause
from vvwatch.store.schema import events, exports

pytestmark = pytest.mark.anyio

REFUSED = Pause("access_denied", "the key is refused", "put another into gpt.key", fingerprint="old")


async def paused(database: Database, *names: str) -> dict[str, tuple[str, str, float | None]]:
    found = await database.read(processor_states.find_pauses, names)
    return {name: (error.message, error.hint, error.until) for name, error in found.items()}


async def announced(database: Database) -> list[tuple[str, dict[str, Any]]]:
    chosen = sa.select(events.c.type, events.c.data).where(events.c.type.like("processor.%"))
    return [(row.type, row.data) for row in await database.read(Tx.all, chosen.order_by(events.c.id))]


async def test_a_pause_is_told_once_with_its_first_reason(database: Database) -> None:
    assert await database.write(processor_states.pause, "gpt", REFUSED)
    later = Pause("budget_reached", "the day's money is spent", until=2e9)
    assert not await database.write(processor_states.pause, "gpt", later)
    assert await paused(database, "gpt", "claude") == {
        "gpt": ("the key is refused", "put another into gpt.key", None)
    }
    [row] = await database.read(processor_states.list_paused)
    assert (row.name, row.code) == ("gpt", "access_denied")
    [(event, data)] = await announced(database)
    assert event == "processor.paused"
    assert data == {
        "processor": "gpt",
        "scope": "all",
        "code": "access_denied",
        "message": "the key is refused",
        "hint": "put another into gpt.key",
        "until": None,
    }


async def test_a_person_ends_a_pause_and_it_may_come_again(database: Database, clock: FakeClock) -> None:
    assert not await database.write(processor_states.resume, "gpt")
    await database.write(processor_states.pause, "gpt", REFUSED)
    assert await database.write(processor_states.resume, "gpt")
    assert await paused(database, "gpt") == {}
    clock.advance(1)
    assert await database.write(processor_states.pause, "gpt", REFUSED)
    told = [event for event, _ in await announced(database)]
    assert told == ["processor.paused", "processor.resumed", "processor.paused"]


async def test_a_pause_with_an_end_ends_by_itself(database: Database, clock: FakeClock) -> None:
    await database.write(
        processor_states.pause, "gpt", Pause("budget_reached", "spent", until=clock.now() + 60)
    )
    clock.advance(59)
    assert await paused(database, "gpt")
    clock.advance(1)
    assert await paused(database, "gpt") == {}
    assert await database.write(processor_states.pause, "gpt", REFUSED)


async def test_a_pause_ends_when_the_configuration_is_another_one(database: Database) -> None:
    await database.write(processor_states.pause, "gpt", REFUSED)
    assert await database.write(processor_states.resume_reconfigured, {"gpt": "old", "other": "new"}) == []
    assert await database.write(processor_states.resume_reconfigured, {"gpt": "new"}) == ["gpt"]
    assert await paused(database, "gpt") == {}


async def test_a_processor_that_is_gone_from_the_configuration_is_not_paused(database: Database) -> None:
    """Nobody could resume it, and its runs would wait for ever."""
    await database.write(processor_states.pause, "gone", REFUSED)
    assert await database.write(processor_states.resume_reconfigured, {"gpt": "new"}) == ["gone"]
    assert await paused(database, "gone") == {}


async def waiting_item(database: Database, clock: FakeClock) -> Job:
    """An item that was tried once and waits for five minutes; the job that is put for then."""
    await shot(database, 1)
    await started(database)
    [item] = items(database)
    await database.write(runs.begin_item, item)
    await database.write(
        runs.retry_item, item, clock.now() + 300, "processor_paused", "the key is refused", waits=True
    )
    return jobs_of(database).take(Kind.RUN_ITEM)[-1]


async def test_what_waits_for_a_processor_is_due_when_it_is_resumed(
    database: Database, clock: FakeClock
) -> None:
    waiting = await waiting_item(database, clock)
    assert await database.write(processor_states.retry_waiting, "gpt") == 0
    assert jobs_of(database).take(Kind.RUN_ITEM) == [], "it waits for another one"
    assert await database.write(processor_states.retry_waiting, "technical") == 1
    [due] = jobs_of(database).take(Kind.RUN_ITEM)
    assert (due.ref, due.run_at) == (waiting.ref, clock.now())
    assert due.revision > waiting.revision
    assert await database.write(processor_states.retry_waiting, "technical") == 0


async def test_what_waits_is_due_when_transcription_is_resumed_whatever_processor_it_has(
    database: Database, clock: FakeClock
) -> None:
    waiting = await waiting_item(database, clock)
    assert await database.write(processor_states.retry_waiting, SPEECH_ENDPOINT) == 1
    [due] = jobs_of(database).take(Kind.RUN_ITEM)
    assert (due.ref, due.run_at) == (waiting.ref, clock.now())
    assert await database.write(processor_states.retry_waiting, SPEECH_ENDPOINT) == 0


async def test_a_retry_that_waits_is_due_as_well(database: Database, clock: FakeClock) -> None:
    [video] = await shot(database, 1)
    run_id = await started(database)
    [item] = items(database)
    await database.write(runs.begin_item, item)
    await database.write(runs.fail_item, item, "media_unreadable", "it is cut short")
    await database.write(lambda tx: tx.execute(sa.update(exports).values(status="completed")))
    await database.write(segment_retries.request, run_id, video, segment_id(int(item.ref), WHOLE))
    [retry] = jobs_of(database).take(Kind.SEGMENT_RETRY)
    await database.write(segment_retries.begin, retry)
    await database.write(
        segment_retries.retry_later, retry, clock.now() + 300, "the key is refused", waits=True
    )
    jobs_of(database).take(Kind.SEGMENT_RETRY)
    assert await database.write(processor_states.retry_waiting, "technical") == 1
    [due] = jobs_of(database).take(Kind.SEGMENT_RETRY)
    assert due.run_at == clock.now()
