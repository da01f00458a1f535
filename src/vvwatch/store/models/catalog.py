"""Connectors, indexes and prompts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Connector:
    """A place that holds objects. `settings` is the provider's location, `credentials` is sealed JSON.

    `node` is the only node that reaches it; empty if all do. `events` describes the queue that reports changes; None
    without one. Moments are epoch seconds.
    """

    id: str
    name: str
    provider: str
    status: str
    scopes: list[str]
    import_mode: str
    export_base_path: str | None
    settings: dict[str, Any]
    node: str
    events: dict[str, Any] | None
    credentials: bytes | None = field(repr=False)
    declared: bool
    builtin: bool
    created_at: float
    updated_at: float
    last_tested_at: float | None
    last_test_result: str | None
    last_test_error: str | None


@dataclass(frozen=True, slots=True)
class Index:
    """A collection of media. `is_default`: the playground."""

    id: str
    name: str
    description: str | None
    declared: bool
    is_default: bool
    created_at: float


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt at its current version. `execution_config` holds defaults for its runs."""

    id: str
    name: str
    description: str
    prompt_text: str
    json_schema: dict[str, Any]
    video_level: dict[str, Any] | None
    semantic_indexing: dict[str, Any] | None
    execution_config: dict[str, Any] | None
    prompt_version: int
    is_active: bool
    is_default: bool
    declared: bool
    created_at: float
    updated_at: float
