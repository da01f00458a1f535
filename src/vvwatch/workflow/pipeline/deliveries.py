"""Webhook deliveries: signed, retried with backoff, each attempt recorded before and after."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vvwatch.core.deliveries import Answer, DeliveryStatus, classify_status, signature_headers
from vvwatch.core.events import TEST_EVENT, build_envelope, canonical_json
from vvwatch.core.identities import new_id
from vvwatch.core.retries import delivery_delay
from vvwatch.core.traces import find_subject
from vvwatch.errors import MachineShortage, StoreError
from vvwatch.ports import Clock, Job, Reply, Sender
from vvwatch.store.db.database import Database
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.delivery import deliveries
from vvwatch.store.delivery.deliveries import AttemptResult, DeliveryWork, EndedAttempt, FinishResult
from vvwatch.store.models.delivery import Webhook
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.writes import Batcher, write_until_committed


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """The retry delays, and the number of consecutive failures that disables a webhook."""

    delays: Sequence[float]
    disable_after: int


_SHORTAGE_SECONDS = 30.0
_EVENT_NAMES = {
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
        self._begun = Batcher(self._begin)
        self._noted = Batcher(self._finish)

    async def _begin(self, jobs: Sequence[Job]) -> Sequence[DeliveryWork | None]:
        return await self._database.write(deliveries.begin_all, jobs)

    async def _finish(self, ended: Sequence[EndedAttempt]) -> Sequence[FinishResult]:
        policy = self._policy
        return await write_until_committed(
            self._database, self._clock, deliveries.finish_all, ended, policy.disable_after, policy.delays
        )

    async def deliver(self, job: Job) -> None:
        """Handle one attempt of a delivery."""
        work = await self._begun(job)
        if work is None:
            return
        names = {
            "X-Delivery-ID": work.delivery.id,
            "X-Delivery-Attempt-Id": f"{work.delivery.id}-{work.delivery.attempts}",
            "Idempotency-Key": work.delivery.id,
            **self._name_span(work),
        }
        reply = await self._post(work.webhook, _build_envelope(work), names)
        if reply.shortage is not None:
            await self._wait(job, work, reply.shortage)
            return
        answer = classify_status(reply.status_code)
        attempted = AttemptResult(
            reply.status_code, reply.body, describe_failure(reply), reply.duration_seconds
        )
        status, retry_at = self._next(work, answer, reply.retry_after_seconds)
        gone = answer is Answer.GONE
        noted = await self._noted(
            EndedAttempt(job, work.delivery.attempts, attempted, status, retry_at, gone)
        )
        if noted is not FinishResult.STALE:
            self._announce(work, attempted, status)
        if noted is FinishResult.DISABLED:
            self._telemetry.emit("webhook.disabled", webhook=work.webhook.id, name=work.webhook.name)

    def _name_span(self, work: DeliveryWork) -> dict[str, str]:
        """Return the header that names the span of this attempt, if spans are exported."""
        if self._telemetry.name_parent is None:
            return {}
        subject = find_subject(work.event.data) or work.delivery.id
        name = f"{work.delivery.id}-{work.delivery.attempts}"
        return {"traceparent": self._telemetry.name_parent(subject, name)}

    async def _wait(self, job: Job, work: DeliveryWork, shortage: MachineShortage) -> None:
        """Postpone a delivery that this machine could not send; no attempt is counted."""
        at, number = self._clock.now() + _SHORTAGE_SECONDS, work.delivery.attempts
        await write_until_committed(
            self._database, self._clock, deliveries.undo_attempt, job, number, at, shortage.message
        )
        self._telemetry.emit("machine.shortage", reason=shortage.code, error=shortage)

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

    async def test(self, webhook: Webhook) -> Reply:
        """Send a signed test event now, whatever the webhook's status; it is not counted."""
        now = self._clock.now()
        event_id = new_id("evt_test", now, secrets.token_bytes(10))
        envelope = build_envelope(event_id, TEST_EVENT, {"webhook_id": webhook.id}, now, webhook.metadata)
        return await self._post(webhook, envelope, {"Idempotency-Key": event_id})

    async def _post(self, webhook: Webhook, envelope: Mapping[str, Any], names: Mapping[str, str]) -> Reply:
        """Sign and send the same bytes, with the webhook's current secret."""
        body = canonical_json(envelope)
        try:
            secret = self._box.open(webhook.secret)
        except StoreError as closed:  # the secret cannot be opened
            return Reply(None, "", closed.message, 0.0)
        message_id, sent_at = names["Idempotency-Key"], int(self._clock.now())
        headers = {
            **signature_headers(secret, message_id, sent_at, body),
            "Content-Type": "application/json",
            "X-Webhook-ID": webhook.id,
            "X-Event-Type": envelope["event"],
        }
        return await self._sender.post(webhook.url, body, headers | dict(names))

    def _announce(self, work: DeliveryWork, attempted: AttemptResult, status: DeliveryStatus) -> None:
        self._telemetry.emit(
            _EVENT_NAMES[status],
            delivery=work.delivery.id,
            webhook=work.webhook.id,
            event_type=work.event.type,
            about=find_subject(work.event.data),
            attempt=work.delivery.attempts,
            status_code=attempted.status_code,
            error=attempted.error or "",
            error_type=_classify_error(attempted) if attempted.error else "",
            duration_seconds=round(attempted.duration_seconds, 3),
        )


def describe_failure(reply: Reply) -> str | None:
    """Return why the receiver did not accept the event; None if it did."""
    if classify_status(reply.status_code) is Answer.DELIVERED:
        return None
    return reply.error or f"the receiver answered {reply.status_code}"


def _build_envelope(work: DeliveryWork) -> dict[str, Any]:
    event = work.event
    return build_envelope(event.id, event.type, event.data, event.created_at, work.webhook.metadata)


def _classify_error(attempted: AttemptResult) -> str:
    return "no_answer" if attempted.status_code is None else f"http_{attempted.status_code}"
