"""Everything is put together here, and only here."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from vvwatch.config import Config
from vvwatch.errors import InvalidInput, VvwatchError
from vvwatch.ports import Clock, Engine, Handler, Job, Kind, Processor, Source, Storage
from vvwatch.processors.technical import Limits, TechnicalProcessor
from vvwatch.senders.http import Guard, HttpSender
from vvwatch.sources.folder import FolderSource
from vvwatch.storage.local import LocalStorage
from vvwatch.store.database import JobSink
from vvwatch.store.encryption import SecretBox, load_or_create_key
from vvwatch.store.sqlite import SqliteDatabase, SqliteEngine
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.deliveries import Deliveries, DeliveryPolicy
from vvwatch.workflow.exports import Exports
from vvwatch.workflow.imports import Imports
from vvwatch.workflow.prompts import DEFAULT_PROCESSOR
from vvwatch.workflow.reading import Reading
from vvwatch.workflow.runs import Runs
from vvwatch.workflow.subscriptions import Subscriptions
from vvwatch.workflow.watch import Watcher
from vvwatch.workflow.windows import Windows

_LIGHT_SLOTS = 16
_SAFETY_SWEEP_SECONDS = 300.0


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
    database: SqliteDatabase
    engine: Engine
    sink: JobSink
    box: SecretBox
    sender: HttpSender
    processors: Mapping[str, Processor]
    watcher: Watcher
    windows: Windows
    imports: Imports
    runs: Runs
    exports: Exports
    deliveries: Deliveries
    subscriptions: Subscriptions
    storages: Storages
    exports_dir: Path
    spool: Path

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.live.config

    def clear_spool(self) -> None:
        """Begin with an empty spool: what a dead process left there is of no use to anybody."""
        shutil.rmtree(self.spool, ignore_errors=True)
        self.spool.mkdir(mode=0o700, exist_ok=True)
        self.exports_dir.mkdir(exist_ok=True, mode=0o700)

    def handlers(self) -> dict[Kind, Handler]:
        """Who does which kind of work."""
        return {
            Kind.SCAN: self.watcher.scan,
            Kind.WINDOW: self.windows.advance,
            Kind.IMPORT_FILE: self.imports.file,
            Kind.RUN_ITEM: self.runs.item,
            Kind.EXPORT: self.exports.export,
            Kind.DELIVERY: self.deliveries.deliver,
        }

    def slots(self) -> dict[Kind, int]:
        """How much of each kind runs at once: decoding by the cores, the rest waits mostly."""
        heavy = self.config.processing.concurrency
        return {
            Kind.SCAN: 4,
            Kind.WINDOW: 4,
            Kind.IMPORT_FILE: heavy,
            Kind.RUN_ITEM: heavy,
            Kind.EXPORT: 2,
            Kind.DELIVERY: _LIGHT_SLOTS,
        }


class Storages:
    """Opens the storage of a connector's row, once for each setting: a storage remembers what it has seen."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._opened: dict[tuple[str, str, tuple[Path, ...]], Storage] = {}
        self._opening = threading.Lock()

    def __call__(self, connector: sa.Row[Any]) -> Storage:
        """The storage. Raises InvalidInput for a provider that this vvwatch does not have."""
        if connector.provider != "local":
            raise InvalidInput(f"no storage for provider {connector.provider!r}", "supported here: local")
        roots = tuple(self._live.config.local.roots)
        identity = (connector.id, str(connector.settings["root"]), roots)
        with self._opening:
            if identity not in self._opened:
                self._opened[identity] = LocalStorage(Path(connector.settings["root"]), allowed_roots=roots)
            return self._opened[identity]


def build(config: Config, clock: Clock, telemetry: Telemetry, environ: Mapping[str, str]) -> House:
    """All parts, wired, nothing started. Raises VvwatchError when the state directory cannot be used."""
    _make_state_dir(config.state_dir)
    live = Live(config)
    storages = Storages(live)
    spool, exports_dir = config.state_dir / "spool", config.state_dir / "exports"
    database = SqliteDatabase(config.database_path, clock)
    box = SecretBox(load_or_create_key(config.state_dir, environ))
    sender = HttpSender(
        Guard(config.webhooks.allow_http, config.webhooks.allow_private_addresses),
        config.webhooks.timeout_seconds,
    )
    processors: dict[str, Processor] = {DEFAULT_PROCESSOR: _technical(config, spool)}
    sample = random.random
    reading = Reading(
        clock,
        storages,
        processors,
        DEFAULT_PROCESSOR,
        spool,
        config.processing.attempts,
        sample,
    )
    engine = SqliteEngine(database, lambda job, error: _report(telemetry, job, error))
    watcher = Watcher(database, clock, telemetry, reading.open_storage, sample)
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
        imports=Imports(database, telemetry, reading),
        runs=Runs(database, telemetry, reading),
        exports=Exports(database, telemetry, reading, exports_dir),
        deliveries=Deliveries(database, clock, telemetry, sender, box, policy, sample),
        subscriptions=Subscriptions(
            database, clock, telemetry, watcher, lambda _, connector: _source(clock, connector)
        ),
        storages=storages,
        exports_dir=exports_dir,
        spool=spool,
    )


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


def _source(clock: Clock, connector: sa.Row[Any]) -> Source | None:
    if connector.provider != "local":
        return None
    root = Path(connector.settings["root"])
    return FolderSource(root, clock=clock, sweep_seconds=_SAFETY_SWEEP_SECONDS)


def _report(telemetry: Telemetry, job: Job | None, error: Exception) -> None:
    if job is None:
        telemetry.emit("task.failed", task="engine", error=error)
    else:
        telemetry.emit("job.failed", kind=job.kind.value, ref=job.ref, attempt=job.attempt, error=error)
