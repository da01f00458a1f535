"""The JSON Schema of the export artefact (see `artifact`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from vvwatch.core.exports import ExportType
from vvwatch.core.runs import ItemStatus, RunStatus
from vvwatch.core.transcripts import TranscriptSource
from vvwatch.workflow.pipeline.artifact import SCHEMA_ID

_TEXT: Final = {"type": "string"}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_COUNT: Final = {"type": "integer", "minimum": 0}
_COUNT_OR_NULL: Final = {"type": ["integer", "null"], "minimum": 0}
_SECONDS: Final = {"type": "number", "minimum": 0}
_SECONDS_OR_NULL: Final = {"type": ["number", "null"], "minimum": 0}
_FLAG: Final = {"type": "boolean"}
_FLAG_OR_NULL: Final = {"type": ["boolean", "null"]}
_MOMENT: Final = {"type": "string", "format": "date-time"}
_MOMENT_OR_NULL: Final = {"type": ["string", "null"], "format": "date-time"}
_ANY_OBJECT: Final = {"type": "object"}
_ANY_OBJECT_OR_NULL: Final = {"type": ["object", "null"]}

_RESULT: Final = {
    "run_id": _TEXT,
    "prompt_id": _TEXT,
    "video_id": _TEXT,
    "video_name": _TEXT,
    "source_index_id": _TEXT,
    "executed_at": _MOMENT,
    "metadata": _ANY_OBJECT,
    "metadata_text": _TEXT,
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the whole document, open only where a prompt or probe decides."""
    whole = _closed_object(
        {
            "schema": {"const": SCHEMA_ID},
            "export_id": _TEXT,
            "export_type": _one_of(ExportType),
            "target": _closed_object({"id": _TEXT, "index_id": _TEXT_OR_NULL, "run_id": _TEXT_OR_NULL}),
            "generated_at": _MOMENT,
            "runs": {"type": "array", "items": {"$ref": "#/$defs/run"}},
            "media": {"type": "array", "items": {"$ref": "#/$defs/media"}},
        }
    )
    whole["properties"]["part"] = _closed_object({"number": _COUNT, "count": _COUNT})  # of one of several
    whole["properties"]["failures"] = {"type": "array", "items": _failure_schema()}  # with options
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA_ID,
        "description": "What one export of vvwatch holds. `media` has one element per media item and run.",
        **whole,
        "$defs": {
            "run": _run_schema(),
            "media": _media_schema(),
            "video": _video_schema(),
            "segment": _segment_schema(),
            "transcript": _transcript_schema(),
            "video_result": _video_result_schema(),
        },
    }


def _closed_object(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _one_of(values: Iterable[str]) -> dict[str, Any]:
    return {"enum": [str(value) for value in values]}


def _run_schema() -> dict[str, Any]:
    return _closed_object(
        {
            "run_id": _TEXT,
            "prompt_id": _TEXT,
            "prompt_version": _COUNT,
            "prompt_name": _TEXT,
            "prompt_text": _TEXT,
            "json_schema": _ANY_OBJECT,
            "video_level": _ANY_OBJECT_OR_NULL,
            "video_segmentation_type": _TEXT_OR_NULL,
            "video_segment_duration": _COUNT_OR_NULL,
            "audio_segmentation_type": _TEXT_OR_NULL,
            "audio_segment_duration": _COUNT_OR_NULL,
            "processing_model": _TEXT_OR_NULL,
            "enable_transcription": _FLAG_OR_NULL,
            "enable_image_embedding": _FLAG_OR_NULL,
            "not_done": {"type": "object", "additionalProperties": _TEXT},
            "source_index_id": _TEXT_OR_NULL,
            "import_job_id": _TEXT_OR_NULL,
            "executed_by": _TEXT,
            "executed_at": _MOMENT,
            "started_at": _MOMENT_OR_NULL,
            "completed_at": _MOMENT_OR_NULL,
            "status": _one_of(RunStatus),
            "error_message": _TEXT_OR_NULL,
            "total_items": _COUNT,
            "completed_items": _COUNT,
            "partial_items": _COUNT,
            "failed_items": _COUNT,
            "total_segments": _COUNT,
            "completed_segments": _COUNT,
            "cost": _closed_object(
                {
                    "calls": _COUNT,
                    "input_tokens": _COUNT,
                    "output_tokens": _COUNT,
                    "usd": {"type": "number", "minimum": 0},
                    "unpriced_calls": _COUNT,
                }
            ),
        }
    )


def _media_schema() -> dict[str, Any]:
    return _closed_object(
        {
            "video": {"$ref": "#/$defs/video"},
            "segments": {"type": "array", "items": {"$ref": "#/$defs/segment"}},
            "video_result": {"$ref": "#/$defs/video_result"},
        }
    )


def _video_schema() -> dict[str, Any]:
    return _closed_object(
        {
            "video_id": _TEXT,
            "title": _TEXT,
            "video_uri": _TEXT,
            "media_type": _one_of(("video", "audio", "image")),
            "index_id": _TEXT,
            "connector_id": _TEXT_OR_NULL,
            "import_job_id": _TEXT,
            "key": _TEXT,
            "version": _TEXT,
            "size_bytes": _COUNT,
            "duration_seconds": _SECONDS_OR_NULL,
            "probe": _ANY_OBJECT_OR_NULL,
            "facts": _ANY_OBJECT_OR_NULL,
            "created_at": _MOMENT,
        }
    )


def _segment_schema() -> dict[str, Any]:
    return _closed_object(
        {
            "result_type": {"const": "segment"},
            "result_id": _TEXT,
            "segment_id": _TEXT,
            **_RESULT,
            "start_time": _SECONDS,
            "end_time": _SECONDS,
            "processing_warning": _TEXT_OR_NULL,
            "field_extraction_succeeded": _FLAG,
            "field_extraction_error": _TEXT_OR_NULL,
            "transcription_succeeded": _FLAG_OR_NULL,
            "transcription_error": _TEXT_OR_NULL,
            "image_embedding_succeeded": _FLAG_OR_NULL,
            "image_embedding_error": _TEXT_OR_NULL,
            "transcript": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/transcript"}]},
        }
    )


def _transcript_schema() -> dict[str, Any]:
    word = _closed_object({"text": _TEXT, "start_time": _SECONDS, "end_time": _SECONDS})
    words = {"type": "array", "items": word}
    source = _one_of(TranscriptSource)
    return _closed_object({"text": _TEXT, "language": _TEXT_OR_NULL, "source": source, "words": words})


def _failure_schema() -> dict[str, Any]:
    """Return the schema of a file that failed or was skipped: in its import, or in the run."""
    texts = ("run_id", "status", "key", "version")
    others = dict.fromkeys(("video_id", "error_code", "error_message"), _TEXT_OR_NULL)
    return _closed_object(
        {**dict.fromkeys(texts, _TEXT), "stage": _one_of(("import", "processing")), **others}
    )


def _video_result_schema() -> dict[str, Any]:
    return _closed_object(
        {
            "result_type": {"const": "video"},
            "result_id": _TEXT,
            **_RESULT,
            "status": _one_of(ItemStatus),
            "successful_segment_count": _COUNT,
            "failed_segment_count": _COUNT,
            "damage": _TEXTS,
            "warnings": _TEXTS,
            "error_code": _TEXT_OR_NULL,
            "error_message": _TEXT_OR_NULL,
            "started_at": _MOMENT_OR_NULL,
            "completed_at": _MOMENT_OR_NULL,
        }
    )
