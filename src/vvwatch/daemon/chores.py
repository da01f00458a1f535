"""The daemon's chores: measure itself, requeue overdue work, remove what is no longer needed."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import anyio
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_SUBMITTED,
    JobExecutionEvent,
    JobSubmissionEvent,
)
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger
from fastapi import FastAPI

from vvwatch.daemon.alerting import find_problems
from vvwatch.daemon.measuring import Measurements
from vvwatch.daemon.state import list_watched, measure_work
from vvwatch.daemon.wiring import Components
from vvwatch.errors import StoreUnavailable
from vvwatch.notify import Notifier
from vvwatch.store.db.database import Traffic
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.upkeep.deletions import DeletionWorker
from vvwatch.workflow.upkeep.filling import SearchFiller, VectorFiller
from vvwatch.workflow.upkeep.housekeeping import GRACE_SECONDS, Pruner, requeue_work

_REQUEUE_SECONDS = 60.0
_FIRST_REQUEUE_SECONDS = GRACE_SECONDS + 1
_MEASURE_SECONDS = 15.0
_ALERT_SECONDS = 15.0
_DELETE_SECONDS = 1.0
_ORPHANS_SECONDS = 3600.0
_PRUNE_SECONDS = 3600.0
_FILL_SECONDS = 3600.0
_FIRST_FILL_SECONDS = (1, 10)
_VECTORS_SECONDS = 60.0
_FIRST_PRUNE_SECONDS = (120, 600)  # replicas that start together do not prune together

logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # the calendar reports failures itself


class Calendar:
    """Runs chores at intervals on APScheduler; a chore that is still under way is not started twice.

    A chore that raises is reported as `task.failed` under its name, and runs again at its next time. Nothing durable
    depends on the calendar.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._scheduler = AsyncIOScheduler(
            timezone="UTC",
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._under_way: set[str] = set()
        self._again: set[str] = set()
        self._scheduler.add_listener(self._note_start, EVENT_JOB_SUBMITTED)
        self._scheduler.add_listener(self._note_end, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)

    def add(
        self, name: str, chore: Callable[[], Awaitable[object]], every_seconds: float, first_seconds: float
    ) -> None:
        """Run `chore` in `first_seconds`, and every `every_seconds` from then on."""
        first = datetime.now(UTC) + timedelta(seconds=first_seconds)
        trigger = IntervalTrigger(seconds=every_seconds, timezone="UTC")
        # A start date of the trigger would not do: one that has just passed counts from the next interval.
        self._scheduler.add_job(chore, trigger, id=name, next_run_time=first)

    def run_now(self, name: str) -> None:
        """Run a chore at once, whenever it was due; one that is under way runs again when it ends."""
        if name in self._under_way:  # the scheduler would skip it until its next time
            self._again.add(name)
        else:
            self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    def follow_clock(self) -> None:
        """Run what is due later than its interval allows: the wall clock was set back."""
        for job in self._scheduler.get_jobs():
            if job.next_run_time - datetime.now(UTC) > job.trigger.interval:
                self.run_now(job.id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the chores until the block ends; those under way are cancelled."""
        self._scheduler.start()
        try:
            yield
        finally:
            self._scheduler.shutdown(wait=False)

    def _note_start(self, event: JobSubmissionEvent) -> None:
        self._under_way.add(event.job_id)

    def _note_end(self, event: JobExecutionEvent) -> None:
        if isinstance(event.exception, asyncio.CancelledError):  # the daemon stops
            return
        if event.exception is not None:
            self._report(event)
        self._under_way.discard(event.job_id)
        if event.job_id in self._again:
            self._again.remove(event.job_id)
            self.run_now(event.job_id)

    def _report(self, event: JobExecutionEvent) -> None:
        self._telemetry.emit("task.failed", task=event.job_id, error=event.exception)


async def requeue_periodically(components: Components, calendar: Calendar) -> None:
    """Requeue overdue work by the monotonic clock, which also repairs schedules after a clock change.

    This one is not on the calendar: APScheduler goes by the wall clock, and waits when that is set back.
    """
    seconds = _FIRST_REQUEUE_SECONDS
    while True:
        await components.clock.sleep(seconds)
        try:
            calendar.follow_clock()
            await requeue_work(components.database, components.sink, components.telemetry)
        except Exception as error:  # noqa: BLE001  # a failed pass must not end a daemon that works
            components.telemetry.emit("task.failed", task="requeue", error=error)
        seconds = _REQUEUE_SECONDS


def plan_chores(components: Components, notifier: Notifier, stopping: anyio.Event, app: FastAPI) -> Calendar:
    """Return the calendar: measuring, alerting, pruning, deletions, search, and removal of orphaned files.

    Orphans are files that no row names: leftovers of a crash, and of what other nodes deleted.
    """
    calendar = Calendar(components.telemetry)
    traffic, measurements = Traffic(), Measurements(components)
    pruner = Pruner(
        components.database, components.engine.prune, components.clock, components.telemetry, stopping.is_set
    )
    filler = SearchFiller(components.database, components.clock, components.telemetry, stopping.is_set)
    worker = DeletionWorker(components.database, components.clock, components.telemetry, stopping.is_set)

    async def measure() -> None:
        await _measure_daemon(components, notifier, traffic, measurements)

    async def prune() -> None:
        await pruner.run(components.config.retention)

    async def delete() -> None:
        if await worker.run():
            calendar.run_now("orphaned uploads")
            calendar.run_now("orphaned exports")
            calendar.run_now("orphaned pictures")

    calendar.add("measure", measure, _MEASURE_SECONDS, _MEASURE_SECONDS)
    calendar.add("retention", prune, _PRUNE_SECONDS, random.uniform(*_FIRST_PRUNE_SECONDS))  # noqa: S311  # no secret
    calendar.add("deletions", delete, _DELETE_SECONDS, 0)
    calendar.add("search", filler.run, _FILL_SECONDS, random.uniform(*_FIRST_FILL_SECONDS))  # noqa: S311  # no secret
    _plan_vectors(components, calendar, stopping)
    _plan_alerts(components, calendar, app)
    calendar.add("orphaned uploads", components.uploads.remove_orphans, _ORPHANS_SECONDS, 0)
    calendar.add("orphaned exports", components.exports.remove_orphans, _ORPHANS_SECONDS, 0)
    calendar.add("orphaned pictures", components.pictures.remove_orphans, _ORPHANS_SECONDS, 0)
    return calendar


def _plan_alerts(components: Components, calendar: Calendar, app: FastAPI) -> None:
    async def alert() -> None:
        await components.alerts.run(find_problems(app.state.context))

    calendar.add("alerts", alert, _ALERT_SECONDS, _ALERT_SECONDS)


def _plan_vectors(components: Components, calendar: Calendar, stopping: anyio.Event) -> None:
    if components.embedder is not None:
        database, clock, telemetry = components.database, components.clock, components.telemetry
        filler = VectorFiller(database, clock, telemetry, components.embedder, stopping.is_set)
        calendar.add("vectors", filler.run, _VECTORS_SECONDS, random.uniform(*_FIRST_FILL_SECONDS))  # noqa: S311  # no secret


async def _measure_daemon(
    components: Components, notifier: Notifier, before: Traffic, measurements: Measurements
) -> None:
    reported = {label: components.telemetry.list_reported(label) for label in ("automation", "connector")}
    try:
        await components.database.check()
        figures = await measure_work(components)
        there = await list_watched(components)
        gauges = await measurements.take()
    except StoreUnavailable:
        notifier.status("the database does not work")
        raise
    for label, names in reported.items():
        components.telemetry.forget(label, names - there[label])
    since = components.database.traffic.since(before)
    before.transactions, before.reruns = (
        before.transactions + since.transactions,
        before.reruns + since.reruns,
    )
    components.telemetry.emit("daemon.measured", **figures, **gauges, **asdict(since))
    notifier.status(", ".join(f"{name} {value}" for name, value in figures.items()))
