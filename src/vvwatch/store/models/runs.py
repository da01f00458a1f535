"""Rows of prompt runs, their items and segments, the calls they make, and their processors.

Times are epoch seconds, money is in billionths of a US dollar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Run:
    """A prompt run. `filling`: the media still to be added; `tally`: its items by media type and status, or None."""

    id: str
    index_id: str | None
    prompt_id: str
    prompt_version: int
    prompt: dict[str, Any]
    settings: dict[str, Any]
    processor: str
    not_done: dict[str, str] | None
    priority: int
    concurrency: int
    import_job_id: str | None
    executed_by: str
    status: str
    error_message: str | None
    total_items: int
    completed_items: int
    partial_items: int
    failed_items: int
    cancelled_items: int
    total_segments: int
    completed_segments: int
    missing_wholes: int
    results: str
    context: dict[str, Any] | None
    tally: dict[str, dict[str, Any]] | None
    filling: dict[str, Any] | None
    stop: dict[str, Any] | None
    revision: int
    next_at: float | None
    created_at: float
    started_at: float | None
    completed_at: float | None
    updated_at: float
    dismissed_at: float | None


@dataclass(frozen=True, slots=True)
class ItemState:
    """One media item of a run, without what was found in it."""

    id: int
    run_id: str
    media_id: str
    status: str
    attempts: int
    waits: int
    failures: int
    failing_since: float | None
    error_code: str | None
    error_message: str | None
    damage: list[str] | None
    warnings: list[str] | None
    segment_count: int
    failed_segment_count: int
    started_at: float | None
    completed_at: float | None
    revision: int
    next_at: float | None


@dataclass(frozen=True, slots=True)
class ItemWithRun(ItemState):
    """The state of an item with its run."""

    run_prompt_id: str
    run_processor: str
    run_created_at: float


@dataclass(frozen=True, slots=True)
class RunItem(ItemState):
    """One media item of a run, without its segments."""

    video_metadata: dict[str, Any] | None
    video_metadata_text: str


@dataclass(frozen=True, slots=True)
class RunItemWithMedia(RunItem):
    """A run item with the columns of its media row, prefixed `media_`."""

    media_index_id: str
    media_connector_id: str | None
    media_import_file_id: int | None
    media_import_job_id: str
    media_title: str
    media_uri: str
    media_key: str
    media_version: str
    media_size_bytes: int
    media_media_type: str
    media_duration_seconds: float | None
    media_probe: dict[str, Any] | None
    media_facts: dict[str, Any] | None
    media_status: str
    media_created_at: float
    media_updated_at: float


@dataclass(frozen=True, slots=True)
class SegmentState:
    """One segment of an item, and why it failed; times in seconds from the start of the media."""

    run_item_id: int
    ordinal: int
    start_time: float
    end_time: float
    error: str | None


@dataclass(frozen=True, slots=True)
class SegmentResult(SegmentState):
    """What a run found in one segment of an item."""

    metadata: dict[str, Any] | None
    metadata_text: str
    warning: str | None


@dataclass(frozen=True, slots=True)
class FoundSegment(SegmentResult):
    """A segment result with its media item and run; `found_at`: when the item ended."""

    media_id: str
    run_id: str
    found_at: float | None
    not_done: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class StoredTranscript:
    """What is said in an item, or the `error` that says why nothing is known; `cues` are as in the table."""

    run_item_id: int
    source: str
    origin: str
    language: str | None
    error: str | None
    cues: list[Any] | None
    updated_at: float


@dataclass(frozen=True, slots=True)
class SegmentRetry:
    """A retry of one segment, or of a whole item (ordinal -1). `tries` counts automatic retries; 0: on request."""

    id: str
    run_item_id: int
    ordinal: int
    status: str
    tries: int
    attempts: int
    waits: int
    failures: int
    failing_since: float | None
    error_code: str | None
    error_message: str | None
    revision: int
    next_at: float | None
    created_at: float
    started_at: float | None
    completed_at: float | None


@dataclass(frozen=True, slots=True)
class SearchItem:
    """A run item with what a search shows of its run and media. `video_metadata` is JSON text."""

    id: int
    run_id: str
    media_id: str
    segment_count: int
    video_metadata: str | None
    video_metadata_text: str
    prompt_id: str
    title: str
    uri: str
    media_type: str
    index_id: str


@dataclass(frozen=True, slots=True)
class SearchSegment:
    """A segment without an error. `metadata` is JSON text."""

    run_item_id: int
    ordinal: int
    start_time: float
    end_time: float
    metadata: str | None
    metadata_text: str


@dataclass(frozen=True, slots=True)
class LlmCall:
    """A call of a model, without its answer. `cost_nanousd` is None while nobody knows it."""

    id: str
    run_id: str
    run_item_id: int
    media_id: str
    processor: str
    ordinal: int
    purpose: str
    model: str
    status: str
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_nanousd: int | None
    error: str | None
    start_time: float | None
    end_time: float | None
    invoked_at: float
    completed_at: float | None


@dataclass(frozen=True, slots=True)
class ScopeSpending:
    """What the calls of a scope cost (see core.budgets). Unpriced calls make the cost a lower bound."""

    scope: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_nanousd: int
    unpriced_calls: int
    reserved_nanousd: int


@dataclass(frozen=True, slots=True)
class PausedProcessor:
    """A processor that makes no calls; `until` is None until somebody fixes the cause."""

    name: str
    paused_at: float
    until: float | None
    code: str
    message: str
    hint: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A run with items that wait for their processor for one reason (`code`); the next is tried at `next_at`."""

    run_id: str
    processor: str
    code: str
    message: str | None
    items: int
    next_at: float
