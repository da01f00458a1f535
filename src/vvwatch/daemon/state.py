"""What the daemon says of itself: readiness, status, and whether anything is left to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import anyio
import sqlalchemy as sa
from fastapi import FastAPI

from vvwatch import __version__
from vvwatch.api.app import create_app
from vvwatch.api.context import ApiContext, ApiSettings
from vvwatch.config import Config
from vvwatch.core.rate_limits import Limits
from vvwatch.daemon.wiring import House
from vvwatch.ports import Kind
from vvwatch.store import automations, nodes
from vvwatch.store.database import ENTITIES, JobSink, Tx
from vvwatch.store.schema import deliveries, import_automations, import_files, run_items, windows

_UPLOAD_WAIT_SECONDS = 5.0


@dataclass
class DaemonState:
    """Where the daemon is in its life."""

    started_at: float
    ready: bool = False
    drained: anyio.Event = field(default_factory=anyio.Event)


def app_for(house: House, state: DaemonState, address: str) -> FastAPI:
    """The API over this house."""
    config = house.config

    async def status() -> dict[str, Any]:
        return {
            "version": __version__,
            "address": address,
            "started_at": state.started_at,
            "ready": state.ready,
            "sources": {name: asdict(health) for name, health in house.subscriptions.health().items()},
            "queues": {name: asdict(health) for name, health in house.subscriptions.queue_health().items()},
            "settling": house.watcher.settling(),
            **(await _nodes(house) if config.replicated else {}),
        }

    settings = ApiSettings(
        allow_http=config.webhooks.allow_http,
        allow_private_addresses=config.webhooks.allow_private_addresses,
        debounce_scale=config.debounce.scale,
        listen_host=config.address[0],
        public_url=config.public_url,
        state_dir=config.state_dir,
        node=config.node.name if config.replicated else "",
        any_download_url=config.api.download_urls == "any",
        limits=Limits.of(config.api.requests_per_minute, config.api.requests_per_hour),
        max_upload_bytes=config.api.max_upload_bytes,
        upload_wait_seconds=_UPLOAD_WAIT_SECONDS,
    )
    return create_app(
        ApiContext(
            database=house.database,
            clock=house.clock,
            box=house.box,
            storages=house.storages,
            document=house.exports.document,
            processors=house.processors,
            settings=_with_reloadable(settings, config),
            status=status,
            readiness=lambda: {"serving": state.ready, "store": house.database.works},
            metrics=house.telemetry.exposition,
            telemetry=house.telemetry,
            uploads=house.uploads,
            addresses=house.storages.addresses,
            queues=house.queues,
            test_webhook=house.deliveries.test,
        )
    )


def take_over(app: FastAPI, config: Config) -> None:
    """Let the API go by what a reload takes over of `config`."""
    context: ApiContext = app.state.context
    app.state.context = replace(context, settings=_with_reloadable(context.settings, config))


def _with_reloadable(settings: ApiSettings, config: Config) -> ApiSettings:
    return replace(
        settings,
        local_roots=config.local.roots,
        any_token_uri=config.storage.gcs.endpoint_url is not None,
        store_hosts=_store_hosts(config),
    )


def _store_hosts(config: Config) -> dict[str, str]:
    """Provider to the host at which the configuration has its usual endpoint, where it names one."""
    urls = {name: getattr(config.storage, name).endpoint_url for name in ("s3", "gcs", "azure")}
    return {name: urlsplit(url).hostname or "" for name, url in urls.items() if url}


async def _nodes(house: House) -> dict[str, Any]:
    found = await house.database.read(nodes.present)
    return {"node": house.config.node.name, "nodes": [asdict(node) for node in found]}


async def idle(house: House, started_at: float) -> bool:
    """Whether all that was there is done: scanned since the start, settled, no window open, no work waiting."""
    if house.watcher.settling() or house.watcher.busy():
        return False
    return await house.database.read(_nothing_left, started_at)


async def measured(house: House) -> dict[str, Any]:
    """What is under way, in numbers."""
    return await house.database.read(_figures, house.sink)


async def watched(house: House) -> dict[str, set[str]]:
    """The ids of what is at work now, by the label that metrics have for it."""
    pairs = await house.database.read(automations.all_active)
    return {
        "automation": {automation.id for automation, _ in pairs},
        "connector": {connector.id for _, connector in pairs if connector.events},
    }


def _figures(tx: Tx, sink: JobSink) -> dict[str, Any]:
    return {
        "automations": _count(tx, import_automations.c.enabled, ~import_automations.c.paused),
        "windows_open": _count(tx, windows.c.state == "open"),
        "files_pending": _unfinished(tx, import_files),
        "items_pending": _unfinished(tx, run_items),
        "delivery_backlog": _count(tx, deliveries.c.completed_at.is_(None)),
        "jobs_due": sink.due(tx),
    }


def _unfinished(tx: Tx, table: sa.Table) -> int:
    """What is in the engine's hands and what waits for its share; each has an index of its own."""
    in_hand = _count(tx, table.c.next_at.is_not(None))
    return in_hand + _count(tx, table.c.status == "pending", table.c.next_at.is_(None))


def _count(tx: Tx, *conditions: sa.ColumnElement[bool]) -> int:
    return int(tx.execute(sa.select(sa.func.count()).where(*conditions)).scalar_one())


def _nothing_left(tx: Tx, started_at: float) -> bool:
    waiting = [table for kind, table in ENTITIES.items() if kind is not Kind.SCAN]
    for table in waiting:
        if tx.first(sa.select(table.c.id).where(table.c.next_at.is_not(None)).limit(1)) is not None:
            return False
    unscanned = sa.select(import_automations.c.id).where(
        import_automations.c.enabled,
        ~import_automations.c.paused,
        sa.func.coalesce(import_automations.c.last_scan_at, 0.0) < started_at,
    )
    return tx.first(unscanned) is None
