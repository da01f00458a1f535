"""Deliveries of events to webhooks, and one delivery with its attempts, its body and how to verify it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Query, Response

from vvwatch.api.http.pagination import decode_cursor
from vvwatch.api.pages.access import Page, page_router
from vvwatch.api.pages.actions import Action, ActionForm, register_actions
from vvwatch.api.pages.lists import LISTED, After, Listing, Shown, to_listing, to_tabs
from vvwatch.api.routes.webhooks import WholeDelivery, to_whole_delivery
from vvwatch.core.deliveries import DeliveryStatus
from vvwatch.store.db.database import Tx
from vvwatch.store.delivery import webhooks
from vvwatch.store.models.delivery import DeliveryOfEvent, Webhook
from vvwatch.workflow.upkeep.findings import webhook_advice

router = page_router()

RESEND: Final = "retry-delivery"
_TEST: Final = "test-webhook"

register_actions(
    {
        RESEND: Action(
            "POST", "/webhooks/deliveries/{delivery_id}/retry", "Send again", "It is being sent again."
        ),
        _TEST: Action("POST", "/webhooks/{webhook_id}/test", "Send a test event", "A test event was sent."),
    }
)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A webhook, and the button that tests it."""

    webhook: Webhook
    test: ActionForm | None


@dataclass(frozen=True, slots=True)
class DeliveriesPage:
    """All webhooks, and a page of deliveries."""

    webhooks: Sequence[Receiver]
    webhook_id: str
    show: str
    deliveries: Listing[DeliveryOfEvent]


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """A delivery; `body` is what is sent, `advice` what to do about its last error."""

    delivery: WholeDelivery
    webhook: Webhook
    body: str
    advice: str
    resend: ActionForm | None


@router.get("/deliveries")
async def show_deliveries(
    page: Page, webhook_id: Annotated[str, Query(max_length=200)] = "", show: Shown = "", cursor: After = None
) -> Response:
    """List deliveries, newest first, of one webhook or of all."""
    known, rows = await page.context.database.read(_read_list, webhook_id, show, decode_cursor(cursor))
    kept = {"webhook_id": webhook_id}
    tabs = to_tabs(show, query=kept)
    listing = to_listing(rows, lambda row: row.id, cursor, tabs, {**kept, "show": show})
    receivers = [Receiver(row, page.action(_TEST, webhook_id=row.id)) for row in known]
    view = DeliveriesPage(receivers, webhook_id, show, listing)
    return await page.render("deliveries.html", view, "Deliveries")


def _read_list(
    tx: Tx, webhook_id: str, show: Shown, before: str | None
) -> tuple[Sequence[Webhook], Sequence[DeliveryOfEvent]]:
    rows = webhooks.list_newest_deliveries(tx, webhook_id or None, show, before, LISTED + 1)
    return webhooks.list_all(tx), rows


@router.get("/deliveries/{delivery_id}")
async def show_delivery(page: Page, delivery_id: str) -> Response:
    """Show a delivery with its attempts."""
    found = await page.context.database.read(webhooks.get_delivery, delivery_id)
    shown = to_whole_delivery(found)
    has_failed = shown.status == DeliveryStatus.FAILED
    view = DeliveryPage(
        delivery=shown,
        webhook=found.webhook,
        body=json.dumps(shown.payload, indent=2, ensure_ascii=False),
        advice=webhook_advice(shown.error_message) if shown.error_message else "",
        resend=page.action(RESEND, delivery_id=delivery_id) if has_failed else None,
    )
    return await page.render("delivery.html", view, f"Delivery {delivery_id}")
