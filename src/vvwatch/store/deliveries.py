"""Deliveries: one message to one webhook, attempt by attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from vvwatch.core.deliveries import DeliveryStatus, check_transition
from vvwatch.ports import Job, Kind
from vvwatch.store.database import Tx
from vvwatch.store.schema import deliveries, delivery_attempts, events, webhooks


@dataclass(frozen=True, slots=True)
class DeliveryWork:
    """One attempt to make."""

    delivery: sa.Row[Any]
    event: sa.Row[Any]
    webhook: sa.Row[Any]


@dataclass(frozen=True, slots=True)
class Attempted:
    """What one attempt came to; `status_code` None: no answer, `error` says why."""

    status_code: int | None
    body: str
    error: str | None
    duration_seconds: float


def begin(tx: Tx, job: Job) -> DeliveryWork | None:
    """Note the attempt before it is made, so that one cut short by a crash is known of; None for a stale job.

    A webhook that was paused or disabled gets nothing: the delivery ends as failed and says so.
    """
    row = tx.touch(
        job,
        attempts=deliveries.c.attempts + 1,
        status=DeliveryStatus.PROCESSING,
        last_attempt_at=tx.now,
    )
    if row is None:
        return None
    webhook = tx.execute(sa.select(webhooks).where(webhooks.c.id == row.webhook_id)).one()
    if webhook.status != "active":
        error = f"the webhook is {webhook.status}"
        tx.claim(job, status=DeliveryStatus.FAILED, error_message=error, completed_at=tx.now)
        return None
    event = tx.execute(sa.select(events).where(events.c.id == row.event_id)).one()
    tx.insert(delivery_attempts, delivery_id=row.id, number=row.attempts, started_at=tx.now)
    return DeliveryWork(row, event, webhook)


def finish(
    tx: Tx,
    job: Job,
    number: int,
    attempted: Attempted,
    status: DeliveryStatus,
    retry_at: float | None,
    disable_after: int,
    *,
    gone: bool,
) -> bool:
    """Keep what came of the attempt and move the delivery on; returns False for a stale job.

    `gone` disables the webhook: its receiver asked never to be told again.
    """
    check_transition(DeliveryStatus.PROCESSING, status)
    _keep_attempt(tx, job.ref, number, attempted)
    final = status is not DeliveryStatus.RETRYING
    row = tx.claim(
        job,
        status=status,
        response_status_code=attempted.status_code,
        response_body=attempted.body,
        error_message=attempted.error,
        completed_at=tx.now if final else None,
    )
    if row is None:
        return False
    if retry_at is not None:
        tx.put(Kind.DELIVERY, row.id, row.revision, retry_at)
    limit = 0 if gone else disable_after
    _note_webhook(tx, row.webhook_id, limit, delivered=status is DeliveryStatus.DELIVERED)
    return True


def _keep_attempt(tx: Tx, delivery_id: str, number: int, attempted: Attempted) -> None:
    tx.execute(
        sa.update(delivery_attempts)
        .where(delivery_attempts.c.delivery_id == delivery_id, delivery_attempts.c.number == number)
        .values(
            duration_seconds=attempted.duration_seconds,
            response_status_code=attempted.status_code,
            response_body=attempted.body,
            error_message=attempted.error,
        )
    )


def _note_webhook(tx: Tx, webhook_id: str, disable_after: int, *, delivered: bool) -> None:
    table = webhooks
    if delivered:
        tx.update(table, webhook_id, failure_count=0, last_success_at=tx.now)
        return
    tx.update(table, webhook_id, failure_count=table.c.failure_count + 1, last_failure_at=tx.now)
    worn_out = table.c.id == webhook_id, table.c.failure_count >= disable_after, table.c.status == "active"
    tx.execute(sa.update(table).where(*worn_out).values(status="disabled", updated_at=tx.now))
