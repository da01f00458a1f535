"""Webhooks and the log of their deliveries."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query, Response
from pydantic import AfterValidator, BeforeValidator, Field

from vvwatch.api.http.auditing import Audited
from vvwatch.api.http.auth import PUBLIC, require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.idempotency import Idempotent, SecretResponse
from vvwatch.api.http.wire import Body, Resource, ShortDocument, Visible, to_iso
from vvwatch.core.deliveries import DeliveryStatus
from vvwatch.core.events import EVENT_TYPES, build_envelope
from vvwatch.core.keys import Scope
from vvwatch.store.db.database import Tx
from vvwatch.store.delivery import webhooks
from vvwatch.store.delivery.webhooks import DeliveryView, WebhookSpec
from vvwatch.store.imports import retrying
from vvwatch.store.models.delivery import DeliveryAttempt
from vvwatch.store.models.delivery import Webhook as WebhookRow
from vvwatch.workflow.pipeline.deliveries import describe_failure

router = resource_router("webhooks")

Unique = AfterValidator(lambda names: list(dict.fromkeys(names)))
Ids = Annotated[list[str], Field(min_length=1, max_length=1000)]


class WebhookBody(Body):
    """A new webhook; without `index_ids` it gets events of every index."""

    name: Annotated[str, Field(min_length=1, max_length=100), Visible]
    url: str
    events: Annotated[list[str], Field(min_length=1, max_length=len(EVENT_TYPES))]
    index_ids: Ids | None = None
    metadata: ShortDocument | None = None


Status = Literal["active", "paused"]


class WebhookChange(Body):
    """Changes to a webhook; only `index_ids` (every index) and `metadata` (none) can be null."""

    name: Annotated[str, Field(min_length=1, max_length=100), Visible] = ""
    url: str = ""
    events: Annotated[list[str], Field(min_length=1, max_length=len(EVENT_TYPES)), Unique] = Field(
        default_factory=list
    )
    index_ids: Annotated[Ids, Unique] | None = None
    status: Status = "active"
    metadata: ShortDocument | None = None


class Webhook(Resource):
    """A webhook; its secret is shown only on creation."""

    webhook_id: str
    name: str
    url: str
    events: list[str]
    index_ids: list[str] | None
    status: str
    failure_count: int
    last_failure_at: str | None
    last_success_at: str | None
    created_at: str | None
    updated_at: str | None
    metadata: dict[str, Any] | None
    declared: bool


class NewWebhook(Webhook):
    """A webhook with its signing secret."""

    secret: str


class Attempt(Resource):
    """One delivery attempt; without a duration, the daemon died during it."""

    attempt_id: str
    number: int
    started_at: str | None
    duration_seconds: float | None
    response_status_code: int | None
    response_body: str | None
    error_message: str | None


class WebhookDelivery(Resource):
    """The delivery of one event to one webhook."""

    delivery_id: str
    webhook_id: str
    event_type: str
    status: str
    attempts: int
    last_attempt_at: str | None
    next_retry_at: str | None
    response_status_code: int | None
    response_body: str | None
    error_message: str | None
    created_at: str | None
    completed_at: str | None
    payload: dict[str, Any]


class WholeDelivery(WebhookDelivery):
    """A delivery with all its attempts."""

    attempt_log: list[Attempt]


class NewSecret(SecretResponse):
    """The new signing secret, shown once."""

    webhook_id: str
    new_secret: str

    def instead(self) -> tuple[str, str]:
        """Return what the request did, and how to get another secret."""
        return (
            f"the first request gave webhook {self.webhook_id!r} a new secret and showed it; it is not shown again",
            "if you do not have the secret, repeat the request with another Idempotency-Key",
        )


class Tested(Resource):
    """The result of a test: the receiver's HTTP status, if it responded, and the error, if any."""

    success: bool
    status_code: int | None
    error: str | None


class Deleted(Resource):
    """The result of the deletion."""

    message: str
    status: str


def _to_webhook(row: WebhookRow) -> Webhook:
    return Webhook.of(row, webhook_id=row.id)


def _delivery_fields(view: DeliveryView) -> dict[str, Any]:
    row, event = view.delivery, view.event
    retrying_at = row.next_at if row.status == DeliveryStatus.RETRYING else None
    return {
        "delivery_id": row.id,
        "event_type": event.type,
        "next_retry_at": to_iso(retrying_at),
        "payload": build_envelope(event.id, event.type, event.data, event.created_at, view.webhook.metadata),
    }


def _to_attempt(row: DeliveryAttempt) -> Attempt:
    return Attempt.of(row, attempt_id=f"{row.delivery_id}-{row.number}")


def to_whole_delivery(view: DeliveryView) -> WholeDelivery:
    """Return the delivery with its attempts as a response."""
    log = [_to_attempt(row) for row in view.attempts]
    return WholeDelivery.of(view.delivery, **_delivery_fields(view), attempt_log=log)


@router.get("/webhooks/events", **require(PUBLIC))
async def list_events() -> list[str]:
    """List the event types of webhooks."""
    return list(EVENT_TYPES)


@router.get("/webhooks/deliveries/{delivery_id}", **require(Scope.READ))
async def get_delivery(context: Context, delivery_id: str) -> WholeDelivery:
    """Return a delivery with its attempts."""
    return to_whole_delivery(await context.database.read(webhooks.get_delivery, delivery_id))


@router.post("/webhooks/deliveries/{delivery_id}/retry", response_model=WholeDelivery, **require(Scope.WRITE))
async def retry_delivery(once: Idempotent, delivery_id: str) -> Response:
    """Send a failed delivery again, under the same id."""
    return await once(lambda tx: _retry(tx, delivery_id))


def _retry(tx: Tx, delivery_id: str) -> WholeDelivery:
    retrying.retry_delivery(tx, delivery_id)
    return to_whole_delivery(webhooks.get_delivery(tx, delivery_id))


@router.post("/webhooks", status_code=201, response_model=NewWebhook, **require(Scope.WRITE))
async def create_webhook(context: Context, once: Idempotent, body: WebhookBody) -> Response:
    """Create a webhook. Only this response shows its secret, also when repeated with the same Idempotency-Key."""
    spec = WebhookSpec(
        name=body.name,
        url=body.url,
        events=tuple(dict.fromkeys(body.events)),
        index_ids=None if body.index_ids is None else tuple(dict.fromkeys(body.index_ids)),
        metadata=body.metadata,
    )
    claim, policy = await once.claim(), context.settings.webhook_policy
    once.audit.details["name"] = body.name
    row, secret, is_new = await once.audit.write(
        lambda tx: webhooks.create(tx, context.box, spec, policy, claim),
        lambda made: made[0].id if made[2] else None,
    )
    return once.answer(NewWebhook.of(row, webhook_id=row.id, secret=secret), replayed=not is_new)


@router.get("/webhooks", **require(Scope.READ))
async def list_webhooks(context: Context) -> list[Webhook]:
    """List all webhooks, oldest first."""
    return [_to_webhook(row) for row in await context.database.read(webhooks.list_all)]


@router.get("/webhooks/{webhook_id}", **require(Scope.READ))
async def get_webhook(context: Context, webhook_id: str) -> Webhook:
    """Return a webhook."""
    return _to_webhook(await context.database.read(webhooks.get, webhook_id))


@router.delete("/webhooks/{webhook_id}", **require(Scope.ADMIN))
async def delete_webhook(context: Context, audited: Audited, webhook_id: str) -> Deleted:
    """Delete a webhook that was created over the API, and its secret. Pending deliveries are not sent."""
    row = await audited.write(lambda tx: webhooks.delete(tx, context.box, webhook_id))
    return Deleted(message=f"webhook {row.name!r} ({row.id}) was deleted", status=webhooks.DELETED)


@router.patch("/webhooks/{webhook_id}", response_model=Webhook, **require(Scope.WRITE))
async def change_webhook(
    context: Context, once: Idempotent, webhook_id: str, body: WebhookChange
) -> Response:
    """Change the given fields. Events that happen while it is paused are never sent.

    Setting the status to active resets its failures and resumes earlier deliveries.
    """
    values = body.model_dump(exclude_unset=True)
    policy = context.settings.webhook_policy
    change = once.changing(values)
    return await change(lambda tx: _to_webhook(webhooks.change(tx, webhook_id, values, policy)))


@router.post("/webhooks/{webhook_id}/rotate-secret", response_model=NewSecret, **require(Scope.WRITE))
async def rotate_secret(context: Context, once: Idempotent, webhook_id: str) -> Response:
    """Replace a webhook's secret. It signs everything sent from now on, including retries.

    Only this response shows it: repeating the same Idempotency-Key answers 409.
    """

    def replace_secret(tx: Tx) -> NewSecret:
        return NewSecret(
            webhook_id=webhook_id, new_secret=webhooks.rotate_secret(tx, context.box, webhook_id)
        )

    return await once(replace_secret)


@router.post("/webhooks/{webhook_id}/test", response_model=Tested, **require(Scope.WRITE))
async def test_webhook(context: Context, once: Idempotent, webhook_id: str) -> Response:
    """Send a signed test event now and return the result. Works for paused webhooks too."""
    found: list[WebhookRow] = []

    def find_webhook(tx: Tx) -> Tested:
        found.append(webhooks.get(tx, webhook_id))
        return Tested(success=False, status_code=None, error="the server stopped during the test")

    async def send_test(_: Tested) -> Tested:
        reply = await context.test_webhook(found[-1])
        error = describe_failure(reply)
        return Tested(success=error is None, status_code=reply.status_code, error=error)

    return await once.run_both(find_webhook, send_test)


def _to_lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


@router.get("/webhooks/{webhook_id}/deliveries", **require(Scope.READ))
async def list_deliveries(
    context: Context,
    webhook_id: str,
    status: Annotated[DeliveryStatus | None, BeforeValidator(_to_lower), Query()] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> list[WebhookDelivery]:
    """List a webhook's deliveries, newest first."""
    found = await context.database.read(webhooks.list_deliveries, webhook_id, status, limit)
    return [WebhookDelivery.of(view.delivery, **_delivery_fields(view)) for view in found]
