"""Constructs parts of the daemon that need little of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vvwatch.config import Config
from vvwatch.daemon.limiting import Limiters
from vvwatch.ports import Clock
from vvwatch.processors.media.clips import Clipper
from vvwatch.processors.media.forking import Template
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.registry import Resources
from vvwatch.processors.technical.early import EarlyResults
from vvwatch.providers.local.uploads import UploadsFolder
from vvwatch.providers.spool import Spool
from vvwatch.senders.downloads import Downloads
from vvwatch.senders.guard import Guard
from vvwatch.senders.http import HttpSender
from vvwatch.store.db.database import Database
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.clips import Clips
from vvwatch.workflow.pipeline.pictures import Pictures
from vvwatch.workflow.pipeline.uploads import Uploads

_DOWNLOAD_SECONDS: Final = 30.0


def open_senders(config: Config) -> tuple[HttpSender, Downloads]:
    """Return the clients for hosts that users name, each with its own policy."""
    hooks, attachments = Guard(config.webhooks.policy), Guard(config.attachments.policy, "attachments")
    ca_file = config.webhooks.ca_file
    return (
        HttpSender(hooks, config.webhooks.timeout_seconds, ca_file),
        Downloads(attachments, config.api.max_upload_bytes, _DOWNLOAD_SECONDS, ca_file),
    )


def build_clips(config: Config, spool: Spool, work_dir: Path, template: Template) -> Clips:
    """Return what cuts segments for download."""
    return Clips(Clipper(limits=processing_limits(config), work_dir=work_dir, template=template), spool)


def processing_limits(config: Config) -> Limits:
    """Return the limits on reading one item."""
    wanted = config.processing
    return Limits(
        memory_bytes=wanted.memory_bytes,
        wall_seconds=wanted.item_timeout_seconds,
        probe_seconds=wanted.probe_seconds,
        max_pixels=wanted.max_pixels,
    )


def build_resources(
    config: Config, base: tuple[Database, Clock, Telemetry], limiters: Limiters, template: Template
) -> Resources:
    """Return what all processors receive."""
    _, clock, telemetry = base
    spool, wanted = config.state_dir / "spool", config.pictures
    early = EarlyResults(clock, spool, (wanted.width, wanted.max_bytes) if wanted.enabled else None)
    limits = processing_limits(config)
    return Resources(limits, spool, clock, limiters.of, telemetry.emit, template, early)


def build_files(config: Config, base: tuple[Database, Clock, Telemetry]) -> tuple[Uploads, Pictures]:
    """Return what keeps files below the state directory."""
    database, clock, telemetry = base
    node = config.node.name if config.replicated else ""
    folder = UploadsFolder(config.state_dir / "uploads", config.api.uploads_bytes)
    pictures = Pictures(database, telemetry, config.state_dir / "pictures", config.pictures, node)
    return Uploads(database, clock, folder, node), pictures
