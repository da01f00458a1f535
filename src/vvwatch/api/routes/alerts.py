"""Receivers of alerts: who they are, the last message to each, and a test message."""

from __future__ import annotations

from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.wire import Resource, to_iso
from vvwatch.core.alerts import Message
from vvwatch.core.keys import Scope
from vvwatch.errors import NotFound
from vvwatch.store.models.admin import AlertMessage
from vvwatch.workflow.upkeep.alerting import describe_refusal

router = resource_router("status")


class AlertReceiver(Resource):
    """A receiver of alerts, and the newest message to it: `pending`, `sent` or `failed`; null if there was none."""

    receiver_id: str
    last_alert_id: str | None
    last_title: str | None
    last_status: str | None
    last_error: str | None
    last_attempts: int
    last_at: str | None


class TestedReceiver(Resource):
    """The result of a test message: the status that the receiver answered with, if it did, and the error."""

    receiver_id: str
    success: bool
    status_code: int | None
    error: str | None


@router.get("/alerts", **extension("List receivers of alerts", Scope.READ))
async def list_receivers(context: Context) -> list[AlertReceiver]:
    """Return the receivers that the configuration declares."""
    if context.alerts is None:
        return []
    newest = await context.alerts.list_newest()
    return [_to_receiver(name, newest.get(name)) for name in sorted(context.alerts.receivers)]


@router.post("/alerts/{receiver_id}/test", **extension("Send a test alert", Scope.WRITE))
async def test_receiver(context: Context, receiver_id: str) -> TestedReceiver:
    """Send a test message now and return the result. It is not stored, and not sent again."""
    if context.alerts is None or receiver_id not in context.alerts.receivers:
        raise NotFound("receiver", receiver_id)
    reply = await context.alerts.test(receiver_id)
    error = describe_refusal(reply)
    return TestedReceiver(
        receiver_id=receiver_id,
        success=error is None,
        status_code=reply.status_code,
        error=reply.error or error,
    )


def _to_receiver(name: str, last: AlertMessage | None) -> AlertReceiver:
    if last is None:
        nothing = dict.fromkeys(("last_alert_id", "last_title", "last_status", "last_error", "last_at"))
        return AlertReceiver(receiver_id=name, last_attempts=0, **nothing)
    return AlertReceiver(
        receiver_id=name,
        last_alert_id=last.id,
        last_title=Message.of(last.body).title,
        last_status=last.status,
        last_error=last.error,
        last_attempts=last.attempts,
        last_at=to_iso(last.created_at),
    )
