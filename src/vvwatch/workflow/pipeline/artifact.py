"""The export artefact: one JSON document of runs, media, segments and their metadata, under a versioned schema.

    {schema, export_id, export_type, target, generated_at, runs: [...],
     media: [{video, segments: [...], video_result}, ...]}

A document too large for one download is divided between two media: each part is a document like this, with
`part: {number, count}`. With options, a last list `failures` holds the files that failed or were skipped.

`media` comes after the rest and holds one element per media item and run, so that a document of any size is written
element by element. The names of results are those of the v2 API. Of what changes after a run has ended, only retried
segments and later transcripts are in it, for which another export is made: else, built again, it has the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

from vvwatch.core.budgets import to_usd
from vvwatch.core.events import to_iso
from vvwatch.core.identities import segment_id
from vvwatch.core.media import RunSettings
from vvwatch.core.processors import explain_undone
from vvwatch.store.models.delivery import Export, ExportedRun
from vvwatch.store.models.runs import Run, RunItemWithMedia, SegmentResult
from vvwatch.store.runs.transcripts import NOTHING_KNOWN, Said

SCHEMA_ID: Final = "vvwatch-export/1"
MANIFEST_SCHEMA_ID: Final = "vvwatch-manifest/1"

_SETTINGS: Final = tuple(field.name for field in fields(RunSettings))


def document_head(export: Export, runs: Iterable[ExportedRun]) -> dict[str, Any]:
    """Return all of the document except its media."""
    return {
        "schema": SCHEMA_ID,
        "export_id": export.id,
        "export_type": export.export_type,
        "target": {"id": export.target_id, "index_id": export.index_id, "run_id": export.run_id},
        "generated_at": to_iso(export.created_at),
        "runs": [run_document(run) for run in runs],
    }


def part_document(number: int, count: int) -> dict[str, Any]:
    """Return the number (from 1) and the count of a document that is one of several."""
    return {"part": {"number": number, "count": count}}


def build_manifest(export: Export, name: str, size_bytes: int, sha256: str) -> dict[str, Any]:
    """Return the manifest, written last, beside the artefact `name`: it proves that the whole export is there."""
    return {
        "schema": MANIFEST_SCHEMA_ID,
        "export_id": export.id,
        "export_type": export.export_type,
        "index_id": export.index_id,
        "run_id": export.run_id,
        "generated_at": to_iso(export.created_at),
        "files": [
            {
                "name": name,
                "content_type": "application/json",
                "size_bytes": size_bytes,
                "sha256": sha256,
            }
        ],
    }


def run_document(run: ExportedRun) -> dict[str, Any]:
    """Return one prompt run: its prompt, segmentation settings and outcome."""
    return {
        "run_id": run.id,
        "prompt_id": run.prompt_id,
        "prompt_version": run.prompt_version,
        **_prompt_document(run.prompt or {}),
        **{name: (run.settings or {}).get(name) for name in _SETTINGS},
        "not_done": run.not_done or {},
        "source_index_id": run.index_id,
        "import_job_id": run.import_job_id,
        "executed_by": run.executed_by,
        "executed_at": to_iso(run.created_at),
        "started_at": _to_iso(run.started_at),
        "completed_at": _to_iso(run.completed_at),
        "status": run.status,
        "error_message": run.error_message,
        "total_items": run.total_items,
        "completed_items": run.completed_items,
        "partial_items": run.partial_items,
        "failed_items": run.failed_items,
        "total_segments": run.total_segments,
        "completed_segments": run.completed_segments,
        "cost": _cost_document(run),
    }


def _cost_document(run: ExportedRun) -> dict[str, Any]:
    """Return the cost of the model calls without retries; with unpriced calls the sum is a lower bound."""
    return {
        "calls": int(run.call_count),
        "input_tokens": int(run.input_tokens),
        "output_tokens": int(run.output_tokens),
        "usd": to_usd(int(run.cost_nanousd)),
        "unpriced_calls": int(run.unpriced_call_count),
    }


def _prompt_document(prompt: dict[str, Any]) -> dict[str, Any]:
    return {
        "prompt_name": prompt.get("name", ""),
        "prompt_text": prompt.get("prompt_text", ""),
        "json_schema": prompt.get("json_schema") or {},
        "video_level": prompt.get("video_level"),
    }


def media_document(
    run: Run, item: RunItemWithMedia, segments: Iterable[SegmentResult], said: Said = NOTHING_KNOWN
) -> dict[str, Any]:
    """Return one element of `media`: the results of `run` for one item, in which this is `said`."""
    return {
        "video": video_document(item),
        "segments": [segment_document(run, item, segment, said) for segment in segments],
        "video_result": video_result_document(run, item),
    }


def video_document(item: RunItemWithMedia) -> dict[str, Any]:
    """Return the media item: its origin and what its container says."""
    return {
        "video_id": item.media_id,
        "title": item.media_title,
        "video_uri": item.media_uri,
        "media_type": item.media_media_type,
        "index_id": item.media_index_id,
        "connector_id": item.media_connector_id,
        "import_job_id": item.media_import_job_id,
        "key": item.media_key,
        "version": item.media_version,
        "size_bytes": item.media_size_bytes,
        "duration_seconds": item.media_duration_seconds,
        "probe": item.media_probe,
        "facts": item.media_facts,
        "created_at": to_iso(item.media_created_at),
    }


def segment_document(
    run: Run, item: RunItemWithMedia, segment: SegmentResult, said: Said = NOTHING_KNOWN
) -> dict[str, Any]:
    """Return the v2 API's SegmentRunResult: the results of `run` for one segment, in seconds from the start."""
    identity = segment_id(item.id, segment.ordinal)
    return {
        "result_type": "segment",
        "result_id": f"segment:{identity}:{run.id}",
        "segment_id": identity,
        **_result_document(run, item),
        "start_time": segment.start_time,
        "end_time": segment.end_time,
        "metadata": segment.metadata or {},
        "metadata_text": segment.metadata_text,
        "processing_warning": segment.warning,
        "field_extraction_succeeded": segment.error is None,
        "field_extraction_error": segment.error,
        **explain_undone(run.not_done, said.outcome),
        "transcript": said.between(segment.start_time, segment.end_time),
    }


def video_result_document(run: Run, item: RunItemWithMedia) -> dict[str, Any]:
    """Return the v2 API's PromptRunVideoResult: results for the whole item, damage and errors included."""
    return {
        "result_type": "video",
        "result_id": f"video:{item.media_id}:{run.id}",
        **_result_document(run, item),
        "status": item.status,
        "metadata": item.video_metadata or {},
        "metadata_text": item.video_metadata_text,
        "successful_segment_count": item.segment_count - item.failed_segment_count,
        "failed_segment_count": item.failed_segment_count,
        "damage": item.damage or [],
        "warnings": item.warnings or [],
        "error_code": item.error_code,
        "error_message": item.error_message,
        "started_at": _to_iso(item.started_at),
        "completed_at": _to_iso(item.completed_at),
    }


def _result_document(run: Run, item: RunItemWithMedia) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "prompt_id": run.prompt_id,
        "video_id": item.media_id,
        "video_name": item.media_title,
        "source_index_id": item.media_index_id,
        "executed_at": to_iso(run.created_at),
    }


def _to_iso(epoch: float | None) -> str | None:
    return None if epoch is None else to_iso(epoch)
