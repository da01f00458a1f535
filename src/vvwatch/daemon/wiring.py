"""Constructs every part of the daemon; nothing else does."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from vvwatch.config import Config
from vvwatch.config.processors import PaidProcessor, budgets_of
from vvwatch.core.absence import ANY_PLACE
from vvwatch.core.budgets import Budgets
from vvwatch.core.connections import ConnectionLimits, affordable_connections
from vvwatch.core.processors import NOBODY
from vvwatch.daemon.alerting import build_alerts, build_receivers
from vvwatch.daemon.limiting import Limiters, compute_fingerprints
from vvwatch.daemon.parts import build_files, build_resources, open_senders
from vvwatch.daemon.serving import Connections
from vvwatch.daemon.state_dir import prepare_state_dir
from vvwatch.daemon.storages import Storages, open_queue
from vvwatch.daemon.transcribing import build_transcriber
from vvwatch.descriptors import file_limit
from vvwatch.errors import StoreUnavailable
from vvwatch.ports import Clock, Engine, EventQueue, Handler, Job, Kind, Lane, Source
from vvwatch.ports.processing import Processor
from vvwatch.processors.embedding.embedder import Embedder
from vvwatch.processors.media.forking import Template
from vvwatch.processors.registry import Resources, open_processors
from vvwatch.processors.technical.processor import open_prober
from vvwatch.providers.local.filesystems import place_of
from vvwatch.providers.local.source import FolderSource
from vvwatch.providers.spool import Spool
from vvwatch.senders.downloads import Downloads
from vvwatch.senders.http import HttpSender
from vvwatch.store.admin.secret_keys import find_keys
from vvwatch.store.db.database import Database, JobSink
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.db.opening import require_postgresql
from vvwatch.store.db.queues import FETCH, queue_name
from vvwatch.store.models.catalog import Connector
from vvwatch.store.runs.run_queries import processors_in_use
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.attachments import Attachments
from vvwatch.workflow.pipeline.deliveries import Deliveries, DeliveryPolicy
from vvwatch.workflow.pipeline.exports import Exports
from vvwatch.workflow.pipeline.facts import FactUpdates
from vvwatch.workflow.pipeline.import_retries import ImportRetries
from vvwatch.workflow.pipeline.imports import Imports
from vvwatch.workflow.pipeline.pauses import Pauses
from vvwatch.workflow.pipeline.pictures import Pictures
from vvwatch.workflow.pipeline.reading import Reading
from vvwatch.workflow.pipeline.runs import Runs
from vvwatch.workflow.pipeline.uploads import Uploads
from vvwatch.workflow.upkeep.alerting import Alerts
from vvwatch.workflow.upkeep.refusals import RefusedRequests
from vvwatch.workflow.watching.one_time import OneTimeImports
from vvwatch.workflow.watching.subscriptions import Subscriptions
from vvwatch.workflow.watching.watcher import MAX_SCANS_PER_CONNECTOR, Watcher
from vvwatch.workflow.watching.windows import WindowCloser

_SCAN_SLOTS = MAX_SCANS_PER_CONNECTOR + 1
_WINDOW_SLOTS = 4
_IMPORT_JOB_SLOTS = 4
_FETCH_SLOTS = 16
_RUN_SLOTS = 2
_RETRY_SLOTS = 1
_FAILING_SLOTS = 1
_FACTS_SLOTS = 2
_EXPORT_SLOTS = 2
_DELIVERY_SLOTS = 64
_SAFETY_SCAN_SECONDS = 300.0


@dataclass
class Live:
    """The current configuration; a reload replaces it."""

    config: Config


@dataclass(frozen=True)
class Components:
    """All parts of the daemon."""

    live: Live
    clock: Clock
    telemetry: Telemetry
    database: Database
    engine: StoreEngine
    sink: JobSink
    box: SecretBox
    sender: HttpSender
    processors: Mapping[str, Processor]
    pauses: Pauses
    limiters: Limiters
    watcher: Watcher
    windows: WindowCloser
    one_time: OneTimeImports
    imports: Imports
    troubles: ImportRetries
    runs: Runs
    facts: FactUpdates
    exports: Exports
    pictures: Pictures
    deliveries: Deliveries
    subscriptions: Subscriptions
    storages: Storages
    uploads: Uploads
    downloads: Downloads
    connections: Connections
    refused: RefusedRequests
    alerts: Alerts
    queues: Callable[[Connector], EventQueue]
    spool: Path
    template: Template
    embedder: Embedder | None = None

    @property
    def config(self) -> Config:
        """The current configuration."""
        return self.live.config

    def take_over(self, config: Config) -> None:
        """Apply what a reload may change."""
        self.live.config = config
        self.sender.guard.policy = config.webhooks.policy
        self.downloads.guard.policy = config.attachments.policy
        self.alerts.receivers = build_receivers(config, self.sender)

    def clear_spool(self) -> None:
        """Empty the spool: a dead process left it useless."""
        shutil.rmtree(self.spool, ignore_errors=True)
        self.spool.mkdir(mode=0o700, exist_ok=True)
        self.exports.prepare()
        self.pictures.prepare()
        self.uploads.folder.prepare()

    async def aclose(self) -> None:
        """End running processors and close all connections, after saving the counts of refused requests."""
        await self.refused.flush()
        for processor in self.processors.values():
            await processor.aclose()
        await self.template.aclose()
        await self.limiters.aclose()
        await self.storages.aclose()
        await self.sender.aclose()
        await self.downloads.aclose()

    def handlers(self) -> dict[Kind, Handler]:
        """Return the handler of each kind of work."""
        return {
            Kind.SCAN: self.watcher.scan,
            Kind.WINDOW: self.windows.advance,
            Kind.IMPORT_JOB: self.one_time.advance,
            Kind.IMPORT_FILE: self.imports.file,
            Kind.RUN: self.runs.course,
            Kind.RUN_ITEM: self.runs.item,
            Kind.SEGMENT_RETRY: self.runs.retry,
            Kind.FACTS: self.facts.update,
            Kind.EXPORT: self.exports.export,
            Kind.DELIVERY: self.deliveries.deliver,
        }

    async def work(self) -> None:
        """Run due work until the engine is stopped.

        Takes work for processors that are no longer configured, too: it fails with that reason instead of waiting
        for ever.
        """
        wanted = await self.database.read(processors_in_use)
        await self.engine.run(self.handlers(), self.lanes(wanted - self.processors.keys()))

    def lanes(self, gone: Collection[str] = ()) -> tuple[Lane, ...]:
        """Return how much of each kind runs at once here: decoding by the cores; the rest mostly waits.

        `gone` are processors that runs need and that are not configured.
        """
        heavy = self.config.processing.concurrency
        plain = {
            Kind.SCAN: _SCAN_SLOTS,
            Kind.WINDOW: _WINDOW_SLOTS,
            Kind.IMPORT_JOB: _IMPORT_JOB_SLOTS,
            Kind.IMPORT_FILE: heavy,
            Kind.RUN: _RUN_SLOTS,
            Kind.FACTS: _FACTS_SLOTS,
            Kind.EXPORT: _EXPORT_SLOTS,
            Kind.DELIVERY: _DELIVERY_SLOTS,
        }
        return (
            *(self._lane(kind, slots) for kind, slots in plain.items()),
            self._lane(Kind.IMPORT_FILE, _FETCH_SLOTS, FETCH),
            *(self._lane(Kind.RUN_ITEM, self._slots(name), name) for name in self.processors),
            *(self._lane(Kind.SEGMENT_RETRY, _RETRY_SLOTS, name) for name in self.processors),
            *(
                self._lane(kind, _FAILING_SLOTS, name)
                for kind in (Kind.RUN_ITEM, Kind.SEGMENT_RETRY)
                for name in {NOBODY, *gone}
            ),
        )

    def _slots(self, processor: str) -> int:
        """Return how many items a processor works on at once here."""
        table = self.config.processors.get(processor)
        return table.concurrency if isinstance(table, PaidProcessor) else self.config.processing.concurrency

    def _lane(self, kind: Kind, slots: int, need: str = "") -> Lane:
        """Return the lane for what any node may do and what only this one can."""
        node = self.config.node.name
        return Lane(kind, (queue_name(kind, need), queue_name(kind, need, node)), slots)


def build_components(
    config: Config, clock: Clock, telemetry: Telemetry, environ: Mapping[str, str]
) -> Components:
    """Return all parts, wired, nothing started. Raises VvwatchError if the state directory is unusable."""
    _make_state_dir(config.state_dir, telemetry)
    clock, database, engine = _open_store(config, clock, telemetry)
    database.processors, database.tell = config.processor_names, partial(report_database, telemetry)
    live, spool, box = Live(config), config.state_dir / "spool", find_keys(config.state_dir, environ).box()
    storages = Storages(lambda: live.config, box, Spool(spool, config.processing.spool_bytes))
    base, (sender, downloads) = (database, clock, telemetry), open_senders(config)
    uploads, pictures = build_files(config, base)
    pauses, limiters, budgets = _build_limiters(config, box, base)
    template = Template(telemetry.emit)
    resources = build_resources(config, base, limiters, template)
    processors, speech = open_processors(config, resources), build_transcriber(config, database, resources)
    reading = _build_reading(config, resources, storages, processors)
    watcher, queues = _build_watcher(config, base, reading, random.random), partial(open_queue, storages)
    return Components(
        live=live,
        clock=clock,
        telemetry=telemetry,
        database=database,
        engine=engine,
        sink=engine,
        box=box,
        sender=sender,
        processors=processors,
        pauses=pauses,
        limiters=limiters,
        watcher=watcher,
        windows=WindowCloser(database, telemetry),
        one_time=OneTimeImports(*base, reading),
        imports=Imports(database, telemetry, reading, Attachments(database, box, uploads, downloads)),
        troubles=ImportRetries(database, telemetry, reading, watcher.notice, config.node.name),
        runs=Runs(database, telemetry, reading, budgets, pauses, speech, pictures),
        pictures=pictures,
        facts=FactUpdates(database, telemetry, reading),
        exports=Exports(database, clock, telemetry, reading, config.state_dir / "exports"),
        deliveries=Deliveries(*base, sender, box, _delivery_policy(config), random.random),
        subscriptions=_build_subscriptions(config, watcher, queues, base, random.random),
        storages=storages,
        uploads=uploads,
        downloads=downloads,
        connections=Connections(connection_limits(config), telemetry, clock),
        refused=RefusedRequests(database, clock, telemetry),
        alerts=build_alerts(config, base, sender),
        queues=queues,
        template=template,
        embedder=Embedder(config.search.model_dir) if config.search.model_dir else None,
        spool=spool,
    )


def _build_reading(
    config: Config, resources: Resources, storages: Storages, processors: Mapping[str, Processor]
) -> Reading:
    bounds = config.processing.attempts, random.random, config.imports.bound, config.imports.patience
    given = resources.clock, storages.for_work, open_prober(resources), processors
    return Reading(*given, *bounds, names=config.processor_names)


def _build_watcher(
    config: Config, base: tuple[Database, Clock, Telemetry], reading: Reading, sample: Callable[[], float]
) -> Watcher:
    watcher = Watcher(*base, reading.open_storage, sample)
    watcher.scanner.confirmation, watcher.scanner.place_of = (
        config.imports.confirmation,
        _folder_identity,
    )
    return watcher


def _delivery_policy(config: Config) -> DeliveryPolicy:
    return DeliveryPolicy(config.webhooks.delays_seconds, config.webhooks.disable_after)


def connection_limits(config: Config) -> ConnectionLimits:
    """Return how many connections the API accepts: the configured number, as far as open files allow."""
    total = affordable_connections(config.api.max_connections, file_limit())
    return ConnectionLimits(total, config.api.max_connections_per_address)


def _build_limiters(
    config: Config, box: SecretBox, base: tuple[Database, Clock, Telemetry]
) -> tuple[Pauses, Limiters, Budgets]:
    database, _, telemetry = base
    pauses = Pauses(database, telemetry, compute_fingerprints(config, box))
    limiters = Limiters(*base, pauses, config.node.name if config.replicated else "")
    return pauses, limiters, budgets_of(config.processing.budget, config.processors)


def _build_subscriptions(
    config: Config,
    watcher: Watcher,
    queues: Callable[[Connector], EventQueue],
    base: tuple[Database, Clock, Telemetry],
    sample: Callable[[], float],
) -> Subscriptions:
    """Return the subscriptions to events, which also tell the watcher when few listings are enough."""
    clock = base[1]
    found = Subscriptions(
        *base, watcher, lambda _, connector: _open_source(config, clock, connector), queues, sample
    )
    watcher.listens = found.listens
    return found


class StoreEngine(Engine, JobSink, Protocol):
    """An engine that a database commits to."""

    def under_way(self) -> Mapping[str, int]:
        """Return how many jobs run here now, by their kind."""
        ...


def _open_store(config: Config, clock: Clock, telemetry: Telemetry) -> tuple[Clock, Database, StoreEngine]:
    """Return the clock, database and engine for `database_url`; imports only these.

    Raises InvalidInput if the packages for PostgreSQL are missing.
    """

    def report(job: Job | None, error: Exception) -> None:
        _report_failure(telemetry, job, error)

    if not config.replicated:
        from vvwatch.store.db.sqlite import SqliteDatabase  # noqa: PLC0415  # only what is asked for
        from vvwatch.store.db.sqlite_engine import SqliteEngine  # noqa: PLC0415

        file = SqliteDatabase(config.database_path, clock)
        return clock, file, SqliteEngine(file, report)
    with require_postgresql():
        from vvwatch.store.db.postgres import DatabaseClock, PostgresDatabase  # noqa: PLC0415
        from vvwatch.store.db.postgres_engine import PgQueuerEngine  # noqa: PLC0415
    url, common = config.database_url, DatabaseClock(clock)
    server = PostgresDatabase(url, common)
    return common, server, PgQueuerEngine(server, url, report, config.node.heartbeat_seconds)


def _make_state_dir(path: Path, telemetry: Telemetry) -> None:
    found = prepare_state_dir(path)
    if found.closed:
        telemetry.emit("state_dir.closed", state_dir=str(path), names=list(found.closed))
    if found.doubt:
        telemetry.emit("state_dir.open", state_dir=str(path), problem=found.doubt)


def _open_source(config: Config, clock: Clock, connector: Connector) -> Source | None:
    """Return the folder's event source; None for a share, which reports no writes of other machines."""
    elsewhere = connector.node not in ("", config.node.name)
    if connector.provider != "local" or connector.settings.get("shared") or elsewhere:
        return None
    root = Path(connector.settings["root"])
    return FolderSource(root, clock=clock, sweep_seconds=_SAFETY_SCAN_SECONDS)


def report_database(telemetry: Telemetry, error: StoreUnavailable | None) -> None:
    """Report an outage once, however many calls meet it, and once when it is over."""
    if error is not None:
        telemetry.emit("database.unavailable", error=error)
    elif past := telemetry.over("database.unavailable"):
        seconds = round(past.lasted_seconds, 1)
        telemetry.emit("database.available", outage_seconds=seconds, failures=past.times)


def _folder_identity(connector: Connector) -> str | None:
    """Return what identifies the folder: a bucket that answers is always the same, a mount may change."""
    return place_of(Path(connector.settings["root"])) if connector.provider == "local" else ANY_PLACE


def _report_failure(telemetry: Telemetry, job: Job | None, error: Exception) -> None:
    if job is None:
        telemetry.emit("task.failed", task="engine", error=error)
    else:
        telemetry.emit("job.failed", kind=job.kind.value, ref=job.ref, attempt=job.attempt, error=error)
