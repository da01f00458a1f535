"""Starts, serves, reloads, drains and stops. Every start is a resumption and needs only the database."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TextIO

import anyio
import anyio.abc
import anyio.to_thread
from fastapi import FastAPI

from vvwatch import __version__, collector
from vvwatch.api.http.wire import to_iso
from vvwatch.api.pages.login import create_login_link
from vvwatch.clock import SystemClock
from vvwatch.config import Config
from vvwatch.daemon.adopted import wait_for_adopted
from vvwatch.daemon.chores import plan_chores, requeue_periodically
from vvwatch.daemon.declaring import admin_key_id, apply_declarations
from vvwatch.daemon.exporting import exporting
from vvwatch.daemon.files import note_key_source, own_state_dir, write_private
from vvwatch.daemon.loop_watch import LoopWatch
from vvwatch.daemon.serving import WebServer, open_listener, server_address, tls_settings
from vvwatch.daemon.state import (
    DaemonState,
    apply_reloaded,
    build_app,
    is_idle,
    measure_work,
    report_nothing_watched,
)
from vvwatch.daemon.wiring import Components, build_components
from vvwatch.descriptors import raise_limit
from vvwatch.errors import StoreUnavailable
from vvwatch.notify import Notifier
from vvwatch.store.admin import nodes
from vvwatch.store.admin.nodes import Life
from vvwatch.telemetry import Telemetry, configure_logging
from vvwatch.workflow.upkeep import sandbox_report
from vvwatch.workflow.upkeep.housekeeping import requeue_work

_SEEN_SECONDS = 15.0
_BEATS = 3  # signs of life within a heartbeat
_CLOSING_SECONDS = 5
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
_AT_START = (
    "listen",
    "state_dir",
    "allow_network_state_dir",
    "database_url",
    "node",
    "public_url",
    "log",
    "debounce",
    "processing",
    "processors",
    "processor_secrets",
    "imports",
    "api",
)
_IDLE_POLL_SECONDS = 0.2


def _print_line(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # the one line that tells where the daemon answers


@dataclass(frozen=True)
class ServeOptions:
    """How this process serves.

    `once` ends when no work is left that can continue automatically; `resumes` ends pauses of processors at the
    start; `show_link` gets a link that opens the dashboard once, without a key; `observe` gets every event; `reload`
    reads the configuration again (without it SIGHUP changes nothing); `watch` measures the event loop that it creates.
    """

    environ: Mapping[str, str]
    once: bool = False
    resumes: bool = False
    announce: Callable[[str], None] = _print_line
    show_link: Callable[[str], None] | None = None
    observe: Callable[[str, Mapping[str, Any]], None] | None = None
    log_stream: TextIO = sys.stderr
    reload: Callable[[], Config] | None = None
    watch: LoopWatch = field(default_factory=LoopWatch)


async def serve(config: Config, options: ServeOptions) -> int:
    """Run the daemon until a signal (or, with `once`, until idle) and return its exit code.

    Raises VvwatchError if it cannot start: the database is owned, the address is taken, the state directory is not
    writable.
    """
    log = configure_logging(config.log.format, config.log.level, options.log_stream, options.environ)
    telemetry = Telemetry(__version__, log, keys=config.log.keys)
    if options.observe is not None:
        telemetry.subscribe(options.observe)
    raise_limit()
    asyncio.get_running_loop().set_exception_handler(partial(_report_loop, telemetry))
    components = build_components(config, SystemClock(), telemetry, options.environ)
    async with components.database.opened(), own_state_dir(config), exporting(telemetry, options.environ):
        try:
            with options.watch.reporting(telemetry):
                return await Supervisor(components, options).run()
        finally:
            await components.aclose()


def _report_loop(telemetry: Telemetry, _loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Report an error that asyncio found; its own handler would log each time, with all objects involved."""
    telemetry.emit("loop.failed", message=context.get("message", ""), error=context.get("exception"))


class Supervisor:
    def __init__(self, components: Components, options: ServeOptions) -> None:
        self._components = components
        self._options = options
        self._notifier = Notifier(options.environ, os.getpid())
        self._state = DaemonState(components.clock.now())
        self._exit_code = os.EX_OK
        self._stopping = anyio.Event()
        self._started_with = components.config
        self._reloading = anyio.Lock()

    async def run(self) -> int:
        components = self._components
        components.clear_spool()
        await components.engine.setup()
        await apply_declarations(components, components.config)
        await components.pauses.renew(all_of_them=self._options.resumes)
        await components.uploads.settle()
        await requeue_work(components.database, components.sink, components.telemetry)
        components.telemetry.emit(
            "daemon.started", version=__version__, state_dir=str(components.config.state_dir)
        )
        self._warn(components.config)
        sandbox_report.report_sandbox(components.telemetry)
        listener = open_listener(components.config)
        tls = tls_settings(components.config)
        where = server_address(listener, tls)
        app = await anyio.to_thread.run_sync(build_app, components, self._state, where)
        web = WebServer(app, listener, tls, components.connections, components.config.api.trusted_proxies)
        calendar = plan_chores(components, self._notifier, self._stopping, app)
        async with anyio.create_task_group() as tasks, calendar.running():
            tasks.start_soon(self._signals, tasks.cancel_scope, app)
            async with anyio.create_task_group() as watching:
                await watching.start(components.subscriptions.run)
                watching.start_soon(components.watcher.settle)
                watching.start_soon(components.troubles.run)
                tasks.start_soon(self._work, tasks.cancel_scope)
                await tasks.start(web.run)
                self._ready(where, app)
                await report_nothing_watched(components, self._options.announce)
                tasks.start_soon(self._keep_alive)
                tasks.start_soon(requeue_periodically, components, calendar)
                tasks.start_soon(components.refused.run)
                tasks.start_soon(wait_for_adopted)
                if components.config.replicated:
                    tasks.start_soon(self._be_seen, where)
                if self._options.once:
                    watching.start_soon(self._until_idle)
                await self._stopping.wait()
                watching.cancel_scope.cancel()
            await self._drain(tasks.cancel_scope, web)
        # Commands look for another daemon then; where one was killed they say that it does not answer.
        with suppress(OSError):
            (components.config.state_dir / "address").unlink()
        components.telemetry.emit("daemon.stopped", reason=f"exit code {self._exit_code}")
        return self._exit_code

    def _ready(self, where: str, app: FastAPI) -> None:
        components = self._components
        write_private(components.config.state_dir / "address", where)
        note_key_source(components.config, self._options.environ)
        self._state.ready = True
        collector.relax_collector()
        self._notifier.ready(f"ready on {where}")
        components.telemetry.emit("daemon.ready", address=where, version=__version__)
        self._options.announce(f"vvwatch {__version__} ready on {where}")
        if self._options.show_link is not None:
            self._options.show_link(create_login_link(app, where, admin_key_id(components.config)))

    async def _work(self, scope: anyio.CancelScope) -> None:
        await self._components.work()
        self._state.drained.set()
        if not self._stopping.is_set():
            scope.cancel()

    async def _signals(self, scope: anyio.CancelScope, app: FastAPI) -> None:
        """Handle signals; a stop takes effect at once, even while another signal's answer waits for the database."""
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
            figures = await measure_work(self._components)
        except StoreUnavailable as error:
            self._components.telemetry.emit("task.failed", task="state dump", error=error)
        else:
            self._components.telemetry.emit("daemon.state_dumped", **figures)

    async def _drain(self, scope: anyio.CancelScope, web: WebServer) -> None:
        """Finish running work within the time allowed; the next start resumes the rest."""
        components = self._components
        self._state.ready = False
        self._notifier.stopping("draining")
        self._notifier.extend_timeout(components.config.drain_seconds + 2 * _CLOSING_SECONDS)
        components.telemetry.emit("daemon.draining", hint="a second signal stops now")
        components.engine.drain()
        components.limiters.drain()
        with anyio.move_on_after(components.config.drain_seconds):
            await self._state.drained.wait()
        if not self._state.drained.is_set():
            self._exit_code = os.EX_TEMPFAIL
            components.telemetry.emit("daemon.drain_expired", drain_seconds=components.config.drain_seconds)
        web.stop()
        with anyio.move_on_after(_CLOSING_SECONDS):
            await web.ended.wait()
        scope.cancel()

    async def _reload(self, app: FastAPI) -> None:
        """Apply the changed file, or keep the old configuration and report why."""
        async with self._reloading:
            await self._take_over(app)

    async def _take_over(self, app: FastAPI) -> None:
        components = self._components
        self._notifier.reloading()
        try:
            reload = self._options.reload
            read = await anyio.to_thread.run_sync(reload) if reload else components.config
            config = read.model_copy(update={name: getattr(self._started_with, name) for name in _AT_START})
            await apply_declarations(components, config)
        except Exception as error:  # noqa: BLE001  # a bad file must not end a daemon that works
            components.telemetry.emit("config.rejected", error=error)
            self._notifier.ready("the changed configuration was rejected; the old one stays in force")
            return
        components.take_over(config)
        apply_reloaded(app, config)
        components.watcher.forget()
        components.subscriptions.renew()
        waiting = [name for name in _AT_START if getattr(read, name) != getattr(config, name)]
        if _webhook_settings(config) != _webhook_settings(self._started_with):
            waiting.append("webhooks")
        components.telemetry.emit("config.reloaded", file=str(config.path), needs_restart=waiting)
        self._warn(config)
        self._notifier.ready("configuration reloaded")

    def _warn(self, config: Config) -> None:
        for warning in config.warnings:
            self._components.telemetry.emit("config.warned", problem=str(warning))

    async def _keep_alive(self) -> None:
        """Notify the watchdog while the loop and the database work: a bare timer proves nothing.

        An unavailable database does not count as hanging: no restart frees its disk or brings its server back.
        """
        seconds = self._notifier.watchdog_seconds
        while seconds is not None:
            with suppress(StoreUnavailable):
                await self._components.database.check()
            self._notifier.watchdog()
            await self._components.clock.sleep(seconds / 2)

    async def _be_seen(self, where: str) -> None:
        """Send heartbeats to the other nodes until the daemon stops."""
        components = self._components
        heartbeat = components.config.node.heartbeat_seconds
        while not self._stopping.is_set():
            with suppress(StoreUnavailable):
                await send_heartbeat(
                    components, Life(*self._me(where), heartbeat, components.engine.under_way())
                )
            with anyio.move_on_after(min(heartbeat / _BEATS, _SEEN_SECONDS)):
                await self._stopping.wait()
        with suppress(StoreUnavailable):
            await components.database.write(nodes.remove_node, components.config.node.name)

    def _me(self, where: str) -> tuple[str, str, str, float]:
        return self._components.config.node.name, __version__, where, self._state.started_at

    async def _until_idle(self) -> None:
        while not await is_idle(self._components, self._state.started_at):
            await self._components.clock.sleep(_IDLE_POLL_SECONDS)
        self._stopping.set()


def _webhook_settings(config: Config) -> dict[str, Any]:
    """Return the settings for sending webhooks that a reload does not apply."""
    names = type(config.webhooks).model_fields
    return {name: getattr(config.webhooks, name) for name in names if not name.startswith("allow_")}


async def send_heartbeat(components: Components, life: Life) -> None:
    """Send a heartbeat; report an earlier loss of this node, and other nodes that are lost now."""
    now = components.clock.now()
    seen_at = await components.database.write(nodes.record_life, life)
    if seen_at is not None:
        silent = round(now - seen_at, 1)
        components.telemetry.emit(
            "node.returned", node=life.name, seen_at=to_iso(seen_at), silent_seconds=silent
        )
    for node in await components.database.write(nodes.claim_lost):
        components.telemetry.emit(
            "node.lost",
            node=node.name,
            address=node.address,
            seen_at=to_iso(node.seen_at),
            silent_seconds=round(now - node.seen_at, 1),
            held=dict(node.held),
            waiting=list(node.waiting),
        )
