"""The journal of an item: what was paid for is there after a crash, and is neither asked for nor counted twice."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.databases import Databases
from tests.store.footage import GOOD, INDEX, items, shot, started
from tests.store.pipeline import RecordingSink, jobs_of
from vvwatch.core.budgets import NO_BUDGETS, Budget, Budgets, day_scope, item_scope, month_scope, run_scope
from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.core.media import Plan, Probe, Segment
from vvwatch.core.money import CallStatus, Usage
from vvwatch.errors import BudgetHeld, BudgetReached, ProcessorPaused, RunStopped, Superseded
from vvwatch.ports import Kind
from vvwatch.ports.processing import Call, CallIntent
from vvwatch.store.admin import clearing, deletions, invariants, retention
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.postgres import PostgresDatabase
from vvwatch.store.models.admin import Deletion
from vvwatch.store.runs import course, runs, segment_retries
from vvwatch.store.runs.journal import Owner
from vvwatch.store.schema import exports, llm_calls, processor_states, segment_results, spending
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.journal import CallLedger, ItemJournal

pytestmark = pytest.mark.anyio

CENT = Usage(1000, 200, 0.01)
FOUND = Segment(2.0, 4.0, {"subject": "a cat"}, "a cat")
PLAN = Plan(
    ((0.0, 2.0), (2.0, 4.0)),
    ("it is cut short",),
    ("no sound",),
    Probe("video", "mp4", 4.0, damage=("x",)),
    shots=(1.5, 2.0),
    sound_track=1,
)


def intent(ordinal: int = 0, **changes: Any) -> CallIntent:
    return replace(CallIntent(ordinal, "segment", 0, "gpt", CENT), **changes)


class Life:
    """One item of a run that is under way, and the journal of the process that works on it."""

    def __init__(self, database: Database, owner: Owner, budgets: Budgets = NO_BUDGETS) -> None:
        self.database = database
        self.owner = owner
        self.journal = ItemJournal(CallLedger(database, Telemetry("test"), budgets), owner)

    def again(self, budgets: Budgets = NO_BUDGETS) -> Life:
        """The next life of the process, which remembers nothing."""
        return Life(self.database, self.owner, budgets)

    async def answered(self, ordinal: int = 0, usage: Usage = CENT, **told: Any) -> str:
        call = await self.journal.begin_call(intent(ordinal))
        await self.journal.end_call(call, CallStatus.COMPLETED, usage, answer="{}", **told)
        return call.key

    async def spent(self, scope: str) -> tuple[int, ...]:
        """Calls, cost and reservations in millionths of a dollar, and calls without a price."""
        chosen = sa.select(spending).where(spending.c.scope == scope)
        row = await self.database.read(lambda tx: tx.execute(chosen).one())
        return row.calls, row.cost_nanousd // 1000, row.reserved_nanousd // 1000, row.unpriced_calls


async def begun(database: Database, budgets: Budgets = NO_BUDGETS) -> Life:
    await shot(database, 1)
    run_id = await started(database)
    [job] = items(database)
    work = await database.write(runs.begin_item, job)
    assert work is not None
    return Life(
        database, Owner(job, run_id, work.item.id, work.media.id, "technical", work.item.attempts), budgets
    )


@pytest.fixture
async def life(database: Database) -> Life:
    return await begun(database)


async def rows(database: Database, table: sa.Table) -> list[sa.Row[Any]]:
    chosen = sa.select(table).order_by(*table.primary_key)
    return await database.read(lambda tx: list(tx.all(chosen)))


async def test_the_next_life_finds_the_cuts_the_segments_and_the_note(life: Life) -> None:
    journal = life.journal
    assert (await journal.plan(), await journal.segments(), await journal.noted()) == (None, {}, {})
    await journal.keep_plan(PLAN)
    await journal.keep_segment(1, FOUND)
    await journal.note({"job": "job_1"})
    await journal.note({"job": "job_2"})
    later = life.again().journal
    assert await later.plan() == PLAN
    assert await later.segments() == {1: FOUND}
    assert await later.noted() == {"job": "job_2"}


async def test_a_call_that_was_answered_is_not_made_again(life: Life) -> None:
    key = await life.answered(segment=(0, GOOD))
    call = await life.again().journal.begin_call(intent())
    assert (call.key, call.answer) == (key, "{}")
    assert await life.again().journal.segments() == {0: GOOD}
    assert await life.spent(run_scope(life.owner.run_id)) == (1, 10_000, 0, 0)


@pytest.mark.parametrize(
    "usage", [Usage(10**30, 10**30, 1e300), Usage(1, 1, float("inf")), Usage(-1, 0, float("nan"))]
)
async def test_nonsense_that_a_call_says_it_cost_stops_nobody_else(life: Life, usage: Usage) -> None:
    for ordinal in range(3):
        await life.answered(ordinal, usage)
    await life.answered(3)
    calls, cost, reserved, unpriced = await life.spent(run_scope(life.owner.run_id))
    assert (calls, reserved) == (4, 0)
    assert (cost, unpriced) == ((10_000, 3) if usage.input_tokens < 0 else (3_000_000_010_000, 0))


async def test_counts_stop_before_they_overflow(life: Life) -> None:
    await life.answered(0)
    await life.database.write(lambda tx: tx.execute(sa.update(spending).values(cost_nanousd=2**62 + 1)))
    await life.answered(1)
    assert (await life.spent(run_scope(life.owner.run_id)))[1] == (2**62 + 1) // 1000


async def test_a_call_of_which_nobody_knows_has_the_same_key_and_is_held_once(life: Life) -> None:
    first = await life.journal.begin_call(intent())
    again = await life.again().journal.begin_call(intent())
    assert (first.key, first.id, first.answer) == (again.key, again.id, None)
    assert len(first.key) <= 64
    assert await life.spent(item_scope(life.owner.item_id)) == (1, 0, 10_000, 0)


async def test_other_questions_have_other_keys(life: Life) -> None:
    asked = [
        intent(),
        intent(1),
        intent(WHOLE),
        intent(step=1),
        intent(purpose="reduce"),
        intent(variant="b"),
    ]
    keys = {(await life.journal.begin_call(each)).key for each in asked}
    assert len(keys) == len(asked)


async def test_an_answer_counts_in_whatever_form_the_question_is_asked_again(life: Life) -> None:
    refused = await life.journal.begin_call(intent())
    await life.journal.end_call(refused, CallStatus.FAILED, Usage(), error="no json_schema")
    call = await life.journal.begin_call(intent(variant="json_object"))
    await life.journal.end_call(call, CallStatus.COMPLETED, CENT, answer="{}")
    replayed = await life.again().journal.begin_call(intent())
    assert (replayed.key, replayed.answer) == (call.key, "{}")


async def test_a_call_that_failed_is_made_again_under_its_key_and_both_are_counted(life: Life) -> None:
    call = await life.journal.begin_call(intent())
    await life.journal.end_call(call, CallStatus.FAILED, Usage(10, 0, 0.002), error="cut off")
    await life.journal.end_call(call, CallStatus.FAILED, Usage(10, 0, 0.002), error="told twice")
    assert await life.answered() == call.key
    assert await life.spent(run_scope(life.owner.run_id)) == (2, 12_000, 0, 0)
    [row] = await rows(life.database, llm_calls)
    assert (row.attempts, row.input_tokens, row.cost_nanousd) == (2, 1010, 12_000_000)


async def test_an_unknown_price_is_not_zero(life: Life) -> None:
    await life.answered(usage=Usage(1000, 200))
    await life.answered(1)
    assert await life.spent(run_scope(life.owner.run_id)) == (2, 10_000, 0, 1)
    assert [row.cost_nanousd for row in await rows(life.database, llm_calls)] == [None, 10_000_000]


async def test_each_call_is_counted_in_its_item_run_day_and_month(life: Life, clock: FakeClock) -> None:
    await life.answered()
    now, owner = clock.now(), life.owner
    for scope in (
        item_scope(owner.item_id),
        run_scope(owner.run_id),
        *(period(now, name) for period in (day_scope, month_scope) for name in ("", "technical")),
    ):
        assert await life.spent(scope) == (1, 10_000, 0, 0)


async def test_a_cancelled_run_begins_nothing_and_keeps_what_it_has(life: Life) -> None:
    call = await life.journal.begin_call(intent())
    await life.database.write(course.cancel, life.owner.run_id, "key_1")
    with pytest.raises(RunStopped):
        await life.journal.begin_call(intent(1))
    await life.journal.end_call(call, CallStatus.COMPLETED, CENT, segment=(0, GOOD))
    assert await life.journal.segments() == {0: GOOD}


async def test_of_two_that_work_on_one_item_only_the_later_pays_and_what_the_other_paid_for_is_kept(
    life: Life,
) -> None:
    """The engine gives a job away when its node is silent; that node may be frozen, and wake up."""
    paid = await life.journal.begin_call(intent(0))
    failing = await life.journal.begin_call(intent(1))
    assert await life.database.write(runs.begin_item, life.owner.job) is not None
    later = Life(life.database, replace(life.owner, attempt=life.owner.attempt + 1))
    again = await later.journal.begin_call(intent(1))
    for late in (
        life.journal.end_call(paid, CallStatus.COMPLETED, CENT, answer="{}", segment=(0, GOOD)),
        life.journal.end_call(failing, CallStatus.FAILED, Usage(), error="no answer for a minute"),
        life.journal.begin_call(intent(2)),
        life.journal.keep_segment(2, FOUND),
        life.journal.note({}),
        life.journal.plan(),
        life.journal.segments(),
    ):
        with pytest.raises(Superseded):
            await late
    assert (await later.journal.begin_call(intent(0))).answer == "{}"
    assert await later.journal.segments() == {0: GOOD}
    await later.journal.end_call(again, CallStatus.COMPLETED, CENT, answer="{}")
    assert await later.spent(run_scope(life.owner.run_id)) == (2, 20_000, 0, 0)


@pytest.mark.parametrize("goes", ["results", "video", "index"])
async def test_a_retry_whose_results_go_pays_for_nothing_more_and_holds_no_money(
    life: Life, goes: str
) -> None:
    database, run_id = life.database, life.owner.run_id
    await database.write(runs.fail_item, life.owner.job, "media_unreadable", "it is cut short")
    await database.write(lambda tx: tx.execute(sa.update(exports).values(status="completed")))
    named = segment_id(life.owner.item_id, WHOLE)
    await database.write(segment_retries.request, run_id, life.owner.media_id, named)
    [job] = jobs_of(database).take(Kind.SEGMENT_RETRY)
    await database.write(segment_retries.begin, job)
    retry = Life(database, replace(life.owner, job=job, attempt=1, generation=job.ref))
    under_way = await retry.journal.begin_call(intent())
    if goes == "results":
        assert await database.write(retention.begin_dropping, 2e9, run_id)
        await database.write(retention.drop_results, retention.Portion((life.owner.item_id,)))
    elif goes == "video":
        await database.write(deletions.delete_video, life.owner.media_id)
    else:
        begun = await database.write(_begin_to_delete_the_index)
        await database.write(deletions.stop_work, begun)
        while await database.write(clearing._clear_runs, INDEX):
            pass
    with pytest.raises((RunStopped, Superseded)):
        await retry.journal.begin_call(intent(1))
    with suppress(Superseded):
        await retry.journal.end_call(under_way, CallStatus.COMPLETED, CENT, answer="{}")
    assert await retry.spent(month_scope(database.clock.now())) == (1, 10_000, 0, 0)
    assert [each.name for each in await database.read(invariants.findings) if each.count] == []


def _begin_to_delete_the_index(tx: Tx) -> Deletion:
    return deletions._begin(tx, deletions.INDEX, INDEX)


async def test_a_paused_processor_is_asked_nothing(life: Life, clock: FakeClock) -> None:
    state = {
        "name": "technical",
        "paused_at": clock.now(),
        "message": "the key is refused",
        "hint": "mend it",
    }
    await life.answered()
    await life.database.write(lambda tx: tx.insert(processor_states, **state, until=clock.now() + 60))
    with pytest.raises(ProcessorPaused, match="the key is refused") as raised:
        await life.journal.begin_call(intent(1))
    assert raised.value.until == clock.now() + 60
    assert (await life.journal.begin_call(intent())).answer == "{}"
    clock.advance(60)
    await life.journal.begin_call(intent(1))


async def test_who_lost_the_item_records_nothing(life: Life) -> None:
    call = await life.journal.begin_call(intent())
    await life.database.write(runs.fail_item, life.owner.job, "media_unreadable", "moov atom not found")
    journal = life.journal
    for attempt in (
        lambda: journal.begin_call(intent(1)),
        lambda: journal.end_call(call, CallStatus.COMPLETED, CENT, segment=(0, GOOD)),
        lambda: journal.keep_segment(0, GOOD),
        lambda: journal.keep_plan(PLAN),
        lambda: journal.note({}),
        journal.plan,
        journal.segments,
        journal.noted,
    ):
        with pytest.raises(Superseded):
            await attempt()
    assert await rows(life.database, segment_results) == []


async def test_a_budget_holds_what_calls_under_way_may_cost(database: Database) -> None:
    life = await begun(database, Budgets(Budget(per_run_usd=0.025)))
    call = await life.journal.begin_call(intent())
    await life.journal.begin_call(intent(1))
    with pytest.raises(BudgetHeld, match=r"per_run_usd"):
        await life.journal.begin_call(intent(2))
    await life.journal.end_call(call, CallStatus.COMPLETED, Usage(100, 20, 0.001), answer="{}")
    await life.journal.begin_call(intent(2))


@pytest.mark.parametrize(
    ("budget", "until"),
    [
        (Budget(per_item_usd=0.01), None),
        (Budget(per_day_usd=0.01), "day"),
        (Budget(per_month_usd=0.01), "month"),
        (Budget(per_day_calls=1), "day"),
    ],
)
@pytest.mark.parametrize("table", ["all", "own"])
async def test_a_budget_that_is_used_up_says_until_when(
    database: Database, clock: FakeClock, budget: Budget, until: str | None, table: str
) -> None:
    budgets = Budgets(budget) if table == "all" else Budgets(by_processor={"technical": budget})
    life = await begun(database, budgets)
    await life.answered()
    with pytest.raises(BudgetReached) as raised:
        await life.journal.begin_call(intent(1))
    if until is None:
        assert raised.value.until is None
        return
    assert raised.value.until is not None
    clock.advance(raised.value.until - clock.now())
    await life.journal.begin_call(intent(1))
    assert clock.now() % 86_400 == 0


async def test_a_budget_of_another_processor_limits_nothing_here(database: Database) -> None:
    life = await begun(database, Budgets(by_processor={"gpt": Budget(per_day_usd=0.0)}))
    await life.answered()


async def test_no_price_and_a_budget_in_dollars_do_not_go_together(database: Database) -> None:
    life = await begun(database, Budgets(Budget(per_month_usd=100.0)))
    with pytest.raises(BudgetReached, match="nobody knows") as raised:
        await life.journal.begin_call(intent(estimate=Usage(1000, 200)))
    assert "[processors.technical.prices]" in raised.value.hint


async def test_three_replicas_spend_a_budget_to_its_edge_and_never_beyond(
    databases: Databases, clock: FakeClock
) -> None:
    """What fits is not refused, and what is refused does not fit, however many ask at once."""
    budgets = Budgets(Budget(per_day_usd=1.0))
    with databases.fresh("postgresql", clock) as first:
        first.sink = RecordingSink()
        async with first.opened(), AsyncExitStack() as stack:
            others = [PostgresDatabase(databases.url, clock) for _ in range(2)]
            for other in others:
                await stack.enter_async_context(other.opened())
            await shot(first, 3)
            run_id = await started(first)
            lives = []
            for database, job in zip((first, *others), items(first), strict=True):
                work = await first.write(runs.begin_item, job)
                assert work is not None
                lives.append(
                    Life(
                        database,
                        Owner(job, run_id, work.item.id, work.media.id, "gpt", work.item.attempts),
                        budgets,
                    )
                )
            begun, refused = await _all_at_once(lives, each=70)
            assert (begun, refused) == (100, 110)
            assert await lives[0].spent(day_scope(clock.now())) == (100, 500_000, 0, 0)
            assert [each.count for each in await first.read(invariants.findings) if each.count] == []


async def _all_at_once(lives: list[Life], each: int) -> tuple[int, int]:
    """Begin so many calls of a cent in every life, then end them at half a cent; how many began, how many not."""
    begun: list[tuple[Life, Call]] = []
    refused: list[BudgetHeld] = []

    async def begin(life: Life, ordinal: int) -> None:
        try:
            begun.append((life, await life.journal.begin_call(intent(ordinal))))
        except BudgetHeld as error:
            refused.append(error)

    async def end(life: Life, call: Call) -> None:
        await life.journal.end_call(call, CallStatus.COMPLETED, Usage(1, 1, 0.005))

    async with anyio.create_task_group() as tasks:
        for ordinal in range(each):
            for life in lives:
                tasks.start_soon(begin, life, ordinal)
    async with anyio.create_task_group() as tasks:
        for life, call in begun:
            tasks.start_soon(end, life, call)
    return len(begun), len(refused)
