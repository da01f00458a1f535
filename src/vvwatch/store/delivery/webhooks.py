"""Webhooks: their events, the secret that signs them, and the log of deliveries."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import sqlalchemy as sa

from vvwatch.core.deliveries import SECRET_PREFIX, DeliveryStatus
from vvwatch.core.events import EVENT_TYPES
from vvwatch.core.networks import AddressPolicy, Reach
from vvwatch.core.state_machine import DELIVERY_TRANSITIONS
from vvwatch.errors import Conflict, InvalidInput, NotFound
from vvwatch.store.catalog.ceilings import require_room
from vvwatch.store.db import sealing
from vvwatch.store.db.database import Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.db.idempotency import Claim
from vvwatch.store.db.lists import Show, select_shown
from vvwatch.store.db.typed import first_of, model_of, models_of
from vvwatch.store.delivery.deliveries import resume_webhook
from vvwatch.store.models.delivery import Delivery, DeliveryAttempt, DeliveryOfEvent, Event, Webhook
from vvwatch.store.schema import deliveries, delivery_attempts, events, indexes, webhooks
from vvwatch.store.schema.outbox import DELIVERY_NEEDS_ATTENTION

DELETED: Final = "deleted"
"""The status of a deleted webhook: its row stays for the deliveries that refer to it."""

_LONGEST_URL: Final = 2048
_DIGITS: Final = 32  # of the id derived from a claim: long enough to be unique
_UNDER_WAY: Final = tuple(DELIVERY_TRANSITIONS)


@dataclass(frozen=True, slots=True)
class WebhookSpec:
    """The settings of a webhook. `index_ids` None: events of every index."""

    name: str
    url: str
    events: tuple[str, ...]
    index_ids: tuple[str, ...] | None = None
    metadata: dict[str, Any] | None = None

    def columns(self) -> dict[str, Any]:
        """The row's values."""
        index_ids = None if self.index_ids is None else list(self.index_ids)
        return {**asdict(self), "events": list(self.events), "index_ids": index_ids}


def new_secret() -> str:
    """Return a new signing secret, as verifiers of Standard Webhooks want it: 32 bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def create(
    tx: Tx, box: SecretBox, spec: WebhookSpec, policy: AddressPolicy, claim: Claim | None = None
) -> tuple[Webhook, str, bool]:
    """Create an active webhook; return it, its secret, which is shown only now, and whether it is new.

    With a `claim`, the same claim returns the same webhook as long as it exists. After its
    deletion, the claim creates it again, with the same id and another secret. Raises InvalidInput for an address
    or an event that is invalid, NotFound for an unknown index, RequestMismatch.
    """
    webhook_id = f"wh_{claim.id[:_DIGITS]}" if claim else tx.new_id("wh")
    found = find(tx, webhook_id)
    if claim and found is not None and found.status != DELETED:
        claim.require(found.made_by)
        return found, box.open(found.secret), False
    _check_spec(tx, spec, policy)
    require_room(tx, webhooks)
    secret = new_secret()
    values = {
        **_initial_values(tx.now, spec),
        "secret": sealing.seal(tx, box, secret),
        "made_by": claim.content if claim else None,
    }
    if found is None:
        tx.insert(webhooks, id=webhook_id, **values)
    else:
        tx.update(webhooks, webhook_id, **values)
    return get(tx, webhook_id), secret, True


def find(tx: Tx, webhook_id: str) -> Webhook | None:
    """Return the webhook, deleted or not; None if there is none."""
    return first_of(Webhook, tx.execute(sa.select(webhooks).where(webhooks.c.id == webhook_id)))


def _initial_values(now: float, spec: WebhookSpec) -> dict[str, Any]:
    """Return the columns of a webhook that got no event yet."""
    history = {"failure_count": 0, "last_failure_at": None, "last_success_at": None, "probe_at": None}
    return {"status": "active", **history, "created_at": now, "updated_at": now, **spec.columns()}


def get(tx: Tx, webhook_id: str) -> Webhook:
    """Return the webhook. Raises NotFound, also for a deleted one."""
    row = model_of(Webhook, tx.require(webhooks, "webhook", webhook_id))
    if row.status == DELETED:
        raise NotFound("webhook", webhook_id)
    return row


def list_all(tx: Tx) -> list[Webhook]:
    """Return all webhooks that are not deleted, oldest first."""
    there = sa.select(webhooks).where(webhooks.c.status != DELETED)
    return models_of(Webhook, tx.all(there.order_by(webhooks.c.created_at, webhooks.c.id)))


def delete(tx: Tx, box: SecretBox, webhook_id: str) -> Webhook:
    """Delete the webhook and its secret; return it as it was. Its waiting deliveries fail.

    Raises NotFound, or Conflict if the configuration file owns it.
    """
    row = _require_api_made(tx, webhook_id)
    forgotten = sealing.seal(tx, box, new_secret())
    tx.update(webhooks, webhook_id, status=DELETED, secret=forgotten, updated_at=tx.now)
    tx.execute(
        sa.update(deliveries)
        .where(deliveries.c.webhook_id == webhook_id, deliveries.c.status.in_(_UNDER_WAY))
        .values(
            status=DeliveryStatus.FAILED,
            error_message="the webhook was deleted",
            completed_at=tx.now,
            revision=deliveries.c.revision + 1,
            next_at=None,
            held=False,
        )
    )
    return row


def change(tx: Tx, webhook_id: str, values: dict[str, Any], policy: AddressPolicy) -> Webhook:
    """Change the columns in `values`: those of the spec, and `status` active or paused.

    An event that happens while the webhook is not active is never sent to it. Setting the status to active continues
    deliveries that waited before, and resets failures. Raises as `delete` and `create`.
    """
    row = _require_api_made(tx, webhook_id)
    spec = {name: getattr(row, name) for name in WebhookSpec.__slots__} | values
    wanted = WebhookSpec(**{name: spec[name] for name in WebhookSpec.__slots__})
    _check_spec(tx, wanted, policy, known=row.index_ids or ())
    status = values.get("status", row.status)
    tx.update(webhooks, webhook_id, **wanted.columns(), status=status, updated_at=tx.now)
    if values.get("status") == "active":
        resume_webhook(tx, webhook_id)
    return get(tx, webhook_id)


def rotate_secret(tx: Tx, box: SecretBox, webhook_id: str) -> str:
    """Set and return a new secret, shown only now, which also signs later retries. Raises as `delete`."""
    _require_api_made(tx, webhook_id)
    secret = new_secret()
    tx.update(webhooks, webhook_id, secret=sealing.seal(tx, box, secret), updated_at=tx.now)
    return secret


def _require_api_made(tx: Tx, webhook_id: str) -> Webhook:
    """Return the webhook if the API may change it. Raises NotFound, or Conflict if the configuration file owns it."""
    row = get(tx, webhook_id)
    if row.declared:
        raise Conflict(
            f"webhook {webhook_id!r} is read-only here",
            "it is declared in the configuration file: change it there",
        )
    return row


def declare(
    tx: Tx,
    box: SecretBox,
    webhook_id: str,
    spec: WebhookSpec,
    secret: str,
    policy: AddressPolicy,
    *,
    enabled: bool = True,
) -> Webhook:
    """Create or update the webhook as declared, active: declaring it again resets its failures.

    Raises InvalidInput or NotFound as `create`.
    """
    _check_spec(tx, spec, policy)
    found = find(tx, webhook_id)
    is_kept = found is not None and box.open(found.secret) == secret
    sealed = found.secret if found is not None and is_kept else sealing.seal(tx, box, secret)
    state = {"secret": sealed, "declared": True, "failure_count": 0}
    state["status"] = "active" if enabled else "disabled"
    values = {**spec.columns(), **state, "updated_at": tx.now}
    if found is None:
        tx.insert(webhooks, id=webhook_id, created_at=tx.now, **values)
    else:
        tx.update(webhooks, webhook_id, **values)
        resume_webhook(tx, webhook_id)
    return get(tx, webhook_id)


def _check_spec(tx: Tx, spec: WebhookSpec, policy: AddressPolicy, known: Sequence[str] = ()) -> None:
    """Check the settings; `known` indexes may be gone by now."""
    check_url(spec.url, policy)
    unknown = [name for name in spec.events if name not in EVENT_TYPES]
    if unknown or not spec.events:
        what = f"no event is called {unknown[0]!r}" if unknown else "a webhook needs at least one event"
        raise InvalidInput(what, f"the events are {', '.join(EVENT_TYPES)}")
    for index_id in set(spec.index_ids or ()).difference(known):
        if tx.first(sa.select(indexes.c.id).where(indexes.c.id == index_id)) is None:
            raise NotFound("index", index_id)


def check_url(url: str, policy: AddressPolicy) -> None:
    """Raise InvalidInput unless `url` may be a webhook's address.

    The address that its name resolves to is checked at each delivery.
    """
    parts = _split_url(url)
    if parts.scheme != "https" and not (policy.allow_http and parts.scheme == "http"):
        raise InvalidInput(
            "a webhook's url must begin with https://",
            "the server permits http:// only with allow_http in [webhooks] of its configuration",
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("a webhook's url may not hold a user name or password", "sign with its secret")
    reached = policy.reach_of_host(parts.hostname or "")
    if reached is Reach.NEVER:
        what = f"{parts.hostname} is a link-local, reserved or cloud metadata address"
        raise InvalidInput(what, "no option allows these: use another address")
    if reached is Reach.PRIVATE:
        raise InvalidInput(
            f"{parts.hostname} is not a public address",
            "the server permits it only if allow_networks in [webhooks] of its configuration names its network",
        )


def _split_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or len(url) > _LONGEST_URL or not url.isprintable() or " " in url or parts.fragment:
        raise InvalidInput("a webhook's url must be a whole address", "for example https://example.com/hook")
    return parts


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A delivery with everything in its payload. `attempts` is empty in lists of deliveries."""

    delivery: Delivery
    event: Event
    webhook: Webhook
    attempts: Sequence[DeliveryAttempt]


def get_delivery(tx: Tx, delivery_id: str) -> DeliveryView:
    """Return the delivery with its attempts. Raises NotFound."""
    row = model_of(Delivery, tx.require(deliveries, "delivery", delivery_id))
    table = delivery_attempts
    made = tx.all(sa.select(table).where(table.c.delivery_id == delivery_id).order_by(table.c.number))
    attempts = models_of(DeliveryAttempt, made)
    return DeliveryView(row, _get_event(tx, row.event_id), get(tx, row.webhook_id), attempts)


def list_deliveries(tx: Tx, webhook_id: str, status: str | None, limit: int) -> list[DeliveryView]:
    """Return deliveries of a webhook, newest first. Raises NotFound for the webhook."""
    webhook = get(tx, webhook_id)
    wanted = [deliveries.c.webhook_id == webhook_id]
    wanted += [deliveries.c.status == status] if status else []
    found = tx.all(sa.select(deliveries).where(*wanted).order_by(deliveries.c.id.desc()).limit(limit))
    made = models_of(Delivery, found)
    return [DeliveryView(each, _get_event(tx, each.event_id), webhook, ()) for each in made]


def list_newest_deliveries(
    tx: Tx, webhook_id: str | None, show: Show, before_id: str | None, limit: int
) -> list[DeliveryOfEvent]:
    """Return deliveries of one webhook or of all, newest first, older than `before_id`."""
    shown = select_shown(deliveries, show, DELIVERY_NEEDS_ATTENTION, before_id)
    shown = shown.where(deliveries.c.webhook_id == webhook_id) if webhook_id else shown
    some = shown.limit(limit).subquery()
    columns = events.c.type.label("event_type"), events.c.created_at.label("event_at")
    chosen = sa.select(some, *columns, webhooks.c.name.label("webhook_name"))
    chosen = chosen.join(events, events.c.id == some.c.event_id).join(
        webhooks, webhooks.c.id == some.c.webhook_id
    )
    return models_of(DeliveryOfEvent, tx.all(chosen.order_by(some.c.id.desc())))


def list_deliveries_of(tx: Tx, occurrences: Sequence[str]) -> list[DeliveryOfEvent]:
    """Return the deliveries of these events, in the order of the events."""
    columns = events.c.type.label("event_type"), events.c.created_at.label("event_at")
    chosen = (
        sa.select(deliveries, *columns, webhooks.c.name.label("webhook_name"))
        .join(events, events.c.id == deliveries.c.event_id)
        .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
        .where(events.c.occurrence.in_(occurrences))
    )
    return models_of(DeliveryOfEvent, tx.all(chosen.order_by(events.c.id, deliveries.c.id)))


def _get_event(tx: Tx, event_id: str) -> Event:
    return model_of(Event, tx.execute(sa.select(events).where(events.c.id == event_id)).one())
