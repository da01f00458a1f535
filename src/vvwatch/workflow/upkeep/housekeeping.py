"""Housekeeping: requeue lost work, and delete what its retention no longer keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from vvwatch.config import Retention
from vvwatch.errors import StoreUnavailable
from vvwatch.ports import Clock
from vvwatch.store.admin import audit, retention
from vvwatch.store.db import fairness, idempotency
from vvwatch.store.db.database import Database, JobSink, Tx, requeue_overdue
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pacing import write_and_pause

P = ParamSpec("P")
T = TypeVar("T")
GRACE_SECONDS = 5.0


async def requeue_work(database: Database, sink: JobSink, telemetry: Telemetry) -> int:
    """Requeue overdue lost work, and queue starving pieces; return how much."""
    count = await database.write(requeue_overdue, sink, GRACE_SECONDS)
    for kind, whole_id in await database.read(fairness.list_starving):
        count += await database.write(fairness.feed_starving, kind, whole_id)
    telemetry.emit("sweep.finished", found=count)
    return count


class Pruner:
    """Deletes what its retention no longer keeps, in transactions so short that nobody waits for one.

    It pauses after each for as long as that took, so it uses the database at most half of the time. It stops early when
    `stopping` says so, and the next pass resumes.
    """

    def __init__(
        self,
        database: Database,
        prune_engine: Callable[[], Awaitable[int]],
        clock: Clock,
        telemetry: Telemetry,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._prune_engine = prune_engine
        self._clock = clock
        self._telemetry = telemetry
        self._stopping = stopping

    async def run(self, kept: Retention) -> None:
        """Run one pass. A database error is reported, and the next pass tries again."""
        counts: dict[str, Any] = {}
        try:
            # deliveries go before their events
            counts["deliveries"] = await self._kind(self._deliveries, kept.deliveries_seconds)
            counts["events"] = await self._kind(self._events, kept.events_seconds)
            counts["import_jobs"] = await self._kind(self._import_jobs, kept.jobs_seconds)
            counts["results"] = await self._kind(self._results, kept.results_seconds)
            counts["receipts"] = await self._kind(self._receipts, idempotency.KEPT_SECONDS)
            counts["audit"] = await self._kind(self._audit, kept.audit_seconds)
            counts["engine_rows"] = await self._prune_engine()
        except StoreUnavailable as error:
            self._telemetry.emit("task.failed", task="retention", error=error)
        if any(counts.values()):
            self._telemetry.emit("retention.finished", **counts)

    async def _kind(self, prune: Callable[[float], Awaitable[int]], seconds: float | None) -> int:
        return 0 if seconds is None else await prune(self._clock.now() - seconds)

    async def _deliveries(self, before: float) -> int:
        total = 0
        async for ids in self._found(retention.list_old_deliveries, before):
            total += await self._drop(retention.drop_deliveries, before, ids)
        return total

    async def _events(self, before: float) -> int:
        total = 0
        async for ids in self._found(retention.list_old_events, before):
            total += await self._drop(retention.drop_events, before, ids)
        return total

    async def _receipts(self, before: float) -> int:
        total = 0
        async for ids in self._found(idempotency.list_old, before):
            total += await self._drop(idempotency.delete_old, before, ids)
        return total

    async def _audit(self, before: float) -> int:
        total = 0
        async for ids in self._found(audit.list_old, before):
            total += await self._drop(audit.delete_rows, ids)
        return total

    async def _import_jobs(self, before: float) -> int:
        total = 0
        async for ids in self._found(retention.list_old_import_jobs, before):
            while not self._stopping():
                if not await self._drop(retention.drop_files, ids):
                    break
            total += await self._drop(retention.drop_import_jobs, before, ids)
        return total

    async def _results(self, before: float) -> int:
        total = 0
        async for run_ids in self._found(retention.list_old_runs, before):
            for run_id in run_ids:
                if not self._stopping() and await self._drop(retention.begin_dropping, before, run_id):
                    total += await self._results_of(run_id)
        return total

    async def _results_of(self, run_id: str) -> int:
        total, after = 0, 0
        while True:
            after, portions = await self._database.read(retention.list_portions, run_id, after)
            for portion in portions:
                if self._stopping():
                    return total
                total += await self._drop(retention.drop_results, portion)
            if not portions:
                await self._drop(retention.end_dropping, run_id)
                return total

    async def _found(
        self, find: Callable[[Tx, float, str], Sequence[str]], before: float
    ) -> AsyncIterator[Sequence[str]]:
        after = ""
        while not self._stopping() and (ids := await self._database.read(find, before, after)):
            yield ids
            after = ids[-1]

    async def _drop(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await write_and_pause(self._database, self._clock, fn, *args, **kwargs)
