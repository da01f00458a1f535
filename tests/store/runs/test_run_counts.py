"""The counts of a run add up, whatever ends, is cancelled, retried or deleted, in whichever order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from unittest import mock

import anyio
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clock import FakeClock
from tests.databases import Databases
from tests.store.footage import HALF, added_up, shot, started, told
from tests.store.pipeline import RESULT, RecordingSink, jobs_of
from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.core.media import ProcessingResult
from vvwatch.core.runs import TERMINAL, ItemStatus
from vvwatch.errors import Conflict, NotFound
from vvwatch.ports import Job, Kind
from vvwatch.store.admin import deletions, invariants
from vvwatch.store.db.database import Database, requeue_overdue
from vvwatch.store.runs import batches, course, runs, segment_retries
from vvwatch.store.schema import run_items, segment_results

COUNT: Final = 7
STEPS: Final = (
    *("begin", "begin", "finish", "finish", "half", "fail", "later", "lead", "lead"),
    *("cancel", "retry", "retry", "mend", "mend", "break", "delete", "lose", "twice"),
)
_OF_RUNS: Final = (Kind.RUN, Kind.RUN_ITEM, Kind.SEGMENT_RETRY)


@dataclass
class Stage:
    """A run of a few items, taken in two at a time, and what may happen to it."""

    database: Database
    clock: FakeClock
    random: Random
    run_id: str
    videos: Sequence[str]
    held: list[Job] = field(default_factory=list)
    """What was handed out, stale or not."""

    def _job(self, kind: Kind) -> Job | None:
        self.held += jobs_of(self.database).take(kind)
        mine = [job for job in self.held if job.kind is kind]
        return self.random.choice(mine) if mine else None

    async def do(self, step: str) -> None:
        await getattr(self, f"_{step}")()

    async def _with(self, kind: Kind, fn: Any, *args: Any) -> None:
        job = self._job(kind)
        if job is not None:
            await self.database.write(fn, job, *args)

    async def _begin(self) -> None:
        await self._with(Kind.RUN_ITEM, runs.begin_item)

    async def _end(self, result: ProcessingResult | None) -> None:
        """A handler ends only what it has begun."""
        job = self._job(Kind.RUN_ITEM)
        if job is None or await self.database.write(runs.begin_item, job) is None:
            return
        if result is None:
            await self.database.write(runs.fail_item, job, "media_unreadable", "it broke")
        else:
            await self.database.write(runs.finish_item, job, result)

    async def _finish(self) -> None:
        await self._end(RESULT)

    async def _half(self) -> None:
        await self._end(HALF)

    async def _fail(self) -> None:
        await self._end(None)

    async def _later(self) -> None:
        job = self._job(Kind.RUN_ITEM)
        if job is not None and await self.database.write(runs.begin_item, job) is not None:
            await self.database.write(runs.retry_item, job, self.clock.now(), "away", "it is away")

    async def _lead(self) -> None:
        await self._with(Kind.RUN, course.advance)

    async def _cancel(self) -> None:
        await self.database.write(course.cancel, self.run_id, "key_1")

    async def _retry(self) -> None:
        rows = await self.database.read(lambda tx: tx.all(sa.select(run_items)))
        row = self.random.choice(rows)
        ordinal = WHOLE if row.status == ItemStatus.FAILED else self.random.randrange(2)
        with suppress(Conflict, NotFound):
            wanted = self.run_id, row.media_id, segment_id(row.id, ordinal)
            await self.database.write(segment_retries.request, *wanted)

    async def _mend(self) -> None:
        good = ProcessingResult(tuple(_whole(each) for each in HALF.segments), {}, "")
        result = self.random.choice((good, HALF, RESULT))
        await self._with(Kind.SEGMENT_RETRY, segment_retries.finish, result)

    async def _break(self) -> None:
        await self._with(Kind.SEGMENT_RETRY, segment_retries.fail, "media_unreadable", "it broke")

    async def _delete(self) -> None:
        await self.database.write(deletions.delete_video, self.random.choice(self.videos))

    async def _lose(self) -> None:
        """The process dies: what it held comes again."""
        jobs_of(self.database).jobs.clear()
        self.held.clear()
        self.clock.advance(60)
        await self.database.write(requeue_overdue, jobs_of(self.database), 5.0)

    async def _twice(self) -> None:
        await self._lead()
        await self._lead()


def _whole(segment: Any) -> Any:
    return type(segment)(segment.start_time, segment.end_time, {}, "found")


async def _played(databases: Databases, steps: Sequence[str], seed: int) -> None:
    clock = FakeClock()
    small = mock.patch.object(batches, "AT_ONCE", 2)
    with small, databases.fresh("sqlite", clock) as database:
        database.sink = RecordingSink()
        async with database.opened():
            videos = await shot(database, COUNT)
            run_id = await started(database, concurrency=2)
            stage = Stage(database, clock, Random(seed), run_id, videos)  # no secret
            for step in steps:
                await stage.do(step)
                await _sound(database)
            await _ended(stage)


async def _sound(database: Database) -> None:
    assert await database.read(added_up)
    broken = [found for found in await database.read(invariants.findings) if found.count]
    assert broken == []


async def _ended(stage: Stage) -> None:
    """Whatever happened, the run comes to an end, and then its counts are those of all of its items."""
    for _ in range(20 * COUNT):
        await stage.do("lose")
        if not any(job.kind in _OF_RUNS for job in jobs_of(stage.database).jobs):
            break
        for step in ("twice", "finish", "mend"):
            await stage.do(step)
    await _sound(stage.database)
    run = await stage.database.read(runs.get, stage.run_id)
    assert run.status in TERMINAL
    ends = run.completed_items + run.partial_items + run.failed_items + run.cancelled_items
    assert ends == run.total_items
    segments = sa.select(sa.func.count(), sa.func.count(segment_results.c.error))
    total, failed = await stage.database.read(lambda tx: tuple(tx.execute(segments).one()))
    assert (run.total_segments, run.completed_segments) == (total, total - failed)
    ended = [event for event in await told(stage.database) if event not in ("started", "progress")]
    assert len(ended) == len(set(ended)) >= 1


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.sampled_from(STEPS), max_size=30), seed=st.integers(0, 2**32))
def test_the_counts_of_a_run_add_up_whatever_happens(
    databases: Databases, steps: list[str], seed: int
) -> None:
    anyio.run(_played, databases, steps, seed)
