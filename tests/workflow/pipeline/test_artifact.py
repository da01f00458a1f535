from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import sqlalchemy as sa

from vvwatch.core.events import canonical_json
from vvwatch.core.processors import Transcription
from vvwatch.core.transcripts import Cue, Transcript, TranscriptSource, Word
from vvwatch.store.models.delivery import Export, ExportedRun
from vvwatch.store.models.runs import RunItemWithMedia, SegmentResult
from vvwatch.store.runs.transcripts import Said
from vvwatch.store.schema import exports, media, prompt_runs, run_items, segment_results
from vvwatch.workflow.pipeline.artifact import document_head, media_document
from vvwatch.workflow.pipeline.artifact_schema import json_schema

PUBLISHED = Path(__file__).parents[3] / "config" / "export.schema.json"


def row(table: sa.Table, start: str = "", **values: Any) -> dict[str, Any]:
    """A row as the store hands it out: every column is there, those not given are NULL."""
    return {f"{start}{column.name}": values.pop(column.name, None) for column in table.c} | values


EXPORT = Export(
    **row(
        exports,
        id="exp_1",
        export_type="index",
        target_id="idx_1",
        index_id="idx_1",
        run_id="run_1",
        created_at=1.5,
    )
)
RUN = ExportedRun(
    **row(
        prompt_runs,
        id="run_1",
        prompt_id="technical",
        prompt_version=2,
        prompt={
            "name": "Technical",
            "prompt_text": "…",
            "json_schema": {"type": "object"},
            "video_level": None,
        },
        settings={"prompt_id": "technical", "video_segmentation_type": "fixed", "video_segment_duration": 10},
        index_id="idx_1",
        import_job_id="job_1",
        executed_by="automation",
        status="completed_with_failures",
        total_items=1,
        completed_items=0,
        partial_items=1,
        failed_items=0,
        total_segments=2,
        completed_segments=1,
        created_at=2.0,
        started_at=3.0,
    ),
    call_count=3,
    input_tokens=3000,
    output_tokens=300,
    cost_nanousd=20_000_000,
    unpriced_call_count=1,
)
MEDIUM = row(
    media,
    "media_",
    index_id="idx_1",
    import_job_id="job_1",
    title="clip.mp4",
    uri="file:///in/clip.mp4",
    key="clip.mp4",
    version="1-2-3",
    size_bytes=9,
    media_type="video",
    duration_seconds=20.0,
    probe={"container": "mp4"},
    created_at=1.0,
)
ITEM = RunItemWithMedia(
    **MEDIUM
    | row(
        run_items,
        id=7,
        run_id="run_1",
        media_id="vid_1",
        status="partial",
        damage=["truncated"],
        video_metadata={"shots": 2},
        video_metadata_text="two shots",
        segment_count=2,
        failed_segment_count=1,
        completed_at=9.0,
    )
)
SEGMENTS = [
    SegmentResult(
        **row(
            segment_results,
            run_item_id=7,
            ordinal=n,
            start_time=n * 10.0,
            end_time=n * 10.0 + 10,
            metadata={"motion": 0.5} if n == 0 else None,
            metadata_text="",
            error="no frame could be decoded" if n == 1 else None,
        )
    )
    for n in range(2)
]


def document() -> dict[str, Any]:
    return document_head(EXPORT, [RUN]) | {"media": [media_document(RUN, ITEM, SEGMENTS)]}


def test_the_published_schema_is_the_one_that_is_used() -> None:
    assert json.loads(PUBLISHED.read_text()) == json_schema()


def test_the_schema_is_sound() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_an_artefact_fits_its_schema() -> None:
    jsonschema.validate(document(), json_schema())
    jsonschema.validate(document_head(EXPORT, []) | {"media": []}, json_schema())


def test_an_item_that_failed_fits_the_schema_too() -> None:
    failed = replace(
        ITEM,
        status="failed",
        segment_count=0,
        failed_segment_count=0,
        error_code="media_unreadable",
        error_message="not media",
        damage=None,
        media_duration_seconds=None,
        media_probe=None,
        video_metadata=None,
        video_metadata_text="",
    )
    whole = document_head(EXPORT, [RUN]) | {"media": [media_document(RUN, failed, [])]}
    jsonschema.validate(whole, json_schema())
    assert whole["media"][0]["video_result"]["error_code"] == "media_unreadable"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: whole.pop("schema"),
        lambda whole: whole.update(schema="vvwatch-export/2"),
        lambda whole: whole.update(extra=1),
        lambda whole: whole["runs"][0].update(status="done"),
        lambda whole: whole["media"][0]["segments"][0].pop("metadata"),
        lambda whole: whole["media"][0]["segments"][0].update(start_time=-1),
        lambda whole: whole["media"][0]["video_result"].update(damage="truncated"),
        lambda whole: whole["media"][0]["video"].update(surprise=True),
    ],
)
def test_what_is_not_promised_does_not_fit(spoil: Any) -> None:
    whole = document()
    spoil(whole)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(whole, json_schema())


def test_results_carry_the_names_of_the_v2_api() -> None:
    first, second = document()["media"][0]["segments"]
    assert first["segment_id"] == "seg_7_0"
    assert first["result_id"] == "segment:seg_7_0:run_1"
    assert (first["start_time"], first["end_time"]) == (0.0, 10.0)
    assert first["metadata"] == {"motion": 0.5}
    assert first["field_extraction_succeeded"] is True
    assert second["field_extraction_succeeded"] is False
    assert second["field_extraction_error"] == "no frame could be decoded"
    result = document()["media"][0]["video_result"]
    assert result["result_id"] == "video:vid_1:run_1"
    assert (result["successful_segment_count"], result["failed_segment_count"]) == (1, 1)


def test_a_run_tells_the_prompt_and_settings_it_was_made_with() -> None:
    [run] = document()["runs"]
    assert run["prompt_name"] == "Technical"
    assert run["video_segment_duration"] == 10
    assert run["processing_model"] is None
    assert run["executed_at"] == "1970-01-01T00:00:02.000Z"


def test_built_again_an_artefact_has_the_same_bytes() -> None:
    first = canonical_json(document())
    later = replace(ITEM, media_status="processed", media_updated_at=99.0)
    assert (
        canonical_json(document_head(EXPORT, [RUN]) | {"media": [media_document(RUN, later, SEGMENTS)]})
        == first
    )


def test_a_run_tells_what_its_calls_came_to() -> None:
    cost = {"calls": 3, "input_tokens": 3000, "output_tokens": 300, "usd": 0.02, "unpriced_calls": 1}
    assert document()["runs"][0]["cost"] == cost


def test_segments_say_what_is_said_in_them_or_why_nothing_is_known() -> None:
    found = Transcript(
        TranscriptSource.SPEECH, "tiny", None, (Cue(1.0, 2.0, "one", (Word(1.0, 2.0, "one"),)),)
    )
    outcomes = (
        Said(found, Transcription(succeeded=True)),
        Said(None, Transcription(False, "no sound")),
        Said(),
    )
    said = [media_document(RUN, ITEM, SEGMENTS, each) for each in outcomes]
    jsonschema.validate(document_head(EXPORT, [RUN]) | {"media": said}, json_schema())
    first = [each["segments"][0] for each in said]
    assert [each["transcription_succeeded"] for each in first] == [True, False, None]
    assert [each["transcription_error"] for each in first] == [None, "no sound", None]
    assert [each["transcript"] and each["transcript"]["text"] for each in first] == ["one", None, None]
    assert said[0]["segments"][1]["transcript"]["text"] == "", "nothing is said in the second"
