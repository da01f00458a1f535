"""The upstream's results as our segments: in order, with the times of the whole item."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from vvwatch.core.media import Segment
from vvwatch.errors import InvalidInput, ProcessorRefused
from vvwatch.processors.segmenting import Whole
from vvwatch.processors.validation import Validator, validator_of
from vvwatch.processors.videovector.refusals import shorten_text, unreadable_answer

if TYPE_CHECKING:
    from videovector._types import (
        PromptRunFailedSegment,
        PromptRunFailedSegmentsManifest,
        PromptRunVideoResult,
        SegmentRunResult,
    )

_MOST_SEGMENTS: Final = 50_000
_LATEST_SECONDS: Final = 1e9
_NOT_DONE: Final = "the upstream gives no reason"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of our item: the media item that the upstream made of it, and where it begins in ours."""

    media_id: str
    start_seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """One segment of the upstream, as ours. `is_retryable`: it failed, and the upstream can try it again."""

    part: Part
    segment_id: str
    segment: Segment
    is_retryable: bool = False


def merge_segments(
    upstream: str,
    part: Part,
    results: Sequence[SegmentRunResult],
    failures: Iterable[PromptRunFailedSegment],
    schema: Mapping[str, Any],
) -> list[Found]:
    """Return the segments of one part, failed ones included, in order of time.

    Raises ProcessorRefused when two segments share an id, or a result belongs to other media.
    """
    if len(results) > _MOST_SEGMENTS:
        raise unreadable_answer(upstream, "for results", f"more than {_MOST_SEGMENTS} segments")
    found: dict[str, Found] = {}
    validator = _schema_validator(schema)
    for result in results:
        if result.segment_id in found:
            raise unreadable_answer(
                upstream, "for results", f"two segments with the id {result.segment_id!r}"
            )
        if result.video_id not in {None, part.media_id}:
            raise unreadable_answer(
                upstream, "for results", f"a segment of {result.video_id!r}, not {part.media_id!r}"
            )
        found[result.segment_id] = Found(part, result.segment_id, _build_segment(part, result, validator))
    for failure in failures:
        is_of_all = failure.start_time is None and bool(results)
        if not failure.projection_only and not is_of_all:
            found[failure.segment_id] = _failed_segment(part, failure, found.get(failure.segment_id))
    return sorted(found.values(), key=_sort_key)


def select_failures(manifest: PromptRunFailedSegmentsManifest, part: Part) -> list[PromptRunFailedSegment]:
    """Return the failures within one part; skip the failure of the whole part, which has no times."""
    return [each for video in manifest.videos if video.video_id == part.media_id for each in video.segments]


def merge_wholes(
    parts: Sequence[tuple[Part, PromptRunVideoResult | None]], schema: Mapping[str, Any]
) -> Whole:
    """Return the result of the whole. Of several parts there is no whole result: each is listed separately."""
    answered = [(part, result) for part, result in parts if result is not None]
    if not answered:
        return Whole({}, "")
    warnings = tuple(warning for _, result in answered for warning in _result_warnings(result))
    try:
        return _build_whole(len(parts), answered, warnings, schema)
    except ProcessorRefused as error:
        return Whole({}, "", warnings, error.message)


def _build_whole(
    count: int,
    answered: Sequence[tuple[Part, PromptRunVideoResult]],
    warnings: tuple[str, ...],
    schema: Mapping[str, Any],
) -> Whole:
    text = _storable_text("\n".join(result.metadata_text for _, result in answered))
    if count == 1:
        result = answered[0][1]
        if not result.metadata and result.error_message:
            return Whole({}, text, error=shorten_text(result.error_message))
        return Whole(
            _check_storable(result.metadata),
            text,
            (*warnings, *_find_misfits(_schema_validator(schema), result)),
        )
    warning = f"the upstream cut the media into {count} parts; what it found of each stands under `parts`"
    metadata = [
        {"start_time": part.start_seconds, "metadata": _check_storable(result.metadata)}
        for part, result in answered
    ]
    return Whole({"parts": metadata}, text, (*warnings, warning))


def _result_warnings(result: PromptRunVideoResult) -> list[str]:
    said = [result.processing_warning, result.error_message]
    return [shorten_text(each) for each in said if each]


def _schema_validator(schema: Mapping[str, Any]) -> Validator:
    try:
        return validator_of(schema)
    except InvalidInput:  # making the prompt reports schemas that cannot be compiled
        return validator_of({})


def _find_misfits(validator: Validator, result: PromptRunVideoResult | SegmentRunResult) -> list[str]:
    reasons = validator(result.metadata)
    return [f"the upstream's answer does not fit the prompt's schema: {reasons[0]}"] if reasons else []


def _build_segment(part: Part, result: SegmentRunResult, validator: Validator) -> Segment:
    start, end = _item_times(part, result.start_time, result.end_time)
    if not result.field_extraction_succeeded:
        error = shorten_text(result.field_extraction_error or _NOT_DONE)
        return Segment(start, end, {}, _storable_text(result.metadata_text), error=error)
    try:
        metadata = _check_storable(result.metadata)
    except ProcessorRefused as error:
        return Segment(start, end, {}, "", error=error.message)
    said = [result.processing_warning, result.transcription_error, result.image_embedding_error]
    warnings = [*(shorten_text(each) for each in said if each), *_find_misfits(validator, result)]
    return Segment(start, end, metadata, _storable_text(result.metadata_text), "; ".join(warnings) or None)


def _failed_segment(part: Part, failure: PromptRunFailedSegment, known: Found | None) -> Found:
    """Return a failed segment. One that has its fields and lacks only extras did not fail."""
    message = failure.field_extraction_error or failure.failure_message or _NOT_DONE
    retryable = failure.retryable is True
    if known is None:
        start, end = _item_times(part, failure.start_time, failure.end_time)
        segment = Segment(start, end, {}, "", error=shorten_text(message))
        return Found(part, failure.segment_id, segment, retryable)
    if known.segment.error is None and not _lacks_fields(failure):
        return known
    error = known.segment.error or shorten_text(message)
    return replace(known, segment=replace(known.segment, error=error), is_retryable=retryable)


def _lacks_fields(failure: PromptRunFailedSegment) -> bool:
    return not {"transcription", "image_embedding"}.issuperset(failure.failed_operations)


def _item_times(part: Part, start: float | None, end: float | None) -> tuple[float, float]:
    begins = part.start_seconds + _valid_seconds(start)
    return begins, max(begins, part.start_seconds + _valid_seconds(end))


def _valid_seconds(said: float | None) -> float:
    """Return a time within media; 0 for an invalid one."""
    return said if said is not None and 0 < said <= _LATEST_SECONDS else 0.0


def _storable_text(said: str) -> str:
    """Return the text without unpaired surrogates, which no database takes."""
    return said.encode(errors="replace").decode()


def _sort_key(found: Found) -> tuple[float, float, str]:
    return found.segment.start_time, found.segment.end_time, found.segment_id


def _check_storable(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return `metadata`, which must be JSON that can be stored. Raises ProcessorRefused."""
    try:
        json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ProcessorRefused(f"the upstream's answer cannot be stored: {shorten_text(error)}") from None
    return metadata
