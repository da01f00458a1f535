from __future__ import annotations

import pytest

from tests.clock import FakeClock
from tests.store.footage import items, shot, started
from tests.store.pipeline import jobs_of
from tests.workflow.conftest import Told
from vvwatch.errors import AccessDenied, BudgetReached
from vvwatch.ports import Kind
from vvwatch.store.db.database import Database
from vvwatch.store.runs import runs
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.pauses import Pauses

pytestmark = pytest.mark.anyio

REFUSED = AccessDenied("the key is refused", "put another into gpt.key")


async def test_a_refused_key_is_told_once_and_lasts_until_another_is_configured(
    database: Database, telemetry: Telemetry, told: Told
) -> None:
    pauses = Pauses(database, telemetry, {"gpt": "old"})
    for _ in range(3):
        await pauses.pause("gpt", REFUSED)
    await pauses.renew()
    [(event, fields)] = told
    assert (event, fields["processor"], fields["reason"]) == ("processor.paused", "gpt", "access_denied")
    assert (fields["message"], fields["hint"]) == (REFUSED.message, REFUSED.hint)
    found = await pauses.paused("gpt")
    assert found is not None
    assert (found.message, found.until) == (REFUSED.message, None)
    told.clear()
    pauses = Pauses(database, telemetry, {"gpt": "new"})
    await pauses.renew()
    assert told.names() == ["processor.resumed"]
    assert await pauses.paused("gpt") is None


async def test_a_resumed_processor_goes_on_at_once(
    database: Database, clock: FakeClock, telemetry: Telemetry, told: Told
) -> None:
    pauses = Pauses(database, telemetry, {})
    await shot(database, 3)
    await started(database)
    for item in items(database):
        await database.write(runs.begin_item, item)
        await database.write(
            runs.retry_item, item, clock.now() + 300, "processor_paused", "refused", waits=True
        )
    jobs_of(database).take(Kind.RUN_ITEM)
    await pauses.pause("technical", REFUSED)
    assert await pauses.resume("technical")
    assert [job.run_at for job in jobs_of(database).take(Kind.RUN_ITEM)] == [clock.now()] * 3
    assert not await pauses.resume("technical")
    assert told.names() == ["processor.paused", "processor.resumed"]


async def test_what_waits_for_a_budget_that_pauses_nothing_is_due_after_a_start_and_when_a_person_says_so(
    database: Database, clock: FakeClock, telemetry: Telemetry, told: Told
) -> None:
    await shot(database, 1)
    await started(database)
    [item] = items(database)
    for again in (Pauses.renew, lambda pauses: pauses.resume("technical")):
        await database.write(runs.begin_item, item)
        await database.write(runs.retry_item, item, clock.now() + 300, "budget_reached", "spent", waits=True)
        jobs_of(database).take(Kind.RUN_ITEM)
        await again(Pauses(database, telemetry, {"technical": ""}))
        [item] = jobs_of(database).take(Kind.RUN_ITEM)
        assert item.run_at == clock.now()
    assert told.names() == []


async def test_a_budget_of_the_day_pauses_the_processor_and_one_of_a_run_only_tells(
    database: Database, clock: FakeClock, telemetry: Telemetry, told: Told
) -> None:
    pauses = Pauses(database, telemetry, {})
    of_the_run = BudgetReached("the run's money is spent", "raise per_run_usd")
    for _ in range(3):
        await pauses.note_budget("gpt", "run_1", of_the_run)
        await pauses.note_budget("gpt", "run_2", of_the_run)
    assert [(event, fields["run"]) for event, fields in told] == [
        ("budget.reached", "run_1"),
        ("budget.reached", "run_2"),
    ]
    assert await pauses.paused("gpt") is None
    told.clear()
    for _ in range(3):
        await pauses.note_budget(
            "gpt", "run_1", BudgetReached("the day's", "raise per_day_usd", clock.now() + 60)
        )
    [(event, fields)] = told
    assert (event, fields["reason"], fields["hint"]) == (
        "processor.paused",
        "budget_reached",
        "raise per_day_usd",
    )
    assert await pauses.paused("gpt") is not None
    clock.advance(60)
    assert await pauses.paused("gpt") is None
