"""Everything is put together here, and only here."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from vvwatch.config import Config
from vvwatch.core.media import DEFAULT_PROCESSOR
from vvwatch.daemon.queues import open_queue
from vvwatch.daemon.storages import Storages
from vvwatch.errors import VvwatchError
from vvwatch.ports import Clock, Engine, EventQueue, Handler, Job, Kind, Lane, Processor, Source
from vvwatch.processors.technical import Limits, TechnicalProcessor
from vvwatch.senders.downloads import Downloads
from vvwatch.senders.guard import Guard
from vvwatch.senders.http import HttpSender
from vvwatch.sources.folder import FolderSource
from vvwatch.storage.spool import Spool
from vvwatch.storage.uploads import UploadsFolder
from vvwatch.store.database import Database, JobSink
from vvwatch.store.encryption import SecretBox, load_or_create_key
from vvwatch.store.opening import needing_postgresql
from vvwatch.store.queues import FETCH, queue_name
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.attachments import Attachments
from vvwatch.workflow.deliveries import Deliveries, DeliveryPolicy
from vvwatch.workflow.exports import Exports
from vvwatch.workflow.imports import Imports
from vvwatch.workflow.one_time import OneTimeImports
from vvwatch.workflow.reading import Reading
from vvwatch.workflow.runs import Runs
from vvwatch.workflow.subscriptions import Subscriptions
from vvwatch.workflow.uploads import Uploads
from vvwatch.workflow.watch import Watcher
from vvwatch.workflow.windows import Windows

_SCAN_SLOTS = 4
_WINDOW_SLOTS = 4
_IMPORT_JOB_SLOTS = 4
_FETCH_SLOTS = 16
_RUN_SLOTS = 2
_RETRY_SLOTS = 1
_EXPORT_SLOTS = 2
_DELIVERY_SLOTS = 64
_SAFETY_SWEEP_SECONDS = 300.0
_DOWNLOAD_SECONDS = 30.0


@dataclass
class Live:
    """The configuration in force; a reload replaces it."""

    config: Config


@dataclass(frozen=True)
class House:
    """All parts of the daemon."""

    live: Live
    clock: Clock
    telemetry: Telemetry
    database: Database
    engine: Engine
    sink: JobSink
    box: SecretBox
    sender: HttpSender
    processors: Mapping[str, Processor]
    watcher: Watcher
    windows: Windows
    one_time: OneTimeImports
    imports: Imports
    runs: Runs
    exports: Exports
    deliveries: Deliveries
    subscriptions: Subscriptions
    storages: Storages
    uploads: Uploads
    downloads: Downloads
    queues: Callable[[sa.Row[Any]], EventQueue]
    spool: Path

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.live.config

    def clear_spool(self) -> None:
        """Begin with an empty spool: what a dead process left there is of no use to anybody."""
        shutil.rmtree(self.spool, ignore_errors=True)
        self.spool.mkdir(mode=0o700, exist_ok=True)
        self.exports.prepare()
        self.uploads.folder.prepare()

    def handlers(self) -> dict[Kind, Handler]:
        """Who does which kind of work."""
        return {
            Kind.SCAN: self.watcher.scan,
            Kind.WINDOW: self.windows.advance,
            Kind.IMPORT_JOB: self.one_time.advance,
            Kind.IMPORT_FILE: self.imports.file,
            Kind.RUN: self.runs.course,
            Kind.RUN_ITEM: self.runs.item,
            Kind.SEGMENT_RETRY: self.runs.retry,
            Kind.EXPORT: self.exports.export,
            Kind.DELIVERY: self.deliveries.deliver,
        }

    def lanes(self) -> tuple[Lane, ...]:
        """How much of each kind runs at once here: decoding by the cores, the rest waits mostly."""
        heavy = self.config.processing.concurrency
        plain = {
            Kind.SCAN: _SCAN_SLOTS,
            Kind.WINDOW: _WINDOW_SLOTS,
            Kind.IMPORT_JOB: _IMPORT_JOB_SLOTS,
            Kind.IMPORT_FILE: heavy,
            Kind.RUN: _RUN_SLOTS,
            Kind.EXPORT: _EXPORT_SLOTS,
            Kind.DELIVERY: _DELIVERY_SLOTS,
        }
        return (
            *(self._lane(kind, slots) for kind, slots in plain.items()),
            self._lane(Kind.IMPORT_FILE, _FETCH_SLOTS, FETCH),
            *(self._lane(Kind.RUN_ITEM, heavy, name) for name in self.processors),
            *(self._lane(Kind.SEGMENT_RETRY, _RETRY_SLOTS, name) for name in self.processors),
        )

    def _lane(self, kind: Kind, slots: int, need: str = "") -> Lane:
        """What any node may do, and what only this one can."""
        node = self.config.node.name
        return Lane(kind, (queue_name(kind, need), queue_name(kind, need, node)), slots)


def build(config: Config, clock: Clock, telemetry: Telemetry, environ: Mapping[str, str]) -> House:
    """All parts, wired, nothing started. Raises VvwatchError when the state directory cannot be used."""
    _make_state_dir(config.state_dir)
    clock, database, engine = _store(config, clock, telemetry)
    live = Live(config)
    spool = config.state_dir / "spool"
    box = SecretBox(load_or_create_key(config.state_dir, environ))
    storages = Storages(lambda: live.config, box, Spool(spool, config.processing.spool_bytes))
    guard = Guard(config.webhooks.allow_http, config.webhooks.allow_private_addresses)
    sender = HttpSender(guard, config.webhooks.timeout_seconds)
    uploads = _uploads(config, database, clock)
    downloads = Downloads(guard, config.api.max_upload_bytes, _DOWNLOAD_SECONDS)
    processors: dict[str, Processor] = {DEFAULT_PROCESSOR: _technical(config, spool)}
    sample, attempts = random.random, config.processing.attempts
    reading = Reading(clock, storages.for_work, processors, DEFAULT_PROCESSOR, attempts, sample)
    watcher = Watcher(database, clock, telemetry, reading.open_storage, sample)
    queues = partial(open_queue, storages)
    policy = DeliveryPolicy(config.webhooks.delays_seconds, config.webhooks.disable_after)
    return House(
        live=live,
        clock=clock,
        telemetry=telemetry,
        database=database,
        engine=engine,
        sink=engine,
        box=box,
        sender=sender,
        processors=processors,
        watcher=watcher,
        windows=Windows(database, telemetry),
        one_time=OneTimeImports(database, clock, telemetry, reading),
        imports=Imports(database, telemetry, reading, Attachments(database, box, uploads, downloads)),
        runs=Runs(database, telemetry, reading),
        exports=Exports(database, clock, telemetry, reading, config.state_dir / "exports"),
        deliveries=Deliveries(database, clock, telemetry, sender, box, policy, sample),
        subscriptions=_subscriptions(config, watcher, queues, (database, clock, telemetry), sample),
        storages=storages,
        uploads=uploads,
        downloads=downloads,
        queues=queues,
        spool=spool,
    )


def _uploads(config: Config, database: Database, clock: Clock) -> Uploads:
    node = config.node.name if config.replicated else ""
    return Uploads(database, clock, UploadsFolder(config.state_dir / "uploads"), node)


def _subscriptions(
    config: Config,
    watcher: Watcher,
    queues: Callable[[sa.Row[Any]], EventQueue],
    base: tuple[Database, Clock, Telemetry],
    sample: Callable[[], float],
) -> Subscriptions:
    """What tells the watcher of changes early, and whether it need list a connector seldom only."""
    clock = base[1]
    found = Subscriptions(
        *base, watcher, lambda _, connector: _source(config, clock, connector), queues, sample
    )
    watcher.listens = found.listens
    return found


class _StoreEngine(Engine, JobSink, Protocol):
    """An engine that a database commits to."""


def _store(config: Config, clock: Clock, telemetry: Telemetry) -> tuple[Clock, Database, _StoreEngine]:
    """The clock, database and engine that `database_url` asks for; only these are imported.

    Raises InvalidInput when what PostgreSQL needs is not installed.
    """

    def report(job: Job | None, error: Exception) -> None:
        _report(telemetry, job, error)

    if not config.replicated:
        from vvwatch.store.sqlite import SqliteDatabase  # noqa: PLC0415  # only what is asked for
        from vvwatch.store.sqlite_engine import SqliteEngine  # noqa: PLC0415

        file = SqliteDatabase(config.database_path, clock)
        return clock, file, SqliteEngine(file, report)
    with needing_postgresql():
        from vvwatch.store.postgres import DatabaseClock, PostgresDatabase  # noqa: PLC0415
        from vvwatch.store.postgres_engine import PgQueuerEngine  # noqa: PLC0415
    url, common = config.database_url, DatabaseClock(clock)
    server = PostgresDatabase(url, common)
    return common, server, PgQueuerEngine(server, url, report, config.node.heartbeat_seconds)


def _make_state_dir(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        (path / ".writable").touch()
        (path / ".writable").unlink()
    except OSError as error:
        raise VvwatchError(
            f"cannot write to the state directory {path}: {error.strerror}",
            "choose another with --state-dir or state_dir, or give it to the daemon's user (chown)",
        ) from error


def _technical(config: Config, work_dir: Path) -> TechnicalProcessor:
    wanted = config.processing
    limits = Limits(
        memory_bytes=wanted.memory_bytes,
        wall_seconds=wanted.item_timeout_seconds,
        max_pixels=wanted.max_pixels,
    )
    return TechnicalProcessor(limits=limits, work_dir=work_dir)


def _source(config: Config, clock: Clock, connector: sa.Row[Any]) -> Source | None:
    """The folder's own events, where this node has the folder to itself: of others' writes a share tells nothing."""
    elsewhere = connector.node not in ("", config.node.name)
    if connector.provider != "local" or connector.settings.get("shared") or elsewhere:
        return None
    root = Path(connector.settings["root"])
    return FolderSource(root, clock=clock, sweep_seconds=_SAFETY_SWEEP_SECONDS)


def _report(telemetry: Telemetry, job: Job | None, error: Exception) -> None:
    if job is None:
        telemetry.emit("task.failed", task="engine", error=error)
    else:
        telemetry.emit("job.failed", kind=job.kind.value, ref=job.ref, attempt=job.attempt, error=error)
