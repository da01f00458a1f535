"""Start, ready, reload, drain, stop. A start is a resumption: nothing but the database is needed."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

import anyio
import anyio.abc
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger
from fastapi import FastAPI

from vvwatch import __version__, collector
from vvwatch.clock import SystemClock
from vvwatch.config import Config
from vvwatch.daemon.declaring import declare
from vvwatch.daemon.files import write_private
from vvwatch.daemon.state import DaemonState, app_for, idle, measured, take_over, watched
from vvwatch.daemon.web import Tls, WebServer, address, bound
from vvwatch.daemon.wiring import House, build
from vvwatch.errors import StoreUnavailable, VvwatchError
from vvwatch.notify import Notifier
from vvwatch.store import nodes
from vvwatch.telemetry import Telemetry, configure_logging
from vvwatch.workflow.deletions import Deleting
from vvwatch.workflow.housekeeping import GRACE_SECONDS, Pruning, put_again

_SWEEP_SECONDS = 60.0
_DELETING_SECONDS = 1.0
_STRAYS_SECONDS = 3600.0
_FIRST_SWEEP_SECONDS = GRACE_SECONDS + 1
_MEASURE_SECONDS = 15
_PRUNE_SECONDS = 3600
_FIRST_PRUNE_SECONDS = (120, 600)  # replicas that start together do not prune together
_SEEN_SECONDS = 15.0
_CLOSING_SECONDS = 5
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
_AT_START = (
    "listen",
    "state_dir",
    "database_url",
    "node",
    "public_url",
    "log",
    "debounce",
    "processing",
    "api",
)
_IDLE_POLL_SECONDS = 0.2


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # the one line that tells where the daemon answers


@dataclass(frozen=True)
class ServeOptions:
    """How this process serves.

    `once` ends when all that was there is done, `observe` sees every event, `reload` reads the configuration
    anew (without it SIGHUP changes nothing).
    """

    environ: Mapping[str, str]
    once: bool = False
    announce: Callable[[str], None] = _print
    observe: Callable[[str, Mapping[str, Any]], None] | None = None
    log_stream: TextIO = sys.stderr
    reload: Callable[[], Config] | None = None


async def serve(config: Config, options: ServeOptions) -> int:
    """Run the daemon until a signal (or, `once`, until idle) and return its exit code.

    Raises VvwatchError when it cannot start: the database is owned, the address is taken, the state directory
    cannot be written.
    """
    log = configure_logging(config.log.format, config.log.level, options.log_stream, options.environ)
    telemetry = Telemetry(__version__, log, keys=config.log.keys)
    if options.observe is not None:
        telemetry.subscribe(options.observe)
    house = build(config, SystemClock(), telemetry, options.environ)
    async with house.database.opened():
        try:
            return await _Daemon(house, options).run()
        finally:
            await house.storages.aclose()
            await house.sender.aclose()
            await house.downloads.aclose()


class _Daemon:
    def __init__(self, house: House, options: ServeOptions) -> None:
        self._house = house
        self._options = options
        self._notifier = Notifier(options.environ, os.getpid())
        self._state = DaemonState(house.clock.now())
        self._exit_code = os.EX_OK
        self._stopping = anyio.Event()
        self._started_with = house.config
        self._reloading = anyio.Lock()

    async def run(self) -> int:
        house = self._house
        house.clear_spool()
        await house.engine.setup()
        await declare(house, house.config)
        await house.uploads.settle()
        await put_again(house.database, house.sink, house.telemetry)
        house.telemetry.emit("daemon.started", version=__version__, state_dir=str(house.config.state_dir))
        self._warn(house.config)
        listener = _bound(house.config)
        tls = _tls(house.config)
        where = address(listener, tls)
        app = app_for(house, self._state, where)
        web = WebServer(app, listener, tls)
        async with anyio.create_task_group() as tasks, _housekeeping(house, self._notifier, self._stopping):
            tasks.start_soon(self._signals, tasks.cancel_scope, app)
            async with anyio.create_task_group() as watching:
                await watching.start(house.subscriptions.run)
                watching.start_soon(house.watcher.settle)
                tasks.start_soon(self._work, tasks.cancel_scope)
                await tasks.start(web.run)
                self._ready(where)
                tasks.start_soon(self._keep_alive)
                tasks.start_soon(_sweeping, house)
                tasks.start_soon(_deleting, house, self._stopping)
                tasks.start_soon(_clearing, house)
                if house.config.replicated:
                    tasks.start_soon(self._be_seen, where)
                if self._options.once:
                    watching.start_soon(self._until_idle)
                await self._stopping.wait()
                watching.cancel_scope.cancel()
            await self._drain(tasks.cancel_scope, web)
        house.telemetry.emit("daemon.stopped", reason=f"exit code {self._exit_code}")
        return self._exit_code

    def _ready(self, where: str) -> None:
        house = self._house
        write_private(house.config.state_dir / "address", where)
        self._state.ready = True
        collector.relax()
        self._notifier.ready(f"ready on {where}")
        house.telemetry.emit("daemon.ready", address=where, version=__version__)
        self._options.announce(f"vvwatch {__version__} ready on {where}")

    async def _work(self, scope: anyio.CancelScope) -> None:
        await self._house.engine.run(self._house.handlers(), self._house.lanes())
        self._state.drained.set()
        if not self._stopping.is_set():
            scope.cancel()

    async def _signals(self, scope: anyio.CancelScope, app: FastAPI) -> None:
        """A stop is heard at once, also while an answer to another signal waits for the database."""
        with anyio.open_signal_receiver(*_SIGNALS) as received:
            async with anyio.create_task_group() as answers:
                async for number in received:
                    if number == signal.SIGHUP:
                        answers.start_soon(self._reload, app)
                    elif number == signal.SIGUSR1:
                        answers.start_soon(self._dump_state)
                    elif self._stopping.is_set():
                        self._exit_code = 130 if number == signal.SIGINT else os.EX_TEMPFAIL
                        scope.cancel()
                    else:
                        self._stopping.set()

    async def _dump_state(self) -> None:
        try:
            figures = await measured(self._house)
        except StoreUnavailable as error:
            self._house.telemetry.emit("task.failed", task="state dump", error=error)
        else:
            self._house.telemetry.emit("daemon.state_dumped", **figures)

    async def _drain(self, scope: anyio.CancelScope, web: WebServer) -> None:
        """Finish what is under way, within the time allowed; what remains is resumed by the next start."""
        house = self._house
        self._state.ready = False
        self._notifier.stopping("draining")
        self._notifier.extend_timeout(house.config.drain_seconds + 2 * _CLOSING_SECONDS)
        house.telemetry.emit("daemon.draining", hint="a second signal stops now")
        house.engine.drain()
        with anyio.move_on_after(house.config.drain_seconds):
            await self._state.drained.wait()
        if not self._state.drained.is_set():
            self._exit_code = os.EX_TEMPFAIL
            house.telemetry.emit("daemon.drain_expired", drain_seconds=house.config.drain_seconds)
        web.stop()
        with anyio.move_on_after(_CLOSING_SECONDS):
            await web.ended.wait()
        scope.cancel()

    async def _reload(self, app: FastAPI) -> None:
        """Take over the changed file, or keep the old configuration and say why."""
        async with self._reloading:
            await self._take_over(app)

    async def _take_over(self, app: FastAPI) -> None:
        house = self._house
        self._notifier.reloading()
        try:
            read = self._options.reload() if self._options.reload else house.config
            config = read.model_copy(update={name: getattr(self._started_with, name) for name in _AT_START})
            await declare(house, config)
        except Exception as error:  # noqa: BLE001  # a bad file must not end a daemon that works
            house.telemetry.emit("config.rejected", error=error)
            self._notifier.ready("the changed configuration was rejected; the old one goes on")
            return
        house.live.config = config
        take_over(app, config)
        house.watcher.forget()
        house.subscriptions.renew()
        waiting = [name for name in _AT_START if getattr(read, name) != getattr(config, name)]
        if _sending(config) != _sending(self._started_with):
            waiting.append("webhooks")
        house.telemetry.emit("config.reloaded", file=str(config.path), needs_restart=waiting)
        self._warn(config)
        self._notifier.ready("configuration reloaded")

    def _warn(self, config: Config) -> None:
        for warning in config.warnings:
            self._house.telemetry.emit("config.warned", problem=str(warning))

    async def _keep_alive(self) -> None:
        """Tell the watchdog that the loop and the database both still move: a bare timer proves nothing.

        A database that says no is waited for: no restart makes room on its disk, or brings its server back.
        """
        seconds = self._notifier.watchdog_seconds
        while seconds is not None:
            with suppress(StoreUnavailable):
                await self._house.database.check()
            self._notifier.watchdog()
            await self._house.clock.sleep(seconds / 2)

    async def _be_seen(self, where: str) -> None:
        """Tell the other nodes that this one works, until it ends."""
        house = self._house
        while not self._stopping.is_set():
            with suppress(StoreUnavailable):
                about = house.config.node.name, __version__, where, self._state.started_at
                await house.database.write(nodes.note, *about)
            with anyio.move_on_after(_SEEN_SECONDS):
                await self._stopping.wait()
        with suppress(StoreUnavailable):
            await house.database.write(nodes.leave, house.config.node.name)

    async def _until_idle(self) -> None:
        while not await idle(self._house, self._state.started_at):
            await self._house.clock.sleep(_IDLE_POLL_SECONDS)
        self._stopping.set()


def _sending(config: Config) -> dict[str, Any]:
    """How webhooks are sent to, without the webhooks themselves."""
    return {name: getattr(config.webhooks, name) for name in type(config.webhooks).model_fields}


def _tls(config: Config) -> Tls | None:
    certificate, key = config.api.tls_certificate, config.api.tls_key
    return None if certificate is None or key is None else Tls(certificate, key)


def _bound(config: Config) -> Any:
    host, port = config.address
    try:
        return bound(host, port)
    except OSError as error:
        raise VvwatchError(
            f"cannot listen on {config.listen}: {error.strerror}",
            "stop what uses the address, or choose another with listen (port 0 picks a free one)",
        ) from error


async def _measure(house: House, notifier: Notifier) -> None:
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
    house.telemetry.emit("daemon.measured", **figures)
    notifier.status(", ".join(f"{name} {value}" for name, value in figures.items()))


async def _sweeping(house: House) -> None:
    """By the clock that is never set: the sweep is what mends a calendar that was."""
    seconds = _FIRST_SWEEP_SECONDS
    while True:
        await house.clock.sleep(seconds)
        try:
            await put_again(house.database, house.sink, house.telemetry)
        except Exception as error:  # noqa: BLE001  # a sweep that broke must not end a daemon that works
            house.telemetry.emit("task.failed", task="sweep", error=error)
        seconds = _SWEEP_SECONDS


async def _deleting(house: House, stopping: anyio.Event) -> None:
    """Carry out what was deleted: what came while nobody looked, and what a stop broke off."""
    deleting = Deleting(house.database, house.clock, house.telemetry, stopping.is_set)
    while True:
        try:
            gone = await deleting.run()
        except StoreUnavailable as error:
            house.telemetry.emit("task.failed", task="deletions", error=error)
        else:
            if gone:
                await _cleared(house)
        await house.clock.sleep(_DELETING_SECONDS)


async def _clearing(house: House) -> None:
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
async def _housekeeping(house: House, notifier: Notifier, stopping: anyio.Event) -> AsyncIterator[None]:
    """Process-local chores on APScheduler's calendar; nothing durable rests on them."""
    pruning = Pruning(house.database, house.engine.prune, house.clock, house.telemetry, stopping.is_set)

    async def prune() -> None:
        await pruning.run(house.config.retention)

    scheduler = AsyncIOScheduler(
        timezone="UTC",
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    first_prune = random.uniform(*_FIRST_PRUNE_SECONDS)  # noqa: S311  # no secret
    scheduler.add_job(_measure, _every(_MEASURE_SECONDS, _MEASURE_SECONDS), args=(house, notifier))
    scheduler.add_job(prune, _every(_PRUNE_SECONDS, first_prune))
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=False)


def _every(seconds: float, first_seconds: float) -> IntervalTrigger:
    first = datetime.now(UTC) + timedelta(seconds=first_seconds)
    return IntervalTrigger(seconds=seconds, start_date=first, timezone="UTC")
