"""The protocol `exec/1`: the request on stdin, the meaning of the exit status, and the answer on stdout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from enum import IntEnum
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vvwatch.core.media import ProcessingResult, Segment
from vvwatch.ports.processing import Item, Prompt
from vvwatch.processors.validation import Validator, check_schema, parse_object, validator_of

PROTOCOL: Final = "exec/1"
_MOST_SEGMENTS: Final = 20_000
_MOST_WARNINGS: Final = 20
_LONGEST_WARNING: Final = 500
_LONGEST_TEXT: Final = 10_000
_MOST_REPORTED_MISFITS: Final = 3
_SPARE_SECONDS: Final = 1.0


class Code(IntEnum):
    """The exit statuses with a meaning; any other, or a signal, is a crash."""

    DONE = 0
    REFUSED = 65
    TRY_LATER = 75
    SKIPPED = 77
    MISCONFIGURED = 78
    NOT_EXECUTABLE = 126
    NOT_FOUND = 127


_Strict = ConfigDict(strict=True, frozen=True, extra="ignore")
_Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
_Tokens = Annotated[int, Field(ge=0, le=10**12)]
_Warnings = Annotated[list[str], Field(max_length=1000)]
_Said = TypeVar("_Said", bound=BaseModel)


class ReportedUsage(BaseModel):
    """The usage that a program reports; `cost_usd` None: not reported."""

    model_config = _Strict

    input_tokens: _Tokens = 0
    output_tokens: _Tokens = 0
    cost_usd: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    model: Annotated[str, Field(max_length=200)] | None = None


class Part(BaseModel):
    """One segment of the item, if the program does its own cutting."""

    model_config = _Strict

    start_time: _Seconds
    end_time: _Seconds
    metadata: dict[str, Any]
    metadata_text: str | None = None
    warnings: _Warnings = []


class Answer(BaseModel):
    """The answer of a program; `skipped` says why it leaves out what it was asked, which is no failure."""

    model_config = _Strict

    metadata: dict[str, Any] | None = None
    metadata_text: str | None = None
    segments: Annotated[list[Part], Field(max_length=_MOST_SEGMENTS)] | None = None
    usage: ReportedUsage | None = None
    warnings: _Warnings = []
    skipped: Annotated[str, Field(max_length=_LONGEST_WARNING)] | None = None


class _Delay(BaseModel):
    model_config = _Strict

    retry_after: Annotated[float, Field(ge=0, le=7 * 86_400, allow_inf_nan=False)] | None = None


def check_prompt(prompt: Prompt) -> None:
    """Raise InvalidInput if answers cannot be validated against the prompt's schemas."""
    check_schema(prompt.json_schema)
    if prompt.video_level is not None:
        check_schema(prompt.video_level.get("json_schema", {}))


def build_request(item: Item, level: str, key: str, path: str) -> dict[str, Any]:
    """Return the request of a program; `path` is where it can read the item."""
    prompt = item.prompt
    schema = (prompt.video_level or {}).get("json_schema") if level == "video" else prompt.json_schema
    return {
        "protocol": PROTOCOL,
        "level": level,
        "idempotency_key": key,
        "run": {"id": item.run_id, "settings": asdict(item.settings)},
        "prompt": {
            "prompt_text": prompt.prompt_text,
            "json_schema": schema,
            "video_level": prompt.video_level,
        },
        "item": {
            "id": item.media_id,
            "connector_id": item.connector_id,
            "key": item.key,
            "title": item.title,
            "uri": item.uri,
            "path": path,
            "media_type": item.media_type,
            "size_bytes": item.size_bytes,
            "duration_seconds": item.duration_seconds,
            "probe": dict(item.probe),
        },
    }


def describe_segments(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """Return the successful segments' results for the request at the video level."""
    return [
        {
            "start_time": segment.start_time,
            "end_time": segment.end_time,
            "metadata": segment.metadata,
            "metadata_text": segment.metadata_text,
        }
        for segment in segments
        if segment.error is None
    ]


def read_answer(text: bytes, most_bytes: int) -> Answer:
    """Return the answer in `text`. Raises ValueError with the reason if it is invalid."""
    if not text.strip():
        raise ValueError("it is empty")
    return _validate_answer(Answer, parse_object(text, most_bytes))


def read_retry_after(text: bytes) -> float | None:
    """Return for how many seconds a program asks to be left alone; None if it does not say."""
    try:
        return _validate_answer(_Delay, parse_object(text, 65_536)).retry_after
    except ValueError:
        return None


def to_segment(answer: Answer, prompt: Prompt, start_time: float, end_time: float) -> Segment:
    """Return the result of the requested segment. Raises ValueError if it does not fit the prompt."""
    if answer.skipped is not None:
        return Segment(start_time, end_time, {}, "", warning=skip_warning(answer.skipped))
    metadata = check_metadata(prompt.json_schema, answer.metadata)
    return Segment(start_time, end_time, metadata, search_text(answer), warning=_join_warnings(answer))


def to_result(answer: Answer, item: Item) -> ProcessingResult:
    """Return the result of a whole item. Raises ValueError if it does not fit the prompt.

    `segments`, sorted by their times, fit the prompt's schema, and `metadata` that of its video level. If the prompt
    has no video level and the answer no segments, `metadata` is that of one segment over the whole item.
    """
    if answer.skipped is not None:
        return ProcessingResult((), {}, "", warnings=(skip_warning(answer.skipped),))
    warnings = bounded_warnings(answer)
    validator = validator_of(item.prompt.json_schema)
    parts = [
        _part_to_segment(part, item, validator, place) for place, part in enumerate(answer.segments or ())
    ]
    segments = tuple(sorted(parts, key=lambda each: (each.start_time, each.end_time)))
    if item.prompt.video_level is not None:
        metadata = check_metadata(item.prompt.video_level.get("json_schema", {}), answer.metadata)
        return ProcessingResult(segments, metadata, search_text(answer), warnings=warnings)
    if answer.segments is None:
        whole = to_segment(answer, item.prompt, 0.0, item.duration_seconds or 0.0)
        return ProcessingResult((whole,), {}, "")
    if answer.metadata:
        warnings = (*warnings, "metadata of the whole is left out: the prompt has no video level")
    return ProcessingResult(segments, {}, "", warnings=warnings)


def check_metadata(schema: Mapping[str, Any], metadata: dict[str, Any] | None) -> dict[str, Any]:
    """Return `metadata`. Raises ValueError if it is missing or does not fit `schema`."""
    if metadata is None:
        raise ValueError("the answer has no `metadata`")
    return _check_metadata(validator_of(schema), metadata)


def _check_metadata(validator: Validator, metadata: dict[str, Any]) -> dict[str, Any]:
    misfits = validator(metadata)
    if misfits:
        more = len(misfits) - _MOST_REPORTED_MISFITS
        reasons = "; ".join(misfits[:_MOST_REPORTED_MISFITS]) + (f"; and {more} more" if more > 0 else "")
        raise ValueError(f"the `metadata` of the answer does not fit the schema: {reasons}")
    return metadata


def search_text(said: Answer | Part) -> str:
    """Return the searchable text: the program's own, else the strings in its metadata."""
    if said.metadata_text is not None:
        return said.metadata_text
    return "; ".join(_iter_strings(said.metadata))[:_LONGEST_TEXT]


def _part_to_segment(part: Part, item: Item, validator: Validator, place: int) -> Segment:
    if part.end_time < part.start_time:
        raise ValueError(f"segments[{place}] of the answer ends before it begins")
    try:
        metadata = _check_metadata(validator, part.metadata)
    except ValueError as error:
        raise ValueError(f"segments[{place}]: {error}") from error
    said = [_check_times(part, item.duration_seconds), _join_warnings(part)]
    warning = "; ".join(filter(None, said)) or None
    return Segment(part.start_time, part.end_time, metadata, search_text(part), warning=warning)


def _check_times(part: Part, duration_seconds: float | None) -> str | None:
    """Return what is odd about a part's times. Accept it: containers may state a wrong length."""
    if duration_seconds is None or part.end_time <= duration_seconds + _SPARE_SECONDS:
        return None
    return f"it ends at {part.end_time:g} s, after the end of the media ({duration_seconds:g} s)"


def _iter_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _iter_strings(inner)


def skip_warning(reason: str) -> str:
    """Return the warning about what the program leaves out."""
    return f"skipped by the program: {reason or 'it does not say why'}"


def bounded_warnings(said: Answer | Part) -> tuple[str, ...]:
    """Return the program's warnings, bounded in number and length."""
    return tuple(line[:_LONGEST_WARNING] for line in said.warnings[:_MOST_WARNINGS])


def _join_warnings(said: Answer | Part) -> str | None:
    return "; ".join(bounded_warnings(said)) or None


def _validate_answer(kind: type[_Said], value: dict[str, Any]) -> _Said:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"its `{place}` is no good: {first['msg']}") from error
