"""What the daemon reports about itself: readiness, status, and whether work is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import anyio
from fastapi import FastAPI

from vvwatch import __version__
from vvwatch.api.app import create_app
from vvwatch.api.http.context import ApiContext, ApiSettings
from vvwatch.config import Config
from vvwatch.config.processors import budgets_of
from vvwatch.core.connections import affordable_streams
from vvwatch.core.rate_limits import Limits
from vvwatch.core.shortages import CODES
from vvwatch.daemon.parts import build_clips
from vvwatch.daemon.wiring import Components
from vvwatch.errors import StoreUnavailable
from vvwatch.ports.processing import Examinable
from vvwatch.store.admin import nodes, shortages, workload
from vvwatch.store.watching import automations

_UPLOAD_WAIT_SECONDS = 5.0


@dataclass
class DaemonState:
    """The phase of the daemon's life."""

    started_at: float
    ready: bool = False
    drained: anyio.Event = field(default_factory=anyio.Event)


def build_app(components: Components, state: DaemonState, address: str) -> FastAPI:
    """Return the API over these components."""
    config = components.config

    async def status() -> dict[str, Any]:
        return {
            "version": __version__,
            "address": address,
            "started_at": state.started_at,
            "ready": state.ready,
            "database": {"writable": components.database.works, "error": components.database.trouble or None},
            **_source_health(components),
            "pressure": _connection_pressure(components),
            "settling": components.watcher.settling(),
            **(await _node_status(components) if config.replicated else {}),
        }

    return create_app(
        ApiContext(
            database=components.database,
            clock=components.clock,
            box=components.box,
            storages=components.storages,
            document=components.exports.document,
            processors=components.processors,
            settings=_with_reloadable(_api_settings(components), config),
            status=status,
            readiness=lambda: {"serving": state.ready, "store": components.database.works},
            metrics=components.telemetry.exposition,
            telemetry=components.telemetry,
            uploads=components.uploads,
            refused=components.refused,
            addresses=components.storages.addresses,
            queues=components.queues,
            calls_in_flight=components.limiters.in_flight,
            test_webhook=components.deliveries.test,
            alerts=components.alerts,
            embedder=components.embedder,
            dependencies=_list_dependencies(components),
            clips=build_clips(config, components.storages.spool, components.spool, components.template),
            budgets=budgets_of(config.processing.budget, config.processors),
        )
    )


def _list_dependencies(components: Components) -> dict[str, Examinable]:
    """Return what can check itself beside the processors."""
    found = dict(components.runs.dependencies)
    if components.embedder is not None:
        found["search"] = components.embedder
    return found


def _api_settings(components: Components) -> ApiSettings:
    """Return the settings that stay until the next start."""
    config = components.config
    return ApiSettings(
        debounce_scale=config.debounce.scale,
        listen_host=config.address[0],
        public_url=config.public_url,
        state_dir=config.state_dir,
        node=config.node.name if config.replicated else "",
        any_download_url=config.api.download_urls == "any",
        limits=Limits.of(config.api.requests_per_minute, config.api.requests_per_hour),
        max_upload_bytes=config.api.max_upload_bytes,
        upload_wait_seconds=_UPLOAD_WAIT_SECONDS,
        max_streams_per_key=affordable_streams(
            config.api.max_streams_per_key, components.connections.limits.total
        ),
    )


def _source_health(components: Components) -> dict[str, Any]:
    """Return the health of sources, queues and stores that do not answer."""
    found = {
        "sources": components.subscriptions.health(),
        "queues": components.subscriptions.queue_health(),
        "connectors": components.watcher.scanner.unanswered.health(),
    }
    return {part: {name: asdict(each) for name, each in all_.items()} for part, all_ in found.items()}


def _connection_pressure(components: Components) -> dict[str, Any] | None:
    """Return the limit of connections reached recently."""
    found = components.connections.pressure()
    return None if found is None else asdict(found)


def apply_reloaded(app: FastAPI, config: Config) -> None:
    """Apply to the API what a reload may change."""
    context: ApiContext = app.state.context
    app.state.context = replace(context, settings=_with_reloadable(context.settings, config))


def _with_reloadable(settings: ApiSettings, config: Config) -> ApiSettings:
    return replace(
        settings,
        local_roots=config.local.roots,
        store_hosts=_store_hosts(config),
        webhook_policy=config.webhooks.policy,
        attachment_policy=config.attachments.policy,
    )


def _store_hosts(config: Config) -> dict[str, str]:
    """Return the host of each provider's configured endpoint."""
    urls = {kind: usual.endpoint_url for kind, usual in config.storage.items()}
    return {kind: urlsplit(url).hostname or "" for kind, url in urls.items() if url}


async def _node_status(components: Components) -> dict[str, Any]:
    found = await components.database.read(nodes.list_nodes)
    return {"node": components.config.node.name, "nodes": [_node_to_dict(node) for node in found]}


def _node_to_dict(node: nodes.Node) -> dict[str, Any]:
    lost = node.lost_at is not None or node.waiting
    words = {"loss": node.loss, "remedy": node.remedy} if lost else {"loss": "", "remedy": ""}
    return {**asdict(node), **words}


async def report_nothing_watched(components: Components, announce: Callable[[str], None]) -> None:
    """Report if nothing is watched: an idle daemon looks like a working one."""
    try:
        is_idle = not await components.database.read(automations.has_import_automations)
    except StoreUnavailable:  # which is logged as an outage; this must not end the daemon
        return
    if not is_idle:
        return
    file = components.config.path or "a vvwatch.toml (`vvwatch init` writes one)"
    hint = f"declare an automation in {file} and reload, or make one over the API"
    components.telemetry.emit("daemon.idle", hint=hint)
    announce(f"nothing is watched yet: {hint}")


async def _report_recovery(components: Components) -> None:
    waiting = {each.code for each in await components.database.read(shortages.list_waiting)}
    for code in CODES:
        past = None if code in waiting else components.telemetry.over("machine.shortage", reason=code)
        if past is not None:
            seconds = round(past.lasted_seconds, 1)
            components.telemetry.emit(
                "machine.recovered", reason=code, outage_seconds=seconds, failures=past.times
            )


async def is_idle(components: Components, started_at: float) -> bool:
    """Return whether all work is done: scanned since the start, settled, no window open, no job waiting.

    Ignores work that waits for a processor that only a person can resume.
    """
    if components.watcher.settling() or components.watcher.busy():
        return False
    return await components.database.read(workload.has_nothing_left, started_at)


async def measure_work(components: Components) -> dict[str, Any]:
    """Return the work under way in numbers. Reports the end of a shortage of this machine."""
    await _report_recovery(components)
    figures = await components.database.read(workload.read_figures, components.sink)
    return {**figures, "connections_open": len(components.connections)}


async def list_watched(components: Components) -> dict[str, set[str]]:
    """Return the ids of active resources by their metrics label."""
    pairs = await components.database.read(automations.list_active)
    return {
        "automation": {automation.id for automation, _ in pairs},
        "connector": {connector.id for _, connector in pairs if connector.events},
    }
