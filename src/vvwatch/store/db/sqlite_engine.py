"""The job engine of one node: a table of the same SQLite file, acknowledged and polled in one commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import anyio
import anyio.lowlevel
import sqlalchemy as sa

from vvwatch.core.retries import backoff_seconds
from vvwatch.errors import StoreUnavailable
from vvwatch.ports import Handler, Job, Kind, Lane, Priority
from vvwatch.store.db.database import Tx
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.schema import jobs

_PRIORITIES: tuple[sa.ColumnElement[int], ...] = tuple(
    sa.literal_column(str(priority.value)) for priority in Priority
)
_STORE_RETRY_SECONDS = 5.0
_LONGEST_NAP_SECONDS = 30.0  # bounds the delay after a clock jump or a suspend


class SqliteEngine:
    """The job engine on a table of the same file.

    `report` gets handlers that failed unexpectedly, and (without a job) errors of the database.
    """

    def __init__(self, database: SqliteDatabase, report: Callable[[Job | None, Exception], None]) -> None:
        self._database = database
        self._clock = database.clock
        self._report = report
        self._awake = anyio.Event()
        self._ended: list[tuple[Job, float | None]] = []
        self._busy: dict[Lane, int] = {}
        self._lane_of: dict[str, Lane] = {}
        self._draining = False
        database.sink = self

    def write(self, tx: Tx) -> None:
        """Store the transaction's jobs."""
        rows = [
            {
                "queue": job.queue,
                "priority": job.priority,
                "ref": job.ref,
                "revision": job.revision,
                "run_at": job.run_at,
            }
            for job in tx.jobs
        ]
        tx.execute(sa.insert(jobs), rows)

    def held(self, tx: Tx, kind: Kind) -> set[tuple[str, int, str]]:
        """Return every job of `kind` in the table."""
        rows = tx.all(sa.select(jobs.c.ref, jobs.c.revision, jobs.c.queue))
        return {tuple(row) for row in rows if _kind(row.queue) is kind}

    def due(self, tx: Tx) -> int:
        """Return how many due jobs wait."""
        return int(
            tx.execute(
                sa.select(sa.func.count()).where(~jobs.c.running, jobs.c.run_at <= tx.now)
            ).scalar_one()
        )

    def wake(self) -> None:
        """Look for due work now."""
        self._awake.set()

    def under_way(self) -> Mapping[str, int]:
        """Return how many jobs run here now, by kind."""
        busy = Counter[str]()
        for lane, count in self._busy.items():
            busy[lane.kind] += count
        return dict(+busy)

    async def setup(self) -> None:
        """Make everything due again that ran when the last process died, even if the clock was set back."""

        def due_again(tx: Tx) -> None:
            run_at = sa.func.min(jobs.c.run_at, tx.now)
            tx.execute(sa.update(jobs).where(jobs.c.running).values(running=False, run_at=run_at))

        await self._database.write(due_again)

    async def prune(self) -> int:
        """Return 0: ended jobs are deleted at once."""
        return 0

    def drain(self) -> None:
        """Start nothing more; `run` returns when the running jobs have ended."""
        self._draining = True
        self.wake()

    async def run(self, handlers: Mapping[Kind, Handler], lanes: Sequence[Lane]) -> None:
        """Run due jobs of the lanes' queues until drained or cancelled."""
        self._busy = dict.fromkeys(lanes, 0)
        self._lane_of = {queue: lane for lane in lanes for queue in lane.queues}
        async with anyio.create_task_group() as tasks:
            while not self._is_drained():
                self._awake = anyio.Event()
                started, next_at = await self._take_turn()
                for job in started:
                    self._busy[self._lane_of[job.queue]] += 1
                    tasks.start_soon(self._one, handlers[job.kind], job)
                await anyio.lowlevel.checkpoint()  # acknowledge jobs that end at once in the next turn
                if not started and not self._ended and not self._is_drained():
                    await self._nap(next_at)

    def _is_drained(self) -> bool:
        return self._draining and not self._ended and not any(self._busy.values())

    def _free(self) -> dict[Lane, int]:
        """Return how many slots each lane has free."""
        return {lane: 0 if self._draining else max(lane.slots - busy, 0) for lane, busy in self._busy.items()}

    async def _take_turn(self) -> tuple[list[Job], float | None]:
        """Take one turn; if the database fails, nothing is forgotten and the next turn comes soon."""
        ended, self._ended = self._ended, []
        try:
            return await self._database.write(_turn, ended, self._free())
        except StoreUnavailable as error:
            self._ended = ended + self._ended
            self._report(None, error)
            await self._clock.sleep(_STORE_RETRY_SECONDS)
            return [], self._clock.now()

    async def _nap(self, next_at: float | None) -> None:
        seconds = _LONGEST_NAP_SECONDS if next_at is None else next_at - self._clock.now()
        with anyio.move_on_after(min(max(seconds, 0.0), _LONGEST_NAP_SECONDS)):
            await self._awake.wait()

    async def _one(self, handler: Handler, job: Job) -> None:
        again: float | None = None
        try:
            await handler(job)
        except Exception as error:  # noqa: BLE001  # a handler's bug must not stop the others
            self._report(job, error)
            again = backoff_seconds(job.attempt + 1, base_seconds=1.0, cap_seconds=300.0, sample=0.5)
        self._busy[self._lane_of[job.queue]] -= 1
        self._ended.append((job, again))
        self.wake()


@cache
def _kind(queue: str) -> Kind:
    return Kind(queue.partition("@")[0].partition(".")[0])


@cache
def _start(lanes: tuple[Lane, ...]) -> sa.UpdateBase:
    """Start due jobs: in each lane at most as many as the parameter `free_<number of the lane>` allows."""
    due = [
        sa.select(_due(lane, sa.bindparam(f"free_{number}")).subquery()) for number, lane in enumerate(lanes)
    ]
    return sa.update(jobs).where(jobs.c.id.in_(sa.union_all(*due))).values(running=True).returning(jobs)


def _due(lane: Lane, most: sa.BindParameter[Any]) -> sa.Select[Any]:
    """Select every queue and priority separately, so that the index gives the oldest without reading the rest."""
    parts = [
        sa.select(
            sa.select(jobs.c.id, jobs.c.priority, jobs.c.run_at)
            .where(jobs.c.queue == name, ~jobs.c.running, jobs.c.priority == priority)
            .where(jobs.c.run_at <= sa.bindparam("now"))
            .order_by(jobs.c.run_at)
            .limit(most)
            .subquery()
        )
        for name in (sa.literal(queue) for queue in lane.queues)
        for priority in _PRIORITIES
    ]
    some = sa.union_all(*parts).subquery()
    return sa.select(some.c.id).order_by(some.c.priority.desc(), some.c.run_at).limit(most)


def _turn(
    tx: Tx, ended: list[tuple[Job, float | None]], free: Mapping[Lane, int]
) -> tuple[list[Job], float | None]:
    """Acknowledge ended jobs, start due ones, and return when the next is due: one commit for all three."""
    _acknowledge(tx, ended)
    if not any(free.values()):
        return [], None
    limits: dict[str, Any] = {f"free_{number}": count for number, count in enumerate(free.values())}
    started = tx.execute(_start(tuple(free)), {"now": tx.now, **limits}).all()
    if started:
        return [_job(row) for row in started], tx.now
    queues = [queue for lane, count in free.items() if count for queue in lane.queues]
    waiting = sa.select(sa.func.min(jobs.c.run_at)).where(jobs.c.queue.in_(queues), ~jobs.c.running)
    return [], tx.execute(waiting).scalar()


def _job(row: Sequence[Any]) -> Job:
    number, queue, priority, ref, revision, run_at, attempt, _ = row
    return Job(_kind(queue), ref, revision, run_at, attempt, number, queue, Priority(priority))


def _acknowledge(tx: Tx, ended: list[tuple[Job, float | None]]) -> None:
    done = [job.id for job, again in ended if again is None]
    if done:
        tx.execute(sa.delete(jobs).where(jobs.c.id.in_(done)))
    for job, again in ended:
        if again is not None:
            values = {"running": False, "attempt": job.attempt + 1, "run_at": tx.now + again}
            tx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(**values))
