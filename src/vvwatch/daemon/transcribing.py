"""Puts together what finds transcripts."""

from __future__ import annotations

from vvwatch.config import Config
from vvwatch.core.processors import SPEECH_ENDPOINT
from vvwatch.processors.openai.endpoint import Address, Endpoint
from vvwatch.processors.registry import Resources, open_cutter
from vvwatch.processors.transcription.endpoint import SpeechEndpoint
from vvwatch.processors.transcription.speech import SpeechModel
from vvwatch.store.db.database import Database
from vvwatch.workflow.pipeline.transcripts import EmbeddedCaptions, SidecarCaptions, Source, Transcriber


def build_transcriber(config: Config, database: Database, resources: Resources) -> Transcriber:
    """Return what finds transcripts, its sources in the order of their worth."""
    limits, work_dir = resources.limits, resources.work_dir
    cutter = open_cutter(resources)
    sources: list[Source] = [EmbeddedCaptions(cutter), SidecarCaptions(database)]
    table = config.transcription.endpoint
    if table is not None:
        key = config.processor_secrets.get(SPEECH_ENDPOINT)
        address = Address(table.base_url, key, table.timeout_seconds, table.proxy, table.ca_file)
        limiter, clock = resources.limiter(SPEECH_ENDPOINT, table.rates), resources.clock
        sources.append(SpeechEndpoint(table, cutter, Endpoint(address, clock), limiter, clock))
    if config.transcription.speech is not None:
        sources.append(SpeechModel(config.transcription.speech, cutter, limits, work_dir))
    return Transcriber(database, sources)
