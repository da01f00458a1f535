"""Outgoing requests to hosts that users name: webhooks and attachments."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from vvwatch.core.durations import parse_duration
from vvwatch.core.events import EVENT_TYPES
from vvwatch.core.networks import PRIVATE, AddressPolicy, parse_network
from vvwatch.options.fields import (
    AbsolutePath,
    Document,
    Duration,
    List,
    NetworkText,
    VariableName,
    WebAddress,
    refuse,
)
from vvwatch.options.findings import did_you_mean
from vvwatch.options.tables import Table


def _event_type(name: str) -> str:
    if name not in EVENT_TYPES:
        raise refuse(f"no event is called {name!r}", ", ".join(EVENT_TYPES), did_you_mean(name, EVENT_TYPES))
    return name


EventType = Annotated[str, AfterValidator(_event_type)]
Networks = Annotated[tuple[NetworkText, ...], List, Field(max_length=100)]


class Webhook(Table):
    """A receiver of events; its signing secret is in a file or an environment variable."""

    required = ("url", "events")

    url: WebAddress = ""
    events: Annotated[tuple[EventType, ...], List, Field(min_length=1)] = ()
    indexes: Annotated[tuple[str, ...] | None, List, Field(min_length=1)] = None
    secret_file: str | None = None
    secret_env: VariableName | None = None
    metadata: Document | None = None
    enabled: bool = True


class Webhooks(Table):
    """Delivery settings; each further table is a webhook.

    `allow_private_addresses` adds all private networks to `allow_networks`.
    """

    model_config = ConfigDict(extra="allow")
    entries = Webhook
    __pydantic_extra__: dict[str, Webhook] = Field(init=False)

    allow_http: bool = False
    allow_networks: Networks = ()
    allow_private_addresses: bool = False
    ca_file: AbsolutePath | None = None
    timeout_seconds: float = Field(default=10, ge=0.1, le=300)
    delays: Annotated[tuple[Duration, ...], List, Field(max_length=50)] = ("30s", "2m", "10m", "1h", "6h")
    disable_after: int = Field(default=20, ge=1)

    @property
    def hooks(self) -> dict[str, Webhook]:
        """The declared webhooks by name."""
        return dict(self.__pydantic_extra__)

    @property
    def policy(self) -> AddressPolicy:
        """Where webhooks may lead."""
        own = PRIVATE if self.allow_private_addresses else ()
        return AddressPolicy(self.allow_http, (*map(parse_network, self.allow_networks), *own))

    @property
    def delays_seconds(self) -> tuple[float, ...]:
        """The pauses before the second, third, … attempt."""
        return tuple(map(parse_duration, self.delays))


class Attachments(Table):
    """The hosts that files may be fetched from when API users name their addresses."""

    allow_http: bool = False
    allow_networks: Networks = ()

    @property
    def policy(self) -> AddressPolicy:
        """Where file addresses may lead."""
        return AddressPolicy(self.allow_http, tuple(map(parse_network, self.allow_networks)))
