"""Webhook events and their exact bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring
from typing import Any, Final

from vvwatch.errors import InvalidInput

API_VERSION: Final = "2024-01"

EVENT_TYPES: Final = (
    "media.created",
    "media.processing.started",
    "media.processing.completed",
    "media.processing.failed",
    "prompt_run.started",
    "prompt_run.completed",
    "prompt_run.failed",
    "prompt_run.cancelled",
    "prompt_run.partial_completed",
    "prompt_run.progress",
    "export.ready",
    "export.failed",
    "import_job.started",
    "import_job.completed",
    "import_job.failed",
    "import_job.partial_completed",
    "import_job.progress",
    "processor.paused",
    "processor.resumed",
)
"""Every event that a webhook can subscribe to. The last two are our own; the v2 API has the others elsewhere too."""

TEST_EVENT: Final = "test"
"""The event that a person sends to test a webhook; nothing subscribes to it."""

_OBJECTS: Final = {
    "media": "video_id",
    "prompt_run": "run_id",
    "export": "export_id",
    "import_job": "job_id",
    "processor": "processor",
}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND: Final = -62_135_596_800.0
_LAST_SECOND: Final = 253_402_300_799.0


def to_iso(epoch: float) -> str:
    """Return a moment as `2026-01-01T00:00:00.123Z`, clamped to the years 1 to 9999."""
    seconds = min(max(epoch, _FIRST_SECOND), _LAST_SECOND)
    moment = _EPOCH + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def object_of(event_type: str, data: Mapping[str, Any]) -> str:
    """Return the id of the object that an event concerns; '' for none."""
    return str(data.get(_OBJECTS.get(event_type.partition(".")[0], ""), ""))


_encoder: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _build_encode() -> Callable[[Any], str]:
    """Return `_encoder.encode`, where Python has it in C without what it builds for each call."""
    build = getattr(json.encoder, "c_make_encoder", None)
    if build is None:
        return _encoder.encode
    options = (_encoder.sort_keys, _encoder.skipkeys, _encoder.allow_nan)
    separators = (_encoder.key_separator, _encoder.item_separator)
    iterencode = build(None, _encoder.default, encode_basestring, None, *separators, *options)
    return lambda value: "".join(iterencode(value, 0))


_encode: Final = _build_encode()


def canonical_json(value: Any) -> bytes:
    """Return the canonical JSON of `value`: sorted keys, no spaces, UTF-8.

    A lone surrogate (a file name that is not UTF-8) becomes its JSON escape, so the bytes stay valid. Raises
    InvalidInput for NaN and infinities.
    """
    return canonical_text(value).encode("utf-8", "backslashreplace")


def canonical_text(value: Any) -> str:
    """Return `canonical_json` as text, with its lone surrogates. Raises as it does."""
    try:
        return _encode(value)
    except ValueError as error:
        raise InvalidInput(f"this cannot be written as JSON: {error}", "numbers must be finite") from error


def build_envelope(
    event_id: str,
    event_type: str,
    data: Mapping[str, Any],
    created_at: float,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the document that is sent for one event; `metadata` is the webhook's own, omitted when None."""
    document: dict[str, Any] = {
        "id": event_id,
        "event": event_type,
        "data": dict(data),
        "api_version": API_VERSION,
        "created_at": to_iso(created_at),
    }
    return document if metadata is None else document | {"metadata": dict(metadata)}
