"""Rows of API keys, the audit trail, deletions, failures and alerts. Times are epoch seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key; only its digest is stored."""

    id: str
    name: str
    digest: str
    key_prefix: str
    scopes: list[str]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change, or equal refusals within an hour: `times` of them, the last at `last_at`."""

    id: str
    at: float
    last_at: float | None
    actor: str
    actor_name: str
    action: str
    outcome: str
    route: str
    resource_id: str
    request_id: str
    address: str
    times: int
    details: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Deletion:
    """The deletion of an index or a video (`resource`)."""

    id: str
    resource: str
    resource_id: str
    status: str
    created_at: float
    completed_at: float | None


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """A message to a receiver of alerts: `pending`, `sent` or `failed`."""

    id: str
    receiver: str
    body: dict[str, Any]
    status: str
    attempts: int
    next_at: float | None
    error: str | None
    created_at: float
    completed_at: float | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Failures with the same text: `kind` is import_job, prompt_run, export or delivery, `id` the newest of `ids`.

    `state` is `failed`, or `waiting` for what is retried automatically at `next_try_at`. `failed` counts the failed
    pieces in all of them: files, items (or segments, in a run without failed items), exports, deliveries. `last_at`
    is the time of the last failure.
    """

    kind: str
    id: str
    ids: tuple[str, ...]
    state: str
    what: str
    failed: int
    last_at: float | None
    next_try_at: float | None = None
    about: str = ""
    """The index of a job, a run or an export; the webhook of a delivery."""
    reason: str = ""
    """The reason, without the name of what failed."""
    job_id: str = ""
    """The import job whose media the run processes."""


@dataclass(frozen=True, slots=True)
class Failures:
    """The newest failures, and counts by kind: import_jobs, import_files, prompt_runs, …"""

    found: Sequence[Failure]
    counts: dict[str, int]
