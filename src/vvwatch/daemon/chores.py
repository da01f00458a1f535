"""What the daemon does beside its work: it measures itself, puts overdue work again, and removes what is over."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import anyio
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from vvwatch.daemon.state import measured, watched
from vvwatch.daemon.wiring import House
from vvwatch.errors import StoreUnavailable, VvwatchError
from vvwatch.notify import Notifier
from vvwatch.store.db.database import Traffic
from vvwatch.workflow.upkeep.deletions import DeletionWorker
from vvwatch.workflow.upkeep.housekeeping import GRACE_SECONDS, Pruner, requeue_work

_SWEEP_SECONDS = 60.0
_DELETING_SECONDS = 1.0
_STRAYS_SECONDS = 3600.0
_FIRST_SWEEP_SECONDS = GRACE_SECONDS + 1
_MEASURE_SECONDS = 15
_PRUNE_SECONDS = 3600
_FIRST_PRUNE_SECONDS = (120, 600)  # replicas that start together do not prune together


async def _measure(house: House, notifier: Notifier, before: Traffic) -> None:
    told = {label: house.telemetry.told_of(label) for label in ("automation", "connector")}
    try:
        await house.database.check()
        figures = await measured(house)
        there = await watched(house)
    except StoreUnavailable as error:
        house.telemetry.emit("task.failed", task="measure", error=error)
        notifier.status("the database does not work")
        return
    for label, names in told.items():
        house.telemetry.forget(label, names - there[label])
    since = house.database.traffic.since(before)
    before.transactions, before.reruns = (
        before.transactions + since.transactions,
        before.reruns + since.reruns,
    )
    house.telemetry.emit("daemon.measured", **figures, **asdict(since))
    notifier.status(", ".join(f"{name} {value}" for name, value in figures.items()))


async def sweeping(house: House) -> None:
    """By the clock that is never set: the sweep is what mends a calendar that was."""
    seconds = _FIRST_SWEEP_SECONDS
    while True:
        await house.clock.sleep(seconds)
        try:
            await requeue_work(house.database, house.sink, house.telemetry)
        except Exception as error:  # noqa: BLE001  # a sweep that broke must not end a daemon that works
            house.telemetry.emit("task.failed", task="sweep", error=error)
        seconds = _SWEEP_SECONDS


async def deleting(house: House, stopping: anyio.Event) -> None:
    """Carry out what was deleted: what came while nobody looked, and what a stop broke off."""
    deleting = DeletionWorker(house.database, house.clock, house.telemetry, stopping.is_set)
    while True:
        try:
            gone = await deleting.run()
        except StoreUnavailable as error:
            house.telemetry.emit("task.failed", task="deletions", error=error)
        else:
            if gone:
                await _cleared(house)
        await house.clock.sleep(_DELETING_SECONDS)


async def clearing(house: House) -> None:
    """Remove files that nothing names: of who died between the file and its row, and what other nodes deleted."""
    while True:
        await _cleared(house)
        await house.clock.sleep(_STRAYS_SECONDS)


async def _cleared(house: House) -> None:
    for name, sweep in (("uploads", house.uploads.sweep), ("exports", house.exports.sweep)):
        try:
            await sweep()
        except (VvwatchError, OSError) as error:
            house.telemetry.emit("task.failed", task=f"clearing of {name}", error=error)


@asynccontextmanager
async def calendar(house: House, notifier: Notifier, stopping: anyio.Event) -> AsyncIterator[None]:
    """Process-local chores on APScheduler's calendar; nothing durable rests on them."""
    pruning = Pruner(house.database, house.engine.prune, house.clock, house.telemetry, stopping.is_set)

    async def prune() -> None:
        await pruning.run(house.config.retention)

    scheduler = AsyncIOScheduler(
        timezone="UTC",
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    first_prune = random.uniform(*_FIRST_PRUNE_SECONDS)  # noqa: S311  # no secret
    scheduler.add_job(_measure, _every(_MEASURE_SECONDS, _MEASURE_SECONDS), args=(house, notifier, Traffic()))
    scheduler.add_job(prune, _every(_PRUNE_SECONDS, first_prune))
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=False)


def _every(seconds: float, first_seconds: float) -> IntervalTrigger:
    first = datetime.now(UTC) + timedelta(seconds=first_seconds)
    return IntervalTrigger(seconds=seconds, start_date=first, timezone="UTC")
