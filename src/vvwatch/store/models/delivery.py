"""Rows of exports, events, webhooks and deliveries. Times are epoch seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vvwatch.store.models.runs import Run


@dataclass(frozen=True, slots=True)
class Export:
    """An export of an index or a run (`target_id`).

    `run_id`: the only run it holds; `prompt_run_ids`: those that were asked for, None for all. `options`: its formats
    and layout, None for one JSON document; `files`: the name, size and digest of each file at the destination.
    `parts`: the size and the digest of each file of a document that was divided.
    """

    id: str
    export_type: str
    target_id: str
    index_id: str | None
    run_id: str | None
    prompt_run_ids: list[str] | None
    automation_id: str | None
    status: str
    queue_status: str
    attempts: int
    max_attempts: int
    destination_type: str
    destination_connector_id: str | None
    destination_base_path: str | None
    destination_subpath: str | None
    destination_uri: str | None
    file_size_bytes: int | None
    sha256: str | None
    options: dict[str, Any] | None
    files: list[dict[str, Any]] | None
    parts: list[dict[str, Any]] | None
    error_message: str | None
    last_error: str | None
    revision: int
    next_at: float | None
    created_at: float
    available_at: float | None
    started_at: float | None
    completed_at: float | None
    updated_at: float | None
    dismissed_at: float | None


@dataclass(frozen=True, slots=True)
class ExportedRun(Run):
    """A run with what its calls came to, without those of retries. Unpriced calls make the cost a lower bound."""

    call_count: int
    input_tokens: int
    output_tokens: int
    cost_nanousd: int
    unpriced_call_count: int


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver of events. `index_ids` None: of every index; `secret` is sealed.

    `probe_at`: it failed too often, and one delivery asks it then. `made_by`: the content of the request that made it.
    """

    id: str
    name: str
    url: str
    events: list[str]
    index_ids: list[str] | None
    status: str
    secret: bytes = field(repr=False)
    failure_count: int
    last_error: str | None
    last_failure_at: float | None
    last_success_at: float | None
    probe_at: float | None
    metadata: dict[str, Any] | None
    declared: bool
    made_by: str | None
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `occurrence` names it; `place` and `id` order all events."""

    id: str
    type: str
    index_id: str | None
    occurrence: str
    data: dict[str, Any]
    place: int
    created_at: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one webhook.

    `about` is the object whose events arrive in the order of their `place`. `held`: an earlier one is not yet
    delivered.
    """

    id: str
    event_id: str
    webhook_id: str
    status: str
    attempts: int
    response_status_code: int | None
    response_body: str | None
    error_message: str | None
    revision: int
    next_at: float | None
    about: str
    place: int
    held: bool
    created_at: float
    last_attempt_at: float | None
    completed_at: float | None
    dismissed_at: float | None


class UnfinishedDelivery(NamedTuple):
    """Where a delivery is among those of one object: read for each event, so it has no more than that."""

    id: str
    place: int
    held: bool


@dataclass(frozen=True, slots=True)
class DeliveryOfEvent(Delivery):
    """A delivery with the type and the time of its event and the name of its webhook."""

    event_type: str
    event_at: float
    webhook_name: str


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt of a delivery. Without a duration the daemon died during it."""

    delivery_id: str
    number: int
    started_at: float
    duration_seconds: float | None
    response_status_code: int | None
    response_body: str | None
    error_message: str | None
