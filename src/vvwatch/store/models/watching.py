"""Automations, windows and scan reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ImportAutomation:
    """What an index imports, and from where. Moments are epoch seconds.

    `generation` counts changes to what is watched. `cadence` is the document of its scan schedule, `doubt` that of
    complete scans that miss too much to be believed. `place` identifies the storage at the last scan that was
    believed. `accept_missing`: the next complete scan is believed, whatever it misses.
    """

    id: str
    index_id: str
    connector_id: str
    scope_id: int
    enabled: bool
    paused: bool
    source_prefix: str
    file_pattern: str
    recursive: bool
    exclude_patterns: list[str] | None
    min_size_bytes: int | None
    max_size_bytes: int | None
    facts: dict[str, Any] | None
    debounce_interval: str
    quiet_seconds: float
    max_wait_seconds: float
    max_objects: int
    scan_seconds: float
    settle_seconds: float
    concurrency: int
    process_existing: bool
    baseline_done: bool
    prompt_preset: dict[str, Any]
    import_mode_override: str | None
    declared: bool
    generation: int
    max_list_calls_per_hour: int | None
    cadence: dict[str, Any] | None
    revision: int
    next_at: float | None
    created_at: float
    updated_at: float | None
    last_scan_at: float | None
    last_triggered_at: float | None
    last_import_job_id: str | None
    last_run_id: str | None
    last_error: str | None
    last_error_hint: str | None
    failing_since: float | None
    failures: int
    doubt: dict[str, Any] | None
    place: str | None
    accept_missing: bool


@dataclass(frozen=True, slots=True)
class WatchedAutomation(ImportAutomation):
    """An import automation with the status and the events of its connector."""

    connector_status: str
    events: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class NamedAutomation(WatchedAutomation):
    """A watched automation with the name of its index."""

    index_name: str


@dataclass(frozen=True, slots=True)
class ExportAutomation:
    """Where the results of an index go."""

    id: str
    index_id: str
    destination_connector_id: str
    destination_subpath: str | None
    options: dict[str, Any] | None
    enabled: bool
    paused: bool
    declared: bool
    created_at: float
    updated_at: float | None
    last_triggered_at: float | None
    last_export_id: str | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class AutomationState:
    """Whether an automation of an index is enabled and paused."""

    index_id: str
    id: str
    enabled: bool
    paused: bool


@dataclass(frozen=True, slots=True)
class Window:
    """A window in which new objects gather until it closes. `held`: a person keeps it open."""

    seq: int
    id: str
    automation_id: str
    import_job_id: str
    state: str
    opened_at: float
    last_change_at: float
    due_at: float
    object_count: int
    size_bytes: int
    held: bool
    reason: str | None
    closed_at: float | None
    revision: int
    next_at: float | None


@dataclass(frozen=True, slots=True)
class WindowWithPolicy(Window):
    """A window with the index and the policy of its automation."""

    index_id: str
    quiet_seconds: float
    max_wait_seconds: float
    max_objects: int


@dataclass(frozen=True, slots=True)
class ScanReport:
    """The result of one full scan; moments are epoch seconds.

    `proof`: missing objects may be marked gone. `remark` says why not, or what is missing for the first time.
    `matched` objects passed the filter; the ledger had `known` of them. `created` and `changed` joined a window; events
    should have reported `recovered` of these earlier. `gone` left the ledger. A sharded listing may count
    objects twice. `left_out` counts, by reason, wanted entries that cannot be objects; `odd` lists oddities of the
    store (`store_notes.Oddity`).
    """

    id: str
    started_at: float
    finished_at: float
    complete: bool
    proof: bool
    remark: str
    listed: int
    matched: int
    known: int
    created: int
    changed: int
    gone: int
    recovered: int
    list_calls: int
    cost_usd: float
    duration_seconds: float
    left_out: Mapping[str, int] | None
    odd: Sequence[str] | None

    def figures(self) -> dict[str, Any]:
        """Return all fields except id and moments."""
        placed = ("id", "started_at", "finished_at")
        return {name: value for name, value in asdict(self).items() if name not in placed}


@dataclass(frozen=True, slots=True)
class StoredScanReport(ScanReport):
    """The report of a full scan of an automation; `seq` orders the reports."""

    seq: int
    automation_id: str


@dataclass(frozen=True, slots=True)
class QuarantinedMessage:
    """A message of an event queue that no automation could use. `deleted`: the queue no longer has it."""

    connector_id: str
    message_id: str
    reason: str
    detail: str
    excerpt: str
    first_seen_at: float
    last_seen_at: float
    times: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class RefusedCount:
    """How many messages of a connector were refused for a reason, and the detail of one."""

    connector_id: str
    reason: str
    messages: int
    detail: str


@dataclass(frozen=True, slots=True)
class Observation:
    """Why an automation did not pick up an object. `job_id` is the import job that reported it."""

    automation_id: str
    key: str
    version: str
    reason: str
    detail: str
    size_bytes: int
    seen_at: float
    job_id: str | None
