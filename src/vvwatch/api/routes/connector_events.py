"""The event queue of a connector, in requests and responses.

A queue given over the API must be at the provider or at the configured store's host: an API key must not reach into the
daemon's network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from inspect import getdoc
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from vvwatch.api.http.wire import Resource
from vvwatch.providers.bodies import EventsBody
from vvwatch.providers.registry import PROVIDERS

_QUEUES: Final = {kind: each.queues for kind, each in PROVIDERS.items() if each.queues is not None}


def _join_words(words: list[str], last: str) -> str:
    return last.join(part for part in (", ".join(words[:-1]), words[-1]) if part)


_KINDS_OF_QUEUES: Final = _join_words([each.what for each in _QUEUES.values()], ", or ")
EventsBody.__doc__ = f"The event queue: {_KINDS_OF_QUEUES}.\n\n{getdoc(EventsBody)}"


class Events(Resource):
    """The event queue and its settings."""

    queue: str
    mode: str
    sweep_seconds: float
    late_seconds: float


def to_events(document: Mapping[str, Any] | None) -> Events | None:
    """Return the events of a connector's row."""
    return None if document is None else Events(**{name: document[name] for name in Events.model_fields})


def to_stored_events(
    body: EventsBody | None, provider: str, store_hosts: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return what the database stores. Raises RequestValidationError for a queue that is not allowed."""
    if body is None:
        return None
    queues = _QUEUES.get(provider)
    if queues is None:
        raise _invalid_field(
            (),
            f"belong to connectors of {_join_words(list(_QUEUES), ' and ')}",
            "",
            "a local folder needs no queue",
        )
    try:
        queue = TypeAdapter[str](queues.name).validate_python(body.queue)
    except ValidationError as error:
        [detail] = error.errors(include_url=False)
        context = detail["ctx"]
        raise _invalid_field(("queue",), context["what"], context["allowed"], context["hint"]) from None
    if queues.hosts is not None and not _is_allowed(queue, queues.hosts, store_hosts.get(provider, "")):
        hint = "declare other queues in the configuration file"
        raise _invalid_field(("queue",), "is not at the provider", queues.example, hint)
    return {**body.model_dump(), "queue": queue}


def _is_allowed(queue: str, hosts: re.Pattern[str], store_host: str) -> bool:
    """Return whether a queue is at one of the provider's `hosts`, or at the configured store's."""
    parts = urlsplit(queue)
    host = parts.hostname or ""
    own = parts.scheme == "https" and _port(queue) == 443 and hosts.fullmatch(host)
    return bool(own) or host == store_host


def _port(url: str) -> int | None:
    """Return the port of a URL; None if it is invalid."""
    try:
        return urlsplit(url).port or 443
    except ValueError:
        return None


def _invalid_field(loc: tuple[str, ...], what: str, allowed: str, hint: str) -> RequestValidationError:
    context = {"allowed": allowed, "hint": hint}
    return RequestValidationError([{"loc": ("body", "events", *loc), "msg": what, "ctx": context}])
