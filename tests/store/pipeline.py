"""What tests of the pipeline's transactions share: a sink that keeps jobs, an automation, objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from vvwatch.core.media import Probe, ProcessingResult, Segment
from vvwatch.core.objects import StorageObject
from vvwatch.core.windows import WindowPolicy
from vvwatch.ports import Job, Kind
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec, PromptSpec
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.watching import automations

POLICY = WindowPolicy(300, 1800, 10_000)
PROBE = Probe("video", "mov,mp4", 4.0, width=160, height=90)
RESULT = ProcessingResult((Segment(0.0, 4.0, {"loudness": -23.0}, "a shot"),), {"cuts": 0}, "one shot")


@dataclass
class RecordingSink:
    """An engine that keeps every job and runs none."""

    jobs: list[Job] = field(default_factory=list)

    def write(self, tx: Tx) -> None:
        self.jobs += tx.jobs

    def held(self, tx: Tx, kind: Kind) -> set[tuple[str, int, str]]:
        return {(job.ref, job.revision, job.queue) for job in self.jobs if job.kind is kind}

    def due(self, tx: Tx) -> int:
        return sum(1 for job in self.jobs if job.run_at <= tx.now)

    def wake(self) -> None:
        pass

    def take(self, kind: Kind) -> list[Job]:
        """The jobs of a kind, which are then gone."""
        taken = [job for job in self.jobs if job.kind is kind]
        self.jobs = [job for job in self.jobs if job.kind is not kind]
        return taken


def jobs_of(database: Database) -> RecordingSink:
    assert isinstance(database.sink, RecordingSink)
    return database.sink


def obj(key: str, version: str = "v1", size_bytes: int = 100) -> StorageObject:
    return StorageObject(key, version, size_bytes, 1_789_999_000.0, 1_789_999_000.0)


def prepare(tx: Tx, /, policy: WindowPolicy = POLICY, **overrides: Any) -> ImportAutomation:
    """An index with an import and an export automation over two local connectors."""
    catalog.seed_default_prompt(
        tx,
        PromptSpec(
            "technical", "what the container and the decoder say", {"type": "object", "properties": {}}
        ),
    )
    both = ("import", "export")
    connector = catalog.declare_connector(tx, "conn_in", ConnectorSpec("in", "local", {"root": "/in"}, both))
    catalog.declare_index(tx, "idx_main", "main")
    spec = automations.ImportSpec(
        **{
            "connector_id": connector.id,
            "source_prefix": "",
            "file_pattern": "*",
            "recursive": True,
            "debounce_interval": "5m",
            "policy": policy,
            "scan_seconds": 60,
            "settle_seconds": 5,
            "preset": {"prompt_id": catalog.DEFAULT_PROMPT_ID},
            **overrides,
        }
    )
    automations.save_export(tx, "idx_main", automations.ExportSpec(connector.id, "results"))
    return automations.save_import(tx, "idx_main", spec)


def count(database_tx: Tx, table: sa.Table) -> int:
    return int(database_tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
