"""The rows of a table of results: one for each segment, then one for the whole media item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, Final

from vvwatch.core.events import canonical_text
from vvwatch.formats.columns import Column, Kind, Reader, fixed_columns, schema_columns
from vvwatch.formats.items import ExportedItem, NotApplicable

_OF_RESULT: Final = fixed_columns(
    run_id=Kind.ID,
    prompt_id=Kind.ID,
    source_index_id=Kind.ID,
    executed_at=Kind.MOMENT,
    video_id=Kind.ID,
    video_name=Kind.TEXT,
)
_OF_VIDEO: Final = fixed_columns(
    key=Kind.TEXT,
    video_uri=Kind.TEXT,
    connector_id=Kind.ID,
    version=Kind.TEXT,
    media_type=Kind.ID,
    duration_seconds=Kind.NUMBER,
    facts=Kind.JSON,
)
_OF_SEGMENT: Final = fixed_columns(
    result_type=Kind.ID,
    result_id=Kind.ID,
    segment_id=Kind.ID,
    start_time=Kind.NUMBER,
    end_time=Kind.NUMBER,
    metadata_text=Kind.TEXT,
    processing_warning=Kind.TEXT,
    error_message=Kind.TEXT,
)
_REST: Final = fixed_columns(
    status=Kind.ID,
    error_code=Kind.ID,
    successful_segment_count=Kind.INTEGER,
    failed_segment_count=Kind.INTEGER,
    transcript=Kind.TEXT,
    transcript_language=Kind.TEXT,
    metadata_json=Kind.JSON,
)

FAILURE_COLUMNS: Final = fixed_columns(
    run_id=Kind.ID,
    stage=Kind.ID,
    status=Kind.ID,
    video_id=Kind.ID,
    key=Kind.TEXT,
    version=Kind.TEXT,
    error_code=Kind.ID,
    error_message=Kind.TEXT,
)
"""The columns of a table of failed and skipped files."""

_NO_COUNTS: Final = (None, None, None)
_SILENT: Final[Mapping[str, Any]] = {}
_RESULT_NAMES: Final = [column.name for column in _OF_RESULT]
_VIDEO_NAMES: Final = [column.name for column in _OF_VIDEO]
_read_result: Final = itemgetter(*_RESULT_NAMES)
_read_segment: Final = itemgetter(
    "result_type",
    "result_id",
    "segment_id",
    "start_time",
    "end_time",
    "metadata_text",
    "processing_warning",
    "field_extraction_error",
)


Row = tuple[list[Any], list[Any]]
"""The values of a row in the order of the columns: the same list first for all rows of an item, then the rest."""


@dataclass(frozen=True, slots=True)
class ResultTable:
    """The table of a run's results: its columns, and its rows."""

    columns: list[Column]
    rows: Iterator[Row]


def open_table(items: Iterable[ExportedItem]) -> ResultTable:
    """Return the table of items of one run, read as they come. Raises NotApplicable if there are none.

    A segment's metadata are in the columns `metadata.…`, those of the media item in `video_metadata.…`.
    """
    remaining = iter(items)
    first = next(remaining, None)
    if first is None:
        raise NotApplicable("the run has no media")
    segment = schema_columns(first.run.get("json_schema") or {}, "metadata")
    whole = schema_columns((first.run.get("video_level") or {}).get("json_schema") or {}, "video_metadata")
    rows = _iter_rows(chain([first], remaining), Reader(segment), Reader(whole))
    return ResultTable([*_OF_RESULT, *_OF_VIDEO, *_OF_SEGMENT, *_REST, *segment, *whole], rows)


def _iter_rows(items: Iterable[ExportedItem], segments: Reader, wholes: Reader) -> Iterator[Row]:
    no_segment, no_whole = segments.read(None), wholes.read(None)
    for item in items:
        video, result = item.document["video"], item.document["video_result"]
        shared = [*_read_result(result), *map(video.get, _VIDEO_NAMES)]
        shared[-1] = None if shared[-1] is None else canonical_text(shared[-1])
        for segment in item.document["segments"]:
            found, error = segment["metadata"], segment["field_extraction_error"]
            said = segment.get("transcript") or _SILENT
            yield (
                shared,
                [
                    *_read_segment(segment),
                    "failed" if error else "completed",
                    *_NO_COUNTS,
                    said.get("text"),
                    said.get("language"),
                    canonical_text(found),
                    *segments.read(found),
                    *no_whole,
                ],
            )
        yield shared, [*_read_whole(result), *no_segment, *wholes.read(result["metadata"])]


def _read_whole(result: Mapping[str, Any]) -> list[Any]:
    """Return the columns of a whole item, those that a segment has first."""
    return [
        result["result_type"],
        result["result_id"],
        *(None, None, None),
        result["metadata_text"],
        None,
        result["error_message"],
        result["status"],
        result["error_code"],
        result["successful_segment_count"],
        result["failed_segment_count"],
        *(None, None),
        canonical_text(result["metadata"]),
    ]


def iter_lines(item: ExportedItem) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each result of an item in two parts: what all share, the same dictionary each time, and the rest."""
    video, result = item.document["video"], item.document["video_result"]
    shared = {name: result[name] for name in _RESULT_NAMES} | {name: video.get(name) for name in _VIDEO_NAMES}
    for segment in item.document["segments"]:
        yield shared, {name: value for name, value in segment.items() if name not in shared}
    yield shared, {name: value for name, value in result.items() if name not in shared}
