"""Webhook deliveries: signed, retried with backoff, each attempt noted before it is made and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vvwatch.core.deliveries import Answer, DeliveryStatus, classify
from vvwatch.core.events import canonical_json, envelope
from vvwatch.core.retries import delivery_delay
from vvwatch.core.signatures import sign
from vvwatch.errors import StoreError
from vvwatch.ports import Clock, Job, Reply, Sender
from vvwatch.store import deliveries
from vvwatch.store.database import Database
from vvwatch.store.deliveries import Attempted, DeliveryWork
from vvwatch.store.encryption import SecretBox
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.keeping import kept


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """When to try again, and after how many failures in a row a webhook is disabled."""

    delays: Sequence[float]
    disable_after: int


_TOLD_AS = {
    DeliveryStatus.DELIVERED: "delivery.sent",
    DeliveryStatus.RETRYING: "delivery.retried",
    DeliveryStatus.FAILED: "delivery.failed",
}


class Deliveries:
    """Delivers events to webhooks through `sender`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        sender: Sender,
        box: SecretBox,
        policy: DeliveryPolicy,
        sample: Callable[[], float],
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._sender = sender
        self._box = box
        self._policy = policy
        self._sample = sample

    async def deliver(self, job: Job) -> None:
        """Handle one attempt of a delivery."""
        work = await self._database.write(deliveries.begin, job)
        if work is None:
            return
        body = canonical_json(_envelope(work))
        try:
            headers = self._headers(work, body)
        except StoreError as closed:  # the secret cannot be opened
            reply = Reply(None, "", closed.message, 0.0)
        else:
            reply = await self._sender.post(work.webhook.url, body, headers)
        answer = classify(reply.status_code)
        error = (
            None
            if answer is Answer.DELIVERED
            else reply.error or f"the receiver answered {reply.status_code}"
        )
        attempted = Attempted(reply.status_code, reply.body, error, reply.duration_seconds)
        status, retry_at = self._next(work, answer, reply.retry_after_seconds)
        noted = await kept(
            self._database,
            self._clock,
            deliveries.finish,
            job,
            work.delivery.attempts,
            attempted,
            status,
            retry_at,
            self._policy.disable_after,
            gone=answer is Answer.GONE,
        )
        if noted:
            self._announce(work, attempted, status)

    def _next(
        self, work: DeliveryWork, answer: Answer, retry_after: float | None
    ) -> tuple[DeliveryStatus, float | None]:
        if answer is Answer.DELIVERED:
            return DeliveryStatus.DELIVERED, None
        if answer is Answer.GONE:
            return DeliveryStatus.FAILED, None
        wait = delivery_delay(work.delivery.attempts, self._sample(), retry_after, self._policy.delays)
        if wait is None:
            return DeliveryStatus.FAILED, None
        return DeliveryStatus.RETRYING, self._clock.now() + wait

    def _headers(self, work: DeliveryWork, body: bytes) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "X-Webhook-ID": work.webhook.id,
            "X-Delivery-ID": work.delivery.id,
            "X-Delivery-Attempt-Id": f"{work.delivery.id}-{work.delivery.attempts}",
            "X-Event-Type": work.event.type,
            "Idempotency-Key": work.delivery.id,
            "X-Webhook-Signature": sign(self._box.open(work.webhook.secret), body),
        }

    def _announce(self, work: DeliveryWork, attempted: Attempted, status: DeliveryStatus) -> None:
        self._telemetry.emit(
            _TOLD_AS[status],
            delivery=work.delivery.id,
            webhook=work.webhook.id,
            event_type=work.event.type,
            attempt=work.delivery.attempts,
            status_code=attempted.status_code,
            error=attempted.error or "",
            error_type=_error_type(attempted) if attempted.error else "",
            duration_seconds=round(attempted.duration_seconds, 3),
        )


def _envelope(work: DeliveryWork) -> dict[str, Any]:
    event = work.event
    return envelope(event.id, event.type, event.data, event.created_at, work.webhook.metadata)


def _error_type(attempted: Attempted) -> str:
    return "no_answer" if attempted.status_code is None else f"http_{attempted.status_code}"
