"""Rows of API keys, the audit trail and deletions. Times are epoch seconds."""

from __future__ import annotations

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
