"""Partial work is kept: whatever ends an item's processing, its segments stay, and all that counts them adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.processing import FakeProcessor
from tests.store.footage import added_up, run_of, shot, started
from tests.store.pipeline import jobs_of
from tests.workflow.conftest import Told
from vvwatch.core.budgets import Budget, Budgets, run_scope
from vvwatch.core.exports import ExportStatus
from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.core.media import Plan, ProcessingResult, Segment
from vvwatch.core.money import CallStatus, Usage
from vvwatch.core.runs import ItemStatus, RunStatus
from vvwatch.errors import (
    Conflict,
    MediaUnreadable,
    ProcessorCrashed,
    ProcessorUnavailable,
    Superseded,
)
from vvwatch.ports import Kind
from vvwatch.ports.processing import CallIntent, Item
from vvwatch.store.admin import clearing, invariants, retention
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.delivery import exports as export_store
from vvwatch.store.delivery.export_runs import list_runs
from vvwatch.store.runs import course, journal, segment_retries
from vvwatch.store.runs import processor_states as processor_states_store
from vvwatch.store.schema import (
    exports,
    item_journals,
    llm_calls,
    media,
    processor_states,
    run_items,
    segment_results,
    spending,
)
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline import artifact
from vvwatch.workflow.pipeline.reading import Reading
from vvwatch.workflow.pipeline.runs import Runs

pytestmark = pytest.mark.anyio

PLAN = Plan(((0.0, 2.0), (2.0, 4.0), (4.0, 6.0)))
CENT = Usage(1000, 100, 0.01)


@dataclass
class Paying(FakeProcessor):
    """A processor that pays for each segment of three, one after the other.

    `trouble` is raised before the segment of that number is asked; `bad` are answered with an error. `asked` lists
    the keys that were really asked.
    """

    trouble: Mapping[int, Exception] = field(default_factory=dict)
    bad: set[int] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    lives: int = 0
    planned: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    async def process(self, item: Item) -> ProcessingResult:
        self.lives += 1
        async with item.open():
            journal = item.journal
            if await journal.plan() is None:
                self.planned += 1
                await journal.keep_plan(PLAN)
            done = dict(await journal.segments())
            wanted = range(3) if item.only is None else [item.only]
            for ordinal in wanted:
                if ordinal not in done:
                    done[ordinal] = await self.ask(item, ordinal)
            return ProcessingResult(tuple(done[ordinal] for ordinal in range(3)), {"cuts": 2}, "two cuts")

    async def ask(self, item: Item, ordinal: int) -> Segment:
        if ordinal in self.trouble:
            raise self.trouble[ordinal]
        call = await item.journal.begin_call(CallIntent(ordinal, "segment", 0, "gpt", CENT))
        if call.answer is None:
            self.asked.append(call.key)
        error = "no JSON" if ordinal in self.bad else None
        start, end = PLAN.spans[ordinal]
        segment = Segment(start, end, {} if error else {"n": ordinal}, f"segment {ordinal}", error=error)
        kept = (ordinal, segment)
        await item.journal.end_call(call, CallStatus.COMPLETED, CENT, answer="{}", segment=kept)
        return segment


@dataclass
class Stage:
    """A run of one item by `processor`."""

    database: Database
    clock: FakeClock
    telemetry: Telemetry
    storage: FakeStorage
    processor: Paying
    run_id: str = ""
    video: str = ""
    budgets: Budgets = field(default_factory=Budgets)

    async def set_up(self) -> None:
        [self.video] = await shot(self.database, 1)
        obj = self.storage.put(f"{self.video}.mp4", b"mp4")
        await self.database.write(lambda tx: tx.update(media, self.video, version=obj.version))
        self.run_id = await started(self.database)

    @property
    def handling(self) -> Runs:
        """As after a start: it remembers nothing."""
        processors = {"technical": self.processor}
        reading = Reading(self.clock, lambda _: self.storage, self.processor, processors, 3, lambda: 0.5)
        return Runs(self.database, self.telemetry, reading, self.budgets)

    async def turn(self) -> None:
        """Do what is due, or what is due next."""
        jobs = jobs_of(self.database)
        for kind, handle in ((Kind.RUN_ITEM, "item"), (Kind.SEGMENT_RETRY, "retry")):
            for job in jobs.take(kind):
                self.clock.advance(max(job.run_at - self.clock.now(), 0.0))
                await getattr(self.handling, handle)(job)

    async def end(self, trouble: Mapping[int, Exception] | None = None, bad: Sequence[int] = ()) -> None:
        self.processor.trouble, self.processor.bad = trouble or {}, set(bad)
        await self.turn()

    async def retry(self, ordinal: int) -> None:
        done = sa.update(exports).values(status=ExportStatus.COMPLETED)
        await self.database.write(lambda tx: tx.execute(done))
        jobs_of(self.database).take(Kind.EXPORT)
        name = segment_id((await self.item()).id, ordinal)
        await self.database.write(segment_retries.request, self.run_id, self.video, name)

    async def is_empty(self, table: sa.Table) -> bool:
        return await self.database.read(lambda tx: tx.first(sa.select(table)) is None)

    async def item(self) -> Any:
        return await self.database.read(lambda tx: tx.execute(sa.select(run_items)).one())

    async def results(self) -> list[tuple[int, str | None]]:
        table = segment_results
        chosen = sa.select(table.c.ordinal, table.c.error).order_by(table.c.ordinal)
        return [(row.ordinal, row.error) for row in await self.database.read(lambda tx: tx.all(chosen))]

    async def counts(self) -> tuple[int, int]:
        """Segments of the run, and those that are good; everything else adds up as well."""
        found = await self.database.read(invariants.findings)
        assert [finding for finding in found if finding.count] == []
        assert await self.database.read(added_up)
        run, item = await run_of(self.database, self.run_id), await self.item()
        counts = run.total_segments, run.completed_segments
        assert counts == (item.segment_count, item.segment_count - item.failed_segment_count)
        return counts

    async def spent(self) -> tuple[int, int]:
        """Calls of the run, and cents."""
        chosen = sa.select(spending).where(spending.c.scope == run_scope(self.run_id))
        row = await self.database.read(lambda tx: tx.execute(chosen).one())
        assert row.reserved_nanousd == 0
        return row.calls, row.cost_nanousd // 10_000_000


@pytest.fixture
async def stage(database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage) -> Stage:
    stage = Stage(database, clock, telemetry, storage, Paying())
    await stage.set_up()
    return stage


async def test_a_dead_processor_is_waited_for_and_its_segments_stay(stage: Stage, told: Told) -> None:
    for _ in range(30):
        await stage.end({1: ProcessorUnavailable("connection refused")})
    assert stage.clock.now() - (await run_of(stage.database, stage.run_id)).created_at > 3_600
    assert await stage.results() == [(0, None)]
    row = await stage.item()
    assert (row.status, row.attempts - row.waits) == (ItemStatus.PENDING, 0)
    await stage.end()
    assert await stage.results() == [(0, None), (1, None), (2, None)]
    assert await stage.counts() == (3, 3)
    assert (stage.processor.planned, len(set(stage.processor.asked)), await stage.spent()) == (1, 3, (3, 3))
    assert told.names().count("run.item_waits") == 30
    assert (await run_of(stage.database, stage.run_id)).status == RunStatus.COMPLETED


async def test_waiting_uses_up_no_attempt_at_the_item(stage: Stage) -> None:
    for _ in range(5):
        await stage.end({0: ProcessorUnavailable("503")})
    for status in (ItemStatus.PENDING, ItemStatus.PENDING, ItemStatus.FAILED):
        await stage.end({0: ProcessorCrashed("signal 11")})
        assert (await stage.item()).status == status


async def test_an_item_that_fails_midway_keeps_what_it_has_and_a_retry_goes_on_from_there(
    stage: Stage,
) -> None:
    await stage.end({2: MediaUnreadable("cut short")}, bad=[0])
    assert ((await stage.item()).status, await stage.counts()) == (ItemStatus.FAILED, (2, 1))
    await stage.retry(WHOLE)
    await stage.end({2: ProcessorUnavailable("503")})
    assert await stage.counts() == (2, 1)
    await stage.end()
    assert await stage.results() == [(0, None), (1, None), (2, None)]
    assert ((await stage.item()).status, await stage.counts()) == (ItemStatus.COMPLETED, (3, 3))
    assert (stage.processor.planned, await stage.spent()) == (1, (4, 4))


async def test_a_retry_that_fails_leaves_what_it_found_to_the_next(stage: Stage) -> None:
    await stage.end({0: MediaUnreadable("cut short")})
    for trouble in ({1: MediaUnreadable("x")}, {2: MediaUnreadable("x")}, None):
        await stage.retry(WHOLE)
        assert await stage.counts() == (0, 0)
        await stage.end(trouble)
    assert (await stage.counts(), await stage.spent()) == ((3, 3), (3, 3))


async def test_one_segment_is_tried_again_and_no_other_is_asked(stage: Stage) -> None:
    await stage.end(bad=[1])
    assert ((await stage.item()).status, await stage.counts()) == (ItemStatus.PARTIAL, (3, 2))
    await stage.retry(1)
    await stage.end(bad=[1])
    assert await stage.counts() == (3, 2)
    await stage.retry(1)
    await stage.end({1: ProcessorUnavailable("503")})
    assert await stage.counts() == (3, 2)
    await stage.end()
    assert ((await stage.item()).status, await stage.counts()) == (ItemStatus.COMPLETED, (3, 3))
    assert (len(set(stage.processor.asked)), await stage.spent()) == (5, (5, 5))


async def test_a_segment_of_an_item_that_failed_is_not_tried_alone(stage: Stage) -> None:
    await stage.end({2: MediaUnreadable("cut short")}, bad=[0])
    with pytest.raises(Conflict, match="failed"):
        await stage.retry(0)


@pytest.mark.parametrize("is_waiting", [False, True])
async def test_a_run_that_is_cancelled_midway_counts_what_it_has(stage: Stage, is_waiting: bool) -> None:
    if is_waiting:
        await stage.end({1: ProcessorUnavailable("503")})
        await stage.database.write(course.cancel, stage.run_id, "key_1")
    else:
        honest = stage.processor.ask

        async def ask(item: Item, ordinal: int) -> Segment:
            found = await honest(item, ordinal)
            await stage.database.write(course.cancel, stage.run_id, "key_1")
            return found

        stage.processor.ask = ask  # type: ignore[method-assign]
        await stage.turn()
    run, row = await run_of(stage.database, stage.run_id), await stage.item()
    assert (run.status, row.status) == (RunStatus.CANCELLED, ItemStatus.CANCELLED)
    assert (await stage.counts(), await stage.spent()) == ((1, 1), (1, 1))
    chosen = sa.select(media.c.status)
    assert await stage.database.read(lambda tx: tx.execute(chosen).scalar_one()) == "not_processed"


async def test_who_lost_the_item_says_nothing(stage: Stage, told: Told) -> None:
    await stage.end({1: Superseded("another node has it")})
    assert (await stage.item()).status == ItemStatus.PROCESSING
    assert told.names() == ["processor.called"]


async def test_a_budget_that_is_used_up_holds_the_item_until_it_is_raised(stage: Stage) -> None:
    stage.budgets = Budgets(Budget(per_run_usd=0.015))
    for _ in range(3):
        await stage.turn()
    row = await stage.item()
    assert (row.status, "per_run_usd" in row.error_message) == (ItemStatus.PENDING, True)
    assert await stage.results() == [(0, None)]
    stage.budgets = Budgets(Budget(per_run_usd=0.03))
    await stage.turn()
    assert (await stage.counts(), await stage.spent()) == ((3, 3), (3, 3))


async def test_nothing_is_opened_for_a_paused_processor_and_all_goes_on_when_it_is_resumed(
    stage: Stage, clock: FakeClock
) -> None:
    state = {"name": "technical", "paused_at": clock.now(), "message": "the key is refused"}
    await stage.database.write(lambda tx: tx.insert(processor_states, **state))
    await stage.turn()
    assert ((await stage.item()).status, stage.processor.lives) == (ItemStatus.PENDING, 0)
    await stage.database.write(lambda tx: tx.execute(sa.delete(processor_states)))
    now = clock.now()
    jobs_of(stage.database).take(Kind.RUN_ITEM)
    assert await stage.database.write(processor_states_store.retry_waiting, "another") == 0
    assert await stage.database.write(processor_states_store.retry_waiting, "technical") == 1
    await stage.turn()
    assert (clock.now(), await stage.counts()) == (now, (3, 3))


async def test_a_call_that_nobody_saw_end_is_counted_when_its_item_ends(stage: Stage) -> None:
    async def ask(item: Item, ordinal: int) -> Segment:
        await item.journal.begin_call(CallIntent(ordinal, "segment", 0, "gpt", CENT))
        raise MediaUnreadable("cut short")

    stage.processor.ask = ask  # type: ignore[method-assign]
    await stage.turn()
    assert (await stage.counts(), await stage.spent()) == ((0, 0), (1, 1))
    chosen = sa.select(llm_calls.c.status)
    assert await stage.database.read(lambda tx: tx.execute(chosen).scalar_one()) == CallStatus.FAILED


async def test_what_is_kept_is_not_written_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:

    written: list[int] = []
    honest = journal._upsert_segments

    def watched(tx: Any, table: sa.Table, rows: Sequence[Any]) -> None:
        written.extend(row["ordinal"] for row in rows)
        honest(tx, table, rows)

    monkeypatch.setattr(journal, "_upsert_segments", watched)
    await stage.turn()
    assert written == [0, 1, 2]


async def test_an_export_tells_what_the_run_cost_and_a_later_retry_changes_nothing_of_it(
    stage: Stage,
) -> None:
    await stage.end(bad=[1])
    await stage.retry(1)
    await stage.end(bad=[1])

    def told(tx: Tx) -> dict[str, Any]:
        made = {"export_type": "prompt_run", "target_id": stage.run_id, "run_id": stage.run_id}
        tx.insert(exports, id="exp_1", **made, created_at=tx.now)
        [run] = list_runs(tx, export_store.get(tx, "exp_1"))
        found: dict[str, Any] = artifact.run_document(run)["cost"]
        return found

    cost = {"calls": 3, "input_tokens": 3000, "output_tokens": 300, "usd": 0.03, "unpriced_calls": 0}
    assert await stage.database.write(told) == cost
    assert await stage.spent() == (4, 4)


async def test_what_goes_with_its_results_leaves_what_was_spent(stage: Stage) -> None:
    await stage.end()
    item = await stage.item()
    await stage.database.write(retention.drop_results, retention.Portion((item.id,)))
    for table in (llm_calls, item_journals, segment_results):
        assert await stage.is_empty(table)
    assert await stage.spent() == (3, 3)


async def test_nothing_is_left_of_a_run_whose_index_is_deleted_but_what_days_cost(stage: Stage) -> None:
    await stage.end({2: ProcessorUnavailable("503")})
    while await stage.database.write(clearing._clear_runs, "idx_main"):
        pass
    for table in (llm_calls, item_journals, segment_results, run_items):
        assert await stage.is_empty(table)
    scopes = await stage.database.read(lambda tx: tx.execute(sa.select(spending.c.scope)).scalars().all())
    assert {scope.partition(":")[0] for scope in scopes} == {"day", "month"}
