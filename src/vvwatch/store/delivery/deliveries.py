"""Deliveries: one event to one webhook, attempt by attempt.

Each webhook has a limited number of queued deliveries, one while it fails; when one ends, the next is queued.
So a dead receiver holds up nobody, however much waits for it. The events of one object reach a
webhook in order: each waits until the one before was delivered or failed for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.deliveries import DeliveryStatus, probe_pause
from vvwatch.core.state_machine import check_transition
from vvwatch.ports import Job, Kind, Priority
from vvwatch.store.db.database import Tx
from vvwatch.store.db.locking import by_locks
from vvwatch.store.db.queues import queue_name
from vvwatch.store.db.typed import Model, columns, first_of, model_of, models_of
from vvwatch.store.models.delivery import Delivery, Event, UnfinishedDelivery, Webhook
from vvwatch.store.schema import deliveries, delivery_attempts, events, webhooks

SHARE: Final = 32
"""The most queued deliveries of a webhook that accepts events."""

UNTRIED_SHARE: Final = 4
"""The most of a webhook that has never accepted an event."""

_MOST_FAILING: Final = 16  # so many are tried until one succeeds; the others do not use up their attempts
_SOON_SECONDS: Final = 5.0  # replicas' clocks differ a little
_PROBE_SECONDS: Final = 30.0  # for so long no other delivery contacts a receiver that one is probing


@dataclass(frozen=True, slots=True)
class DeliveryWork:
    """One attempt to make."""

    delivery: Delivery
    event: Event
    webhook: Webhook


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of one attempt; `status_code` None: no answer, `error` says why."""

    status_code: int | None
    body: str
    error: str | None
    duration_seconds: float


def create_delivery(tx: Tx, webhook: Webhook, event_id: str, about: str) -> None:
    """Return a delivery of the event to the webhook, not queued yet. `about` is the event's object, '' for none."""
    before = _lock_last_unfinished(tx, webhook.id, about)
    tx.insert(
        deliveries,
        id=tx.new_id("del"),
        event_id=event_id,
        webhook_id=webhook.id,
        about=about,
        place=before.place + 1 if before else 0,
        held=before is not None,
        created_at=tx.now,
    )


def feed_webhook(tx: Tx, webhook: Webhook) -> None:
    """Queue the next deliveries of an active webhook, up to its share, oldest first."""
    if webhook.status != "active":
        return
    room = _count_room(tx, webhook)
    if room <= 0:
        # Another transaction that ends a delivery of it waits here, then sees what waits; or has made room by now.
        webhook = _lock_webhook(tx, webhook.id)
        room = _count_room(tx, webhook)
    if room > 0:
        at = max(tx.now, webhook.probe_at or 0.0)
        # Others queue those that they have locked.
        chosen = _select_waiting(webhook.id).limit(room).with_for_update(skip_locked=True)
        _enqueue(tx, [(row.id, row.revision) for row in tx.all(chosen)], at)


def _enqueue(tx: Tx, revisions: Sequence[tuple[str, int]], at: float) -> None:
    """As `tx.put`, for many at once."""
    if not revisions:
        return
    ids = [delivery_id for delivery_id, _ in revisions]
    tx.execute(sa.update(deliveries).where(deliveries.c.id.in_(ids)).values(next_at=at))
    queue = queue_name(Kind.DELIVERY)
    tx.jobs += [Job(Kind.DELIVERY, ref, revision, at, queue=queue) for ref, revision in revisions]


def _count_room(tx: Tx, webhook: Webhook) -> int:
    next_at = deliveries.c.next_at
    due = sa.func.count(sa.case((next_at <= tx.now + _SOON_SECONDS, 1))).label("busy")
    in_hand = sa.select(due, sa.func.count().label("held")).where(
        deliveries.c.webhook_id == webhook.id, next_at.is_not(None)
    )
    found = tx.execute(in_hand).one()
    if webhook.probe_at is not None:
        return 1 - int(found.held)
    if webhook.failure_count:
        return min(1 - int(found.busy), _MOST_FAILING - int(found.held))
    share = UNTRIED_SHARE if webhook.last_success_at is None else SHARE
    return share - int(found.busy)


def _select_waiting(webhook_id: str) -> sa.Select[Any]:
    table = deliveries
    waits = table.c.webhook_id == webhook_id, table.c.completed_at.is_(None), table.c.next_at.is_(None)
    return sa.select(table.c.id, table.c.revision).where(*waits, ~table.c.held).order_by(table.c.id)


def _find_unfinished(
    tx: Tx, webhook_id: str, about: str, order: sa.ColumnElement[Any]
) -> UnfinishedDelivery | None:
    table = deliveries
    same = table.c.webhook_id == webhook_id, table.c.about == about, table.c.completed_at.is_(None)
    chosen = sa.select(*columns(UnfinishedDelivery, table)).where(*same).order_by(order).limit(1)
    return first_of(UnfinishedDelivery, tx.execute(chosen)) if about else None


def _lock_last_unfinished(tx: Tx, webhook_id: str, about: str) -> UnfinishedDelivery | None:
    """Return the object's last unfinished delivery, locked until this transaction ends."""
    while (last := _find_unfinished(tx, webhook_id, about, deliveries.c.place.desc())) is not None:
        same = deliveries.c.id == last.id, deliveries.c.completed_at.is_(None)
        if tx.first(sa.select(deliveries.c.id).where(*same).with_for_update()) is not None:
            return last
    return None


def resume_webhook(tx: Tx, webhook_id: str) -> None:
    """Reset the webhook's failures, and make its waiting deliveries due now, within its share."""
    tx.update(webhooks, webhook_id, failure_count=0, probe_at=None)
    table = deliveries
    naps = table.c.status != DeliveryStatus.PROCESSING, table.c.next_at > tx.now
    tx.execute(
        sa.update(table)
        .where(table.c.webhook_id == webhook_id, *naps)
        .values(next_at=None, revision=table.c.revision + 1)
    )
    feed_webhook(tx, _get_webhook(tx, webhook_id))


@by_locks
def begin_all(tx: Tx, jobs: Sequence[Job]) -> list[DeliveryWork | None]:
    """Record each attempt before it is made, so that a crash leaves a trace; None if there is none to make.

    Deliveries of a paused or disabled webhook wait until it is active again. A receiver that failed too
    often gets one delivery at a time; a delivery that a person retries does not wait for that.
    """
    found = _load(tx, Delivery, deliveries, [job.ref for job in jobs], locked=True)
    current = {job.ref: job for job in jobs if _is_current(job, found)}
    hooks = _load(tx, Webhook, webhooks, [found[ref].webhook_id for ref in current])
    hooks |= {name: _lock_webhook(tx, name) for name in sorted(hooks) if hooks[name].probe_at is not None}
    starting = []
    for ref, job in current.items():
        row = found[ref]
        hook = hooks[row.webhook_id]
        if hook.status != "active":
            _postpone(tx, job, row, None)
        elif _is_probed(tx, hook) and job.priority is not Priority.MANUAL:
            _postpone(tx, job, row, hook.probe_at)
        else:
            starting.append(ref)
            if hook.probe_at is not None:
                hooks[hook.id] = _reserve_probe(tx, hook.id)
    work = _start_attempts(tx, starting, hooks)
    return [work.get(job.ref) if current.get(job.ref) is job else None for job in jobs]


def _is_current(job: Job, found: Mapping[str, Delivery]) -> bool:
    """Return whether the job is current; a stale one may arrive together with it."""
    return job.ref in found and found[job.ref].revision == job.revision


def _load(
    tx: Tx, model: type[Model], table: sa.Table, ids: Sequence[str], *, locked: bool = False
) -> dict[str, Model]:
    chosen = sa.select(table).where(table.c.id.in_(ids)).order_by(table.c.id)
    rows = tx.all(chosen.with_for_update() if locked else chosen) if ids else ()
    return {row.id: made for row, made in zip(rows, models_of(model, rows), strict=True)}


def _reserve_probe(tx: Tx, webhook_id: str) -> Webhook:
    """Make the others wait until this one has its answer."""
    tx.update(webhooks, webhook_id, probe_at=tx.now + _PROBE_SECONDS)
    return _get_webhook(tx, webhook_id)


def _start_attempts(tx: Tx, ids: Sequence[str], hooks: Mapping[str, Webhook]) -> dict[str, DeliveryWork]:
    """Return these deliveries as work, each with a new attempt."""
    if not ids:
        return {}
    table = deliveries
    begun = {"status": DeliveryStatus.PROCESSING, "last_attempt_at": tx.now, "attempts": table.c.attempts + 1}
    tx.execute(sa.update(table).where(table.c.id.in_(ids)).values(**begun))
    rows = _load(tx, Delivery, table, ids)
    number = [
        {"delivery_id": each.id, "number": each.attempts, "started_at": tx.now} for each in rows.values()
    ]
    tx.execute(sa.insert(delivery_attempts), number)
    found = _load(tx, Event, events, [row.event_id for row in rows.values()])
    return {row.id: DeliveryWork(row, found[row.event_id], hooks[row.webhook_id]) for row in rows.values()}


def _is_probed(tx: Tx, webhook: Webhook) -> bool:
    return webhook.probe_at is not None and webhook.probe_at > tx.now


def _postpone(tx: Tx, job: Job, row: Delivery, at: float | None) -> None:
    """Postpone the delivery without an attempt. `at` None: until the webhook is active again."""
    status = DeliveryStatus.RETRYING if row.attempts else DeliveryStatus.PENDING
    moved = tx.claim(job, status=status)
    if moved is not None and at is not None:
        tx.enqueue(Kind.DELIVERY, moved.id, moved.revision, at)


def undo_attempt(tx: Tx, job: Job, number: int, at: float, message: str) -> None:
    """Undo the attempt `number`, which this machine could not make, and make it `at`; `message` says why."""
    attempts = deliveries.c.attempts - 1
    row = tx.claim(job, status=DeliveryStatus.RETRYING, attempts=attempts, error_message=message)
    if row is not None:
        mine = delivery_attempts.c.delivery_id == row.id, delivery_attempts.c.number == number
        tx.execute(sa.delete(delivery_attempts).where(*mine))
        tx.enqueue(Kind.DELIVERY, row.id, row.revision, at)


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """How the attempt `number` of a job's delivery ended, and what happens next.

    `retry_at` is when it is tried again. `gone`: the receiver asked for no more events.
    """

    job: Job
    number: int
    attempted: AttemptResult
    status: DeliveryStatus
    retry_at: float | None = None
    gone: bool = False


class FinishResult(Enum):
    """The result of recording the end of an attempt."""

    STALE = "stale"
    """Not recorded: the delivery continued without it."""
    KEPT = "kept"
    DISABLED = "disabled"
    """Recorded, and the webhook is disabled: it gets no more events."""


@by_locks
def finish_all(
    tx: Tx, ended: Sequence[EndedAttempt], disable_after: int, delays: Sequence[float]
) -> list[FinishResult]:
    """Record the results of attempts, and update their deliveries.

    A webhook is disabled if its receiver is gone, or after so many failures in a row. `delays`, as for a single
    delivery, say how long a receiver that keeps failing is left alone.
    """
    for each in ended:
        check_transition(DeliveryStatus.PROCESSING, each.status)
    found = _load(tx, Delivery, deliveries, [each.job.ref for each in ended], locked=True)
    _save_attempts(tx, ended)
    valid = {each.job.ref: each for each in ended if _is_current(each.job, found)}
    if valid:
        _update_deliveries(tx, list(valid.values()))
    by_webhook: dict[str, list[EndedAttempt]] = {}
    for ref, each in valid.items():
        by_webhook.setdefault(found[ref].webhook_id, []).append(each)
    noted = dict.fromkeys(valid, FinishResult.KEPT)
    for webhook_id, own in sorted(by_webhook.items()):  # locked in this order
        _release_next(tx, [found[each.job.ref] for each in own if each.retry_at is None])
        if _update_webhook(tx, webhook_id, own, found, disable_after, delays):
            noted[own[-1].job.ref] = FinishResult.DISABLED
    return [noted[each.job.ref] if valid.get(each.job.ref) is each else FinishResult.STALE for each in ended]


def _save_attempts(tx: Tx, ended: Sequence[EndedAttempt]) -> None:
    table = delivery_attempts
    mine = table.c.delivery_id == sa.bindparam("ref"), table.c.number == sa.bindparam("attempt")
    rows = [
        {
            "ref": each.job.ref,
            "attempt": each.number,
            "duration_seconds": each.attempted.duration_seconds,
            **_response_columns(each.attempted),
        }
        for each in ended
    ]
    tx.execute(sa.update(table).where(*mine), rows)


def _response_columns(attempted: AttemptResult) -> dict[str, Any]:
    return {
        "response_status_code": attempted.status_code,
        "response_body": attempted.body,
        "error_message": attempted.error,
    }


def _update_deliveries(tx: Tx, ended: Sequence[EndedAttempt]) -> None:
    table = deliveries
    rows = [
        {
            "ref": each.job.ref,
            "status": each.status,
            "completed_at": tx.now if each.retry_at is None else None,
            **_response_columns(each.attempted),
        }
        for each in ended
    ]
    moved = {"revision": table.c.revision + 1, "next_at": None}
    tx.execute(sa.update(table).where(table.c.id == sa.bindparam("ref")).values(**moved), rows)


def _release_next(tx: Tx, over: Sequence[Delivery]) -> None:
    """Release each object's next event, unless an earlier one is under way again."""
    if not over or not _has_held(tx, over[0].webhook_id):
        return
    for row in over:
        following = _find_unfinished(tx, row.webhook_id, row.about, deliveries.c.place)
        if following is not None and following.held:
            tx.update(deliveries, following.id, held=False)


def _has_held(tx: Tx, webhook_id: str) -> bool:
    table = deliveries
    waits = table.c.webhook_id == webhook_id, table.c.completed_at.is_(None), table.c.next_at.is_(None)
    return tx.first(sa.select(table.c.id).where(*waits, table.c.held).limit(1)) is not None


def _update_webhook(
    tx: Tx,
    webhook_id: str,
    ended: Sequence[EndedAttempt],
    rows: Mapping[str, Delivery],
    disable_after: int,
    delays: Sequence[float],
) -> bool:
    """Update the webhook's record, and queue what comes next. A webhook that works again gets everything that waited.

    Return whether it was disabled.
    """
    before = _lock_webhook(tx, webhook_id)
    failures, values = _count_failures(before, ended, rows), dict[str, Any]()
    for each in ended:
        delivered = each.status is DeliveryStatus.DELIVERED
        values["last_success_at" if delivered else "last_failure_at"] = tx.now
        values["last_error"] = None if delivered else each.attempted.error
    pause = probe_pause(failures, delays)
    if pause is not None:
        values["probe_at"] = tx.now + pause
    worn_out = failures >= disable_after or any(each.gone for each in ended)
    disabled = bool(failures and worn_out and before.status == "active")
    if disabled:
        values |= {"status": "disabled", "updated_at": tx.now}
    tx.update(webhooks, webhook_id, failure_count=failures, **values)
    if before.probe_at is not None and not failures:
        resume_webhook(tx, webhook_id)
    _schedule_retries(tx, webhook_id, ended)
    return disabled


def _count_failures(before: Webhook, ended: Sequence[EndedAttempt], rows: Mapping[str, Delivery]) -> int:
    """Return its consecutive failures. Attempts that were under way together count as one failure."""
    failures, most = before.failure_count, before.failure_count + 1
    for each in ended:
        if each.status is DeliveryStatus.DELIVERED:
            failures, most = 0, 1
        elif (rows[each.job.ref].last_attempt_at or 0.0) >= (before.last_failure_at or 0.0):
            failures = min(failures + 1, most)
    return failures


def _schedule_retries(tx: Tx, webhook_id: str, ended: Sequence[EndedAttempt]) -> None:
    webhook = _get_webhook(tx, webhook_id)
    for each in ended:
        if each.retry_at is not None:
            at = max(each.retry_at, webhook.probe_at or 0.0)
            tx.enqueue(Kind.DELIVERY, each.job.ref, each.job.revision + 1, at)
    feed_webhook(tx, webhook)


def _lock_webhook(tx: Tx, webhook_id: str) -> Webhook:
    """Return the webhook, locked: no other transaction ends a delivery of it before this one ends."""
    row = tx.guard(webhooks, webhook_id)
    assert row is not None  # noqa: S101  # a foreign key keeps it
    return model_of(Webhook, row)


def _get_webhook(tx: Tx, webhook_id: str) -> Webhook:
    return model_of(Webhook, tx.execute(sa.select(webhooks).where(webhooks.c.id == webhook_id)).one())
