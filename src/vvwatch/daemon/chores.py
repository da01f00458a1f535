"""The daemon's chores: measure itself, requeue overdue work, remove what is no longer needed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import anyio
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from vvwatch.daemon.state import list_watched, measure_work
from vvwatch.daemon.wiring import Components
from vvwatch.errors import StoreUnavailable, VvwatchError
from vvwatch.notify import Notifier
from vvwatch.store.db.database import Traffic
from vvwatch.workflow.upkeep.deletions import DeletionWorker
from vvwatch.workflow.upkeep.housekeeping import GRACE_SECONDS, Pruner, requeue_work

_REQUEUE_SECONDS = 60.0
_DELETING_SECONDS = 1.0
_ORPHANS_SECONDS = 3600.0
_FIRST_REQUEUE_SECONDS = GRACE_SECONDS + 1
_MEASURE_SECONDS = 15
_PRUNE_SECONDS = 3600
_FIRST_PRUNE_SECONDS = (120, 600)  # replicas that start together do not prune together


async def _measure_daemon(components: Components, notifier: Notifier, before: Traffic) -> None:
    told = {label: components.telemetry.told_of(label) for label in ("automation", "connector")}
    try:
        await components.database.check()
        figures = await measure_work(components)
        there = await list_watched(components)
    except StoreUnavailable as error:
        components.telemetry.emit("task.failed", task="measure", error=error)
        notifier.status("the database does not work")
        return
    for label, names in told.items():
        components.telemetry.forget(label, names - there[label])
    since = components.database.traffic.since(before)
    before.transactions, before.reruns = (
        before.transactions + since.transactions,
        before.reruns + since.reruns,
    )
    components.telemetry.emit("daemon.measured", **figures, **asdict(since))
    notifier.status(", ".join(f"{name} {value}" for name, value in figures.items()))


async def requeue_periodically(components: Components) -> None:
    """Requeue overdue work by the monotonic clock, which also repairs schedules after a clock change."""
    seconds = _FIRST_REQUEUE_SECONDS
    while True:
        await components.clock.sleep(seconds)
        try:
            await requeue_work(components.database, components.sink, components.telemetry)
        except Exception as error:  # noqa: BLE001  # a sweep that broke must not end a daemon that works
            components.telemetry.emit("task.failed", task="sweep", error=error)
        seconds = _REQUEUE_SECONDS


async def delete_periodically(components: Components, stopping: anyio.Event) -> None:
    """Carry out deletions, including those that a stop interrupted."""
    deleting = DeletionWorker(components.database, components.clock, components.telemetry, stopping.is_set)
    while True:
        try:
            gone = await deleting.run()
        except StoreUnavailable as error:
            components.telemetry.emit("task.failed", task="deletions", error=error)
        else:
            if gone:
                await _remove_orphans(components)
        await components.clock.sleep(_DELETING_SECONDS)


async def remove_orphans_periodically(components: Components) -> None:
    """Remove files that no row names: leftovers of a crash, and of what other nodes deleted."""
    while True:
        await _remove_orphans(components)
        await components.clock.sleep(_ORPHANS_SECONDS)


async def _remove_orphans(components: Components) -> None:
    for name, sweep in (("uploads", components.uploads.sweep), ("exports", components.exports.sweep)):
        try:
            await sweep()
        except (VvwatchError, OSError) as error:
            components.telemetry.emit("task.failed", task=f"clearing of {name}", error=error)


@asynccontextmanager
async def run_calendar(
    components: Components, notifier: Notifier, stopping: anyio.Event
) -> AsyncIterator[None]:
    """Run process-local chores on APScheduler's calendar; nothing durable depends on them."""
    pruning = Pruner(
        components.database, components.engine.prune, components.clock, components.telemetry, stopping.is_set
    )

    async def prune() -> None:
        await pruning.run(components.config.retention)

    scheduler = AsyncIOScheduler(
        timezone="UTC",
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    first_prune = random.uniform(*_FIRST_PRUNE_SECONDS)  # noqa: S311  # no secret
    scheduler.add_job(
        _measure_daemon,
        _interval_trigger(_MEASURE_SECONDS, _MEASURE_SECONDS),
        args=(components, notifier, Traffic()),
    )
    scheduler.add_job(prune, _interval_trigger(_PRUNE_SECONDS, first_prune))
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=False)


def _interval_trigger(seconds: float, first_seconds: float) -> IntervalTrigger:
    first = datetime.now(UTC) + timedelta(seconds=first_seconds)
    return IntervalTrigger(seconds=seconds, start_date=first, timezone="UTC")
