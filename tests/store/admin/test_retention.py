"""What is dropped when it was kept long enough, and what never is."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from tests.api.story import INDEX, Story, deliver, told
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import count, jobs_of, obj
from vvwatch.config import Retention
from vvwatch.core.exports import ExportStatus
from vvwatch.core.media import Segment
from vvwatch.core.runs import Results
from vvwatch.errors import Conflict, StoreUnavailable
from vvwatch.ports import Kind
from vvwatch.store.admin import retention
from vvwatch.store.admin.retention import Portion
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.typed import model_of
from vvwatch.store.delivery import exports
from vvwatch.store.imports import retrying
from vvwatch.store.models.runs import Run
from vvwatch.store.runs import journal, runs
from vvwatch.store.schema import (
    deliveries,
    delivery_attempts,
    events,
    import_files,
    import_jobs,
    media,
    objects,
    outputs,
    prompt_runs,
    run_items,
    segment_results,
)
from vvwatch.store.schema import exports as export_table
from vvwatch.store.schema import windows as window_table
from vvwatch.store.watching import automations, windows
from vvwatch.telemetry import Telemetry, configure_logging
from vvwatch.workflow.upkeep.housekeeping import Pruner

pytestmark = pytest.mark.anyio

DAY = 86_400.0
FOREVER = Retention(events="forever", deliveries="forever")
NEWEST = 1  # event, which stays: the places of others follow from its own
SOON = Retention(events="1d", deliveries="1d", jobs="1d", results="1d")
KEPT = (media, objects, outputs, prompt_runs, run_items, export_table, window_table)


async def nothing_to_prune() -> int:
    return 0


async def seven_pruned() -> int:
    return 7


class Telling(list[tuple[str, dict[str, Any]]]):
    """Every event that was emitted."""

    def __init__(self) -> None:
        super().__init__()
        self.telemetry = Telemetry("test", configure_logging("json", "debug", io.StringIO()))
        self.telemetry.subscribe(lambda event, fields: self.append((event, dict(fields))))


@pytest.fixture
def telling() -> Telling:
    return Telling()


@pytest.fixture
async def story(database: Database, clock: FakeClock) -> Story:
    return await told(database, clock, FakeStorage())


def pruning(
    database: Database, clock: FakeClock, telling: Telling, stopping: Callable[[], bool] = lambda: False
) -> Pruner:
    return Pruner(database, nothing_to_prune, clock, telling.telemetry, stopping)


async def counts(database: Database, *tables: sa.Table) -> list[int]:
    return [await database.read(count, table) for table in tables]


async def only(database: Database, table: sa.Table) -> sa.Row[Any]:
    return await database.read(lambda tx: tx.execute(sa.select(table)).one())


async def test_nothing_goes_before_its_time(
    database: Database, clock: FakeClock, telling: Telling, story: Story
) -> None:
    clock.advance(DAY - 1)
    await pruning(database, clock, telling).run(SOON)
    assert telling == []
    clock.advance(10_000 * DAY)
    await pruning(database, clock, telling).run(FOREVER)
    assert telling == []


async def test_what_is_over_goes_and_what_is_known_stays(
    database: Database, clock: FakeClock, telling: Telling, story: Story
) -> None:
    before = await counts(database, *KEPT)
    clock.advance(2 * DAY)
    await pruning(database, clock, telling).run(SOON)
    [(event, fields)] = telling
    assert event == "retention.finished"
    told_of = {"deliveries": 4, "events": 8, "import_jobs": 1, "results": 1, "receipts": 0, "engine_rows": 0}
    assert fields.items() >= told_of.items()
    gone = deliveries, delivery_attempts, import_jobs, import_files, segment_results
    assert await counts(database, *gone) == [0] * 5
    assert await counts(database, events) == [NEWEST]
    assert await counts(database, *KEPT) == before
    await pruning(database, clock, telling).run(SOON)
    assert len(telling) == 1


async def test_what_was_imported_stays_known(
    database: Database, clock: FakeClock, telling: Telling, story: Story
) -> None:
    row = await database.read(automations.get_import, INDEX)
    known = await database.read(lambda tx: tx.all(sa.select(objects.c.key, objects.c.version)))
    clock.advance(2 * DAY)
    await pruning(database, clock, telling).run(SOON)
    again = [obj(found.key, found.version) for found in known]
    assert len(again) == 2
    assert (await database.write(windows.accept_objects, row.id, row.generation, again)).count == 0


async def test_a_run_keeps_what_it_counted(
    database: Database, clock: FakeClock, telling: Telling, story: Story
) -> None:
    before = await only(database, prompt_runs)
    clock.advance(2 * DAY)
    await pruning(database, clock, telling).run(SOON)
    run, item = await only(database, prompt_runs), await only(database, run_items)
    assert run._mapping.items() ^ before._mapping.items() == {("results", "kept"), ("results", "dropped")}
    assert (item.video_metadata, item.video_metadata_text, item.segment_count) == (None, "", 1)
    assert item.status == "completed"


async def test_what_is_under_way_stays(database: Database, clock: FakeClock, telling: Telling) -> None:
    story = await told(database, clock, FakeStorage())

    def reopen(tx: Tx) -> None:
        tx.execute(sa.update(deliveries).values(status="retrying", completed_at=None))
        tx.update(import_jobs, story.job_id, status="importing", completed_at=None)
        tx.update(prompt_runs, story.run_id, status="processing", completed_at=None)

    await database.write(reopen)
    clock.advance(2 * DAY)
    await pruning(database, clock, telling).run(SOON)
    [(_, fields)] = telling
    assert (fields["deliveries"], fields["events"], fields["import_jobs"], fields["results"]) == (0, 5, 0, 0)
    assert await counts(database, deliveries, import_files, segment_results) == [4, 3, 1]


async def test_an_event_stays_as_long_as_a_delivery_of_it(
    database: Database, clock: FakeClock, telling: Telling, story: Story
) -> None:
    clock.advance(2 * DAY)
    await pruning(database, clock, telling).run(Retention(events="1d", deliveries="3d"))
    assert await counts(database, deliveries, events) == [4, 4]
    clock.advance(2 * DAY)
    await pruning(database, clock, telling).run(Retention(events="1d", deliveries="3d"))
    assert await counts(database, deliveries, events) == [0, NEWEST]


async def test_a_delivery_that_is_tried_again_meanwhile_stays(
    database: Database, clock: FakeClock, story: Story
) -> None:
    clock.advance(2 * DAY)
    ids = await database.read(retention.list_old_deliveries, clock.now() - DAY, "")
    await database.write(lambda tx: tx.update(deliveries, ids[0], status="pending", completed_at=None))
    assert await database.write(retention.drop_deliveries, clock.now() - DAY, ids) == 3
    assert (await only(database, deliveries)).id == ids[0]


async def test_results_wait_for_the_export_that_is_built_from_them(
    database: Database, clock: FakeClock, telling: Telling, story: Story
) -> None:
    await database.write(lambda tx: tx.update(export_table, story.export_id, status="pending"))
    clock.advance(2 * DAY)
    await pruning(database, clock, telling).run(SOON)
    assert (await only(database, prompt_runs)).results == Results.KEPT
    await database.write(lambda tx: tx.update(export_table, story.export_id, status="failed"))
    await pruning(database, clock, telling).run(SOON)
    assert (await only(database, prompt_runs)).results == Results.DROPPED


async def test_no_export_passes_dropped_results_for_none(
    database: Database, clock: FakeClock, telling: Telling, story: Story
) -> None:
    clock.advance(2 * DAY)
    await pruning(database, clock, telling).run(SOON)
    await database.write(lambda tx: tx.update(export_table, story.export_id, status=ExportStatus.FAILED))
    with pytest.raises(Conflict, match="no longer kept"):
        await database.write(retrying.retry_export, story.export_id)
    await database.write(lambda tx: tx.execute(sa.delete(export_table)))
    run = model_of(Run, await only(database, prompt_runs))
    assert await database.write(exports.request_automatic, run) is None


async def test_an_item_that_is_tried_again_is_not_announced_again(
    database: Database, clock: FakeClock, telling: Telling
) -> None:
    """Its event may be gone by then, and with it the knowledge that it was told."""
    story = await told(database, clock, FakeStorage())

    def reopen(tx: Tx) -> None:
        tx.update(prompt_runs, story.run_id, status="processing", completed_at=None)
        item = tx.execute(sa.update(run_items).values(status="pending").returning(run_items)).one()
        tx.nudge(Kind.RUN_ITEM, item, tx.now)

    await database.write(reopen)
    clock.advance(2 * DAY)
    await pruning(database, clock, telling).run(SOON)
    [job] = jobs_of(database).take(Kind.RUN_ITEM)
    assert await database.write(runs.begin_item, job) is not None
    assert await counts(database, events) == [NEWEST]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 3)


@pytest.mark.usefixtures("few")
async def test_much_is_dropped_a_little_at_a_time(
    database: Database, clock: FakeClock, telling: Telling, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.write(_much, story)
    written: list[int] = []
    honest = database.write

    async def write(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = await honest(fn, *args, **kwargs)
        written.append(int(result or 0))
        return result

    monkeypatch.setattr(database, "write", write)
    clock.advance(2 * DAY)
    await pruning(database, clock, telling).run(SOON)
    [(_, fields)] = telling
    assert fields["events"] == 29 - NEWEST
    assert fields["results"] == 1
    assert max(written) <= 3
    assert await counts(database, events, import_files, segment_results) == [NEWEST, 0, 0]


def _much(tx: Tx, story: Story) -> None:
    for number in range(20):
        tx.insert(
            events,
            id=tx.new_id("evt"),
            type="x",
            occurrence=f"x:{number}",
            data={},
            created_at=tx.now,
        )
        tx.insert(import_files, job_id=story.job_id, key=f"{number}.mp4", status="skipped")
    item = tx.execute(sa.select(run_items)).one()
    journal.replace_results(tx, item.id, [Segment(n, n + 1, {}, "") for n in range(20)])
    tx.update(run_items, item.id, segment_count=20)


@pytest.mark.usefixtures("few")
def test_portions_are_small_and_each_item_ends_once() -> None:
    items = [(1, 1), (2, 1), (3, 0), (4, 2), (5, 7), (6, 0), (7, 4)]
    found = list(retention._portions(items))
    assert found == [
        Portion((1, 2, 3)),
        Portion((4,)),
        Portion((5,), 4),
        Portion((5,), 1),
        Portion((5, 6)),
        Portion((7,), 1),
        Portion((7,)),
    ]


async def test_a_daemon_that_drains_stops_and_the_next_goes_on(
    database: Database, clock: FakeClock, telling: Telling, story: Story
) -> None:
    clock.advance(2 * DAY)
    answers = iter([False] * 4)
    await pruning(database, clock, telling, lambda: next(answers, True)).run(SOON)
    assert await counts(database, deliveries, import_jobs, segment_results) == [0, 1, 1]
    await pruning(database, clock, telling).run(SOON)
    assert await counts(database, events, import_jobs, segment_results) == [NEWEST, 0, 0]


@pytest.mark.parametrize("calm", range(3, 9, 2))
async def test_wherever_it_stops_the_next_goes_on(
    database: Database, clock: FakeClock, telling: Telling, story: Story, calm: int
) -> None:
    clock.advance(2 * DAY)
    answers = iter([False] * calm)
    only_results = Retention(events="forever", deliveries="forever", results="1d", jobs="1d")
    await pruning(database, clock, telling, lambda: next(answers, True)).run(only_results)
    await pruning(database, clock, telling).run(only_results)
    assert (await only(database, prompt_runs)).results == Results.DROPPED
    assert await counts(database, import_jobs, import_files, segment_results) == [0, 0, 0]


async def test_a_database_that_does_not_work_is_told_and_tried_again(
    database: Database, clock: FakeClock, telling: Telling, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("the disk is full")

    clock.advance(2 * DAY)
    with monkeypatch.context() as patched:
        patched.setattr(database, "write", refuse)
        await pruning(database, clock, telling).run(SOON)
    [(event, fields)] = telling
    assert (event, fields["task"]) == ("task.failed", "retention")
    await pruning(database, clock, telling).run(SOON)
    assert telling[-1][0] == "retention.finished"


async def test_what_the_engine_keeps_is_pruned_too(
    database: Database, clock: FakeClock, telling: Telling
) -> None:
    await Pruner(database, seven_pruned, clock, telling.telemetry).run(FOREVER)
    [(event, fields)] = telling
    assert (event, fields["engine_rows"]) == ("retention.finished", 7)


async def test_replicas_that_prune_at_once_harm_nothing(
    database: Database, clock: FakeClock, telling: Telling, story: Story
) -> None:
    await database.write(_much, story)
    clock.advance(2 * DAY)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(pruning(database, clock, telling).run, SOON)
    assert {event for event, _ in telling} == {"retention.finished"}
    assert sum(fields["events"] for _, fields in telling) == 29 - NEWEST
    assert sum(fields["import_jobs"] for _, fields in telling) == 1
    assert await counts(database, deliveries, import_files, segment_results) == [0] * 3
    assert await counts(database, events) == [NEWEST]


async def test_a_story_that_goes_on_after_it_is_whole(
    database: Database, clock: FakeClock, telling: Telling, story: Story
) -> None:
    clock.advance(2 * DAY)
    await pruning(database, clock, telling).run(SOON)
    row = await database.read(automations.get_import, INDEX)
    await database.write(windows.accept_objects, row.id, row.generation, [obj("later.mp4")])
    clock.advance(300)
    for job in jobs_of(database).take(Kind.WINDOW):
        await database.write(windows.close_due, job)
    await deliver(database)
    assert await counts(database, import_jobs, import_files) == [1, 1]
