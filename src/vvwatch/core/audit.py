"""The audit trail: its entries, the reasons for refused requests, and the limits on stored text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

CONFIG: Final = "config"
"""The actor of declarations in the configuration file."""
CLI: Final = "cli"
"""The actor of commands that write to the database directly."""
DAEMON: Final = "daemon"
"""The actor of the daemon's own changes."""
REFUSED: Final = "request.refused"
"""The action of every refusal."""

_MOST_CHARACTERS: Final = 200
_MOST_NAMES: Final = 40


class Reason(StrEnum):
    """Why a request was refused before any work began."""

    NO_KEY = "no_key"
    UNKNOWN_KEY = "unknown_key"
    REVOKED_KEY = "revoked_key"
    EXPIRED_KEY = "expired_key"
    SCOPE = "insufficient_scope"
    RATE_LIMIT = "rate_limit"
    LINK = "link"
    HOST = "host"
    ORIGIN = "origin"


BAD_KEYS: Final = (Reason.UNKNOWN_KEY, Reason.REVOKED_KEY, Reason.EXPIRED_KEY)
"""The reasons that point to somebody trying invalid keys."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked for a change, and by which request; all but `actor` is empty outside the API."""

    actor: str
    actor_name: str = ""
    route: str = ""
    request_id: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change in the trail; `id` is its row id."""

    id: str
    origin: Origin
    action: str
    resource_id: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_log_fields(self) -> dict[str, str]:
        """Return the fields for the log."""
        return {
            "action": self.action,
            "resource": self.resource_id,
            "actor": self.origin.actor,
            "actor_name": self.origin.actor_name,
            "route": self.origin.route,
            "request_id": self.origin.request_id,
            "address": self.origin.address,
            "entry": self.id,
        }


@dataclass(frozen=True, slots=True)
class Refusals:
    """Equal refusals: how many there were (`times`) from `first_at` to `last_at`; `id` is that of their row."""

    id: str
    origin: Origin
    reason: Reason
    times: int
    first_at: float
    last_at: float


def bound_details(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return `details` without empty values, texts cut to 200 characters and lists of texts to 40."""
    return {name: _bound_value(value) for name, value in details.items() if value}


def _bound_value(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_MOST_CHARACTERS]
    if isinstance(value, Iterable):
        return [str(each)[:_MOST_CHARACTERS] for each in list(value)[:_MOST_NAMES]]
    return value
