"""The rows of a table of results: one for each segment, then one for the whole media item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, repeat
from operator import itemgetter
from typing import Any, Final

from vvwatch.core.events import canonical_text
from vvwatch.formats.columns import Column, Kind, Reader, fixed_columns, schema_columns
from vvwatch.formats.items import ExportedItem, NotApplicable
from vvwatch.formats.json_texts import canonical_texts

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

ROWS_AT_ONCE: Final = 250
"""How many rows a batch has; the last one may have fewer."""

_NAMES: Final = [column.name for column in (*_OF_RESULT, *_OF_VIDEO)]
_read_result: Final = itemgetter(*(column.name for column in _OF_RESULT))
_read_segment: Final = itemgetter(
    "result_type",
    "result_id",
    "segment_id",
    "start_time",
    "end_time",
    "metadata_text",
    "processing_warning",
    "field_extraction_error",
    "metadata",
)
_OF_WHOLE: Final = ("error_code", "successful_segment_count", "failed_segment_count")
_NO_SEGMENT: Final = dict.fromkeys(
    ("segment_id", "start_time", "end_time", "processing_warning", "transcript")
)
_NOTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a table, column by column.

    The first columns are alike for all rows of a media item: `shared` has their values, and for how many rows.
    """

    shared: Sequence[tuple[Sequence[Any], int]]
    columns: Sequence[Sequence[Any]]

    def all_columns(self) -> list[Sequence[Any]]:
        """Return the values of all columns in their order."""
        spread = [[repeat(value, count) for value in values] for values, count in self.shared]
        return [*(list(chain.from_iterable(each)) for each in zip(*spread, strict=True)), *self.columns]


@dataclass(frozen=True, slots=True)
class ResultTable:
    """The table of a run's results: its columns, and its rows, some at a time."""

    columns: list[Column]
    batches: Iterator[Rows]


def batch_rows(rows: Iterable[Sequence[Any]]) -> Iterator[Rows]:
    """Yield `rows`, each with all its values, some at a time."""
    remaining = iter(rows)
    while some := list(islice(remaining, ROWS_AT_ONCE)):
        yield Rows([((), len(some))], list(zip(*some, strict=True)))


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
    batches = _iter_batches(chain([first], remaining), Reader(segment), Reader(whole))
    return ResultTable([*_OF_RESULT, *_OF_VIDEO, *_OF_SEGMENT, *_REST, *segment, *whole], batches)


def shared_fields(item: ExportedItem) -> dict[str, Any]:
    """Return what all results of an item have in common: what they say of the run and of the media item."""
    video = item.document["video"]
    values = (*_read_result(item.document["video_result"]), *(video.get(column.name) for column in _OF_VIDEO))
    return dict(zip(_NAMES, values, strict=True))


def _iter_batches(items: Iterable[ExportedItem], segments: Reader, wholes: Reader) -> Iterator[Rows]:
    found: list[Mapping[str, Any]] = []
    shared: list[tuple[Sequence[Any], int]] = []
    whole: list[int] = []
    for item in items:
        values = list(shared_fields(item).values())
        values[-1] = None if values[-1] is None else canonical_text(values[-1])
        remaining, is_read = iter(item.document["segments"]), False
        while not is_read:
            before = len(found)
            found += islice(remaining, ROWS_AT_ONCE - before)
            if is_read := len(found) < ROWS_AT_ONCE:
                whole.append(len(found))
                found.append(item.document["video_result"])
            shared.append((values, len(found) - before))
            if len(found) == ROWS_AT_ONCE:
                yield Rows(shared, _read_columns(found, whole, segments, wholes))
                found, shared, whole = [], [], []
    if found:
        yield Rows(shared, _read_columns(found, whole, segments, wholes))


def _read_columns(
    found: list[Mapping[str, Any]], places: Sequence[int], segments: Reader, wholes: Reader
) -> list[Sequence[Any]]:
    """Return the columns of results after the shared ones; those at `places` are of whole items."""
    whole = [found[place] for place in places]
    for place, result in zip(places, whole, strict=True):
        found[place] = {**result, **_NO_SEGMENT, "field_extraction_error": result["error_message"]}
    *of_segment, errors, metadata = zip(*map(_read_segment, found), strict=True)
    statuses = ["failed" if error else "completed" for error in errors]
    said = [result.get("transcript") or _NOTHING for result in found]
    own = list(metadata)
    for place in reversed(places):
        del own[place]
    texts = canonical_texts(own)
    for place, result in zip(places, whole, strict=True):
        statuses[place] = result["status"]
        own.insert(place, _NOTHING)
        texts.insert(place, canonical_text(result["metadata"]))
    spread = partial(_spread, len(found), places)
    return [
        *of_segment,
        errors,
        statuses,
        *(spread([result[name] for result in whole]) for name in _OF_WHOLE),
        [each.get("text") for each in said],
        [each.get("language") for each in said],
        texts,
        *segments.read(own),
        *map(spread, wholes.read([result["metadata"] for result in whole])),
    ]


def _spread(count: int, places: Iterable[int], values: Iterable[Any]) -> list[Any]:
    """Return a column of `count` rows with `values` at `places` and nothing elsewhere."""
    column = [None] * count
    for place, value in zip(places, values, strict=True):
        column[place] = value
    return column
