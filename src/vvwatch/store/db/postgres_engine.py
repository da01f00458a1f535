"""The job engine of several nodes: PgQueuer on the same PostgreSQL, in the same transactions.

PgQueuer claims (SKIP LOCKED), wakes (NOTIFY), sends heartbeats, and gives a dead node's jobs to others. We add lanes
and patience: a server that is away for a while interrupts no running job.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from typing import Any, Final

import anyio
import sqlalchemy as sa
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain import models
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import JobId, QueueEntrypoint
from pgqueuer.errors import RetryRequested
from pgqueuer.ports.repository import EntrypointExecutionParameter
from sqlalchemy.util import await_only

from vvwatch.core.retries import backoff_seconds
from vvwatch.errors import StoreUnavailable
from vvwatch.ports import Handler, Job, Kind, Lane, Priority
from vvwatch.store.db.database import Tx
from vvwatch.store.db.postgres import PostgresDatabase, connect, describe_error, is_away
from vvwatch.store.db.postgres_driver import PatientDriver

_SETUP_LOCK: Final = 7_662_841_002
_ACKNOWLEDGED_AT_ONCE: Final = 100
_DEQUEUE_SECONDS: Final = 2.0
_ASK_AGAIN_SECONDS: Final = 0.1
_FULL_SECONDS: Final = 0.5
_RESTART_SECONDS: Final = 1.0
_KEPT_SECONDS: Final = 3600.0
_PRUNED_AT_ONCE: Final = 5_000

# Our own tables and logs record what a job did; the engine's log need not survive a crash of the server.
_SETTINGS: Final = DBSettings(durability=Durability.balanced)

_queue = sa.table(
    _SETTINGS.queue_table,
    sa.column("entrypoint"),
    sa.column("payload", sa.LargeBinary),
    sa.column("execute_after"),
)
_log = sa.table(_SETTINGS.queue_table_log, sa.column("id"), sa.column("created"))

Report = Callable[[Job | None, Exception], None]


def _queries(driver: Any) -> Queries:
    return Queries(driver, QueryBuilderEnvironment(_SETTINGS), QueryQueueBuilder(_SETTINGS))


class PgQueuerEngine:
    """The engine over `database`, which is at `url`. A node is dead after `heartbeat_seconds` without a heartbeat.

    `report` gets handlers that failed unexpectedly, and (without a job) what stopped the engine's loop. The database
    reports a server that is away.
    """

    def __init__(
        self, database: PostgresDatabase, url: str, report: Report, heartbeat_seconds: float = 15.0
    ) -> None:
        self._database = database
        self._url = url
        self._report = report
        self._heartbeat = timedelta(seconds=heartbeat_seconds)
        self._draining = False
        self._under_way: Counter[str] = Counter()
        self._shutdowns: tuple[asyncio.Event, ...] = ()
        logging.getLogger("pgqueuer").setLevel(logging.WARNING)  # below, it has several lines for each job
        database.sink = self

    def write(self, tx: Tx) -> None:
        """Store the transaction's jobs."""
        queries = _queries(AsyncpgDriver(tx.conn.connection.driver_connection))
        jobs = tx.jobs
        await_only(
            queries.enqueue(
                [job.queue for job in jobs],
                [json.dumps([job.ref, job.revision]).encode() for job in jobs],
                [_rank(job, tx.now) for job in jobs],
                [timedelta(seconds=max(job.run_at - tx.now, 0.0)) for job in jobs],
            )
        )

    def held(self, tx: Tx, kind: Kind) -> set[tuple[str, int, str]]:
        """Return (ref, revision, queue) of every job of `kind` in the queue."""
        name = _queue.c.entrypoint
        of_kind = sa.or_(name == kind.value, name.like(f"{kind.value}.%"), name.like(f"{kind.value}@%"))
        rows = tx.all(sa.select(name, _queue.c.payload).where(of_kind))
        return {(*json.loads(row.payload), row.entrypoint) for row in rows}

    def due(self, tx: Tx) -> int:
        """Return how many due jobs wait."""
        waiting = sa.select(sa.func.count()).select_from(_queue).where(sa.text("status = 'queued'"))
        return int(tx.execute(waiting.where(_queue.c.execute_after <= sa.func.now())).scalar_one())

    def wake(self) -> None:
        """Do nothing: the server notifies."""

    def under_way(self) -> Mapping[str, int]:
        """Return how many jobs run here now, by kind."""
        return dict(+self._under_way)

    async def setup(self) -> None:
        """Create or upgrade PgQueuer's tables; nodes that start together wait for each other."""
        try:
            connection = await connect(self._url)
            try:
                await connection.execute("SELECT pg_advisory_lock($1)", _SETUP_LOCK)
                await _install(_queries(AsyncpgDriver(connection)))
            finally:
                await connection.close()
        except Exception as error:
            if is_away(error):
                raise StoreUnavailable(f"the database does not work: {describe_error(error)}") from error
            raise

    async def prune(self) -> int:
        """Delete PgQueuer's log of jobs that ended long ago, in small steps; return how many rows."""
        total = 0
        while True:
            gone = await self._database.write(_prune, self._database.clock.now() - _KEPT_SECONDS)
            total += gone
            if gone < _PRUNED_AT_ONCE:
                return total

    def drain(self) -> None:
        """Start nothing more; `run` returns when the running jobs have ended."""
        self._draining = True
        for event in self._shutdowns:
            event.set()

    async def run(self, handlers: Mapping[Kind, Handler], lanes: Sequence[Lane]) -> None:
        """Run due jobs of the lanes' queues until drained or cancelled."""
        while not self._draining:
            driver = PatientDriver(self._url, self._database.lost)
            manager = _LanedManager(_queries(driver), lanes)
            driver.came = manager.look
            self._shutdowns = manager.shutdown, driver.shutdown
            self._register(manager, handlers, lanes)
            try:
                await manager.run(
                    dequeue_timeout=timedelta(seconds=_DEQUEUE_SECONDS),
                    batch_size=_ACKNOWLEDGED_AT_ONCE,
                    heartbeat_timeout=self._heartbeat,
                    log_aggregation_interval=timedelta(0),
                )
            except Exception as error:  # noqa: BLE001  # whatever stops the loop, work goes on
                self._report(None, error)
                await anyio.sleep(_RESTART_SECONDS)
            finally:
                await driver.close()

    def _register(
        self, manager: QueueManager, handlers: Mapping[Kind, Handler], lanes: Sequence[Lane]
    ) -> None:
        for lane in lanes:
            for queue in lane.queues:
                manager.entrypoint(queue)(self._executor(lane.kind, handlers[lane.kind]))

    def _executor(self, kind: Kind, handler: Handler) -> Callable[[models.Job], Awaitable[None]]:
        async def execute(taken: models.Job) -> None:
            job = _job(kind, taken)
            self._under_way[kind] += 1
            try:
                await handler(job)
            except Exception as error:  # noqa: BLE001  # a handler's bug must not stop the others
                self._report(job, error)
                wait = backoff_seconds(job.attempt + 1, base_seconds=1.0, cap_seconds=300.0, sample=0.5)
                name = type(error).__name__  # its text may contain secrets
                raise RetryRequested(delay=timedelta(seconds=wait), reason=name) from None
            finally:
                self._under_way[kind] -= 1

        return execute


class _LanedManager(QueueManager):
    """PgQueuer's loop, but each lane fetches only as many jobs as it has free slots."""

    def __init__(self, queries: Queries, lanes: Sequence[Lane]) -> None:
        super().__init__(queries)
        self._lanes = lanes
        self._moved = asyncio.Event()
        self._lane_of: dict[JobId, Lane] = {}
        self._empty_at: dict[Lane, float] = {}

    def look(self) -> None:
        """Forget which queues were empty: jobs were added."""
        self._empty_at.clear()
        self._moved.set()

    def forget_job(self, job_id: JobId, context: models.Context, task: asyncio.Task[None]) -> None:
        super().forget_job(job_id, context, task)
        if job_id not in self.job_context:  # otherwise it runs again
            self._lane_of.pop(job_id, None)
            self._moved.set()

    async def fetch_jobs(
        self,
        batch_size: int,  # noqa: ARG002  # the lanes' slots take the place of both
        global_concurrency_limit: int | None,  # noqa: ARG002
        heartbeat_timeout: timedelta,
    ) -> AsyncGenerator[models.Job, None]:
        while not self.shutdown.is_set():
            self._moved.clear()
            asked = [lane for lane in self._lanes if self._free(lane) > 0 and not self._was_empty(lane)]
            found = await asyncio.gather(*(self._taken(lane, heartbeat_timeout) for lane in asked))
            for lane, jobs in zip(asked, found, strict=True):
                for job in jobs:
                    self._lane_of[job.id] = lane
                    yield job
            if not any(found):
                if all(self._free(lane) for lane in self._lanes):
                    return
                await self._wait()

    def _free(self, lane: Lane) -> int:
        return lane.slots - sum(1 for its in self._lane_of.values() if its is lane)

    def _was_empty(self, lane: Lane) -> bool:
        """Return whether the queue was empty a moment ago and nothing was added since."""
        return monotonic() - self._empty_at.get(lane, 0.0) < _ASK_AGAIN_SECONDS

    async def _taken(self, lane: Lane, heartbeat_timeout: timedelta) -> list[models.Job]:
        unlimited = EntrypointExecutionParameter(concurrency_limit=0)
        self._empty_at[lane] = monotonic()  # before the answer, which misses jobs added meanwhile
        jobs = await self.queries.dequeue(
            batch_size=self._free(lane),
            entrypoints={QueueEntrypoint(queue): unlimited for queue in lane.queues},
            queue_manager_id=self.queue_manager_id,
            global_concurrency_limit=None,
            heartbeat_timeout=heartbeat_timeout,
        )
        if jobs:
            self._empty_at.pop(lane, None)
        return jobs

    async def _wait(self) -> None:
        """Wait until a job came or ended, or for a while. Queues of a full lane are not asked."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._moved.wait(), _FULL_SECONDS)
        self._empty_at.clear()


async def _install(queries: Queries) -> None:
    if await queries.schema_is_installed():
        await queries.apply_upgrade()
    else:
        await queries.install()
        await queries.optimize_autovacuum()


def _rank(job: Job, now: float) -> int:
    """Return PgQueuer's priority. Work not due yet ranks just below due work.

    A claim reads its queue by rank, and must not read past everything that is not due.
    """
    return 2 * job.priority + (job.run_at <= now)


def _job(kind: Kind, taken: models.Job) -> Job:
    ref, revision = json.loads(taken.payload or b"[]")
    return Job(
        kind,
        ref,
        revision,
        taken.execute_after.timestamp(),
        taken.attempts,
        int(taken.id),
        str(taken.entrypoint),
        Priority(taken.priority // 2),
    )


def _prune(tx: Tx, before: float) -> int:
    old = sa.select(_log.c.id).where(_log.c.created < sa.func.to_timestamp(before)).limit(_PRUNED_AT_ONCE)
    return tx.execute(sa.delete(_log).where(_log.c.id.in_(old))).rowcount
