"""Webhooks: who is told of which events, and the secret that signs what they are told."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import sqlalchemy as sa

from vvwatch.core.events import EVENT_TYPES
from vvwatch.errors import InvalidInput, NotFound
from vvwatch.store.database import Tx
from vvwatch.store.encryption import SecretBox
from vvwatch.store.schema import indexes, webhooks

_LONGEST_URL: Final = 2048


@dataclass(frozen=True, slots=True)
class WebhookSpec:
    """What a user sets for a webhook. `index_ids` None: events of every index."""

    name: str
    url: str
    events: tuple[str, ...]
    index_ids: tuple[str, ...] | None = None
    metadata: dict[str, Any] | None = None

    def columns(self) -> dict[str, Any]:
        """The row's values."""
        index_ids = None if self.index_ids is None else list(self.index_ids)
        return {**asdict(self), "events": list(self.events), "index_ids": index_ids}


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """Which addresses a webhook may have."""

    allow_http: bool = False
    allow_private_addresses: bool = False


def new_secret() -> str:
    """A fresh signing secret."""
    return f"whsec_{secrets.token_urlsafe(32)}"


def create(tx: Tx, box: SecretBox, spec: WebhookSpec, policy: UrlPolicy) -> tuple[sa.Row[Any], str]:
    """A new active webhook and its secret, which is shown this once.

    Raises InvalidInput for an address or an event that cannot be, NotFound for an unknown index.
    """
    _check(tx, spec, policy)
    webhook_id, secret = tx.new_id("wh"), new_secret()
    tx.insert(
        webhooks,
        id=webhook_id,
        secret=box.seal(secret),
        created_at=tx.now,
        updated_at=tx.now,
        **spec.columns(),
    )
    return get(tx, webhook_id), secret


def get(tx: Tx, webhook_id: str) -> sa.Row[Any]:
    """The webhook; raises NotFound."""
    return tx.require(webhooks, "webhook", webhook_id)


def list_all(tx: Tx) -> Sequence[sa.Row[Any]]:
    """All webhooks, oldest first."""
    return tx.all(sa.select(webhooks).order_by(webhooks.c.created_at, webhooks.c.id))


def declare(
    tx: Tx, box: SecretBox, webhook_id: str, spec: WebhookSpec, secret: str, policy: UrlPolicy
) -> sa.Row[Any]:
    """The webhook as the configuration file has it, active: declaring it anew forgives what failed before.

    Raises InvalidInput or NotFound as `create`.
    """
    _check(tx, spec, policy)
    found = tx.first(sa.select(webhooks).where(webhooks.c.id == webhook_id))
    sealed = found.secret if found is not None and box.open(found.secret) == secret else box.seal(secret)
    state = {"secret": sealed, "declared": True, "status": "active", "failure_count": 0}
    values = {**spec.columns(), **state, "updated_at": tx.now}
    if found is None:
        tx.insert(webhooks, id=webhook_id, created_at=tx.now, **values)
    else:
        tx.update(webhooks, webhook_id, **values)
    return get(tx, webhook_id)


def _check(tx: Tx, spec: WebhookSpec, policy: UrlPolicy) -> None:
    check_url(spec.url, policy)
    unknown = [name for name in spec.events if name not in EVENT_TYPES]
    if unknown or not spec.events:
        what = f"no event is called {unknown[0]!r}" if unknown else "a webhook needs at least one event"
        raise InvalidInput(what, f"the events are {', '.join(EVENT_TYPES)}")
    for index_id in spec.index_ids or ():
        if tx.first(sa.select(indexes.c.id).where(indexes.c.id == index_id)) is None:
            raise NotFound("index", index_id)


def check_url(url: str, policy: UrlPolicy) -> None:
    """Raises InvalidInput unless `url` may be a webhook's address.

    What its name resolves to is checked when something is sent there.
    """
    parts = _split(url)
    if parts.scheme != "https" and not (policy.allow_http and parts.scheme == "http"):
        raise InvalidInput(
            "a webhook's url must begin with https://",
            "the server permits http:// only with allow_http in [webhooks] of its configuration",
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("a webhook's url may not hold a user name or password", "sign with its secret")
    if not policy.allow_private_addresses and not _may_be_public(parts.hostname or ""):
        raise InvalidInput(
            f"{parts.hostname} is not a public address",
            "the server permits it only with allow_private_addresses in [webhooks] of its configuration",
        )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or len(url) > _LONGEST_URL or not url.isprintable() or " " in url or parts.fragment:
        raise InvalidInput("a webhook's url must be a whole address", "for example https://example.com/hook")
    return parts


def _may_be_public(host: str) -> bool:
    """False for names and numbers that certainly are not; other names are looked up when something is sent."""
    if host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return ip_address(host).is_global
    except ValueError:
        return True
