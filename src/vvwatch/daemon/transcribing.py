"""Puts together what finds transcripts."""

from __future__ import annotations

from vvwatch.processors.media.cutting import Cutter
from vvwatch.processors.registry import Resources
from vvwatch.store.db.database import Database
from vvwatch.workflow.pipeline.transcripts import EmbeddedCaptions, SidecarCaptions, Transcriber


def build_transcriber(database: Database, resources: Resources) -> Transcriber:
    """Return what finds transcripts, its sources in the order of their worth."""
    cutter = Cutter(limits=resources.limits, work_dir=resources.work_dir)
    return Transcriber(database, [EmbeddedCaptions(cutter), SidecarCaptions(database)])
