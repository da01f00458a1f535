"""What pages change: each action is a request to the API, sent from inside with the session's key.

Scopes, validation, the audit trail, idempotency and errors are therefore exactly those of the API.
"""

from __future__ import annotations

import json
import re
import secrets
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import Request

from vvwatch.api.http.auth import PREFIX
from vvwatch.api.http.links import own_origin
from vvwatch.api.pages.sessions import Session
from vvwatch.core.keys import Scope

Convert = Callable[[str], Any]


def _find_none(_document: Any) -> str:
    return ""


def _find_test_error(document: Any) -> str:
    return f"The test failed: {document['error_message']}" if document["error_message"] else ""


@dataclass(frozen=True, slots=True)
class Action:
    """A change that pages offer.

    `path` is the route's, with its parameters. `query` and `fields` name the form's inputs that go into the query and,
    converted, into the body. `confirm` is the question before an action that cannot be undone. `describe` says what the
    API's answer means, where `done` does not say it all; `find_trouble` returns what a successful answer says of a
    failure, as that of a test.
    """

    method: str
    path: str
    label: str
    done: str
    scope: Scope = Scope.WRITE
    confirm: str = ""
    query: tuple[str, ...] = ()
    fields: Mapping[str, Convert] = field(default_factory=dict)
    describe: Callable[[Mapping[str, Any]], str] | None = None
    find_trouble: Callable[[Any], str] = _find_none

    @property
    def ids(self) -> list[str]:
        """The parameters of its path."""
        return re.findall(r"\{(\w+)\}", self.path)

    def fill_path(self, values: Mapping[str, str]) -> str:
        """Return the path of the request, with its query. Raises KeyError for a missing parameter."""
        filled = {name: quote(values[name], safe="") for name in self.ids}
        query = urlencode({name: values[name] for name in self.query if values.get(name)})
        return PREFIX + self.path.format_map(filled) + (f"?{query}" if query else "")

    def build_body(self, values: Mapping[str, str]) -> dict[str, Any] | None:
        """Return the body of the request, without empty fields; None if it takes none. Raises ValueError."""
        if not self.fields:
            return None
        return {name: convert(values[name]) for name, convert in self.fields.items() if values.get(name)}


_IMPORT: Final = "/indexes/{index_id}/automations/import"
_EXPORT: Final = "/indexes/{index_id}/automations/export"

ACTIONS: Final[dict[str, Action]] = {
    "pause-import": Action("POST", f"{_IMPORT}/pause", "Pause", "The automation is paused."),
    "resume-import": Action("POST", f"{_IMPORT}/resume", "Resume", "The automation is active again."),
    "scan": Action("POST", f"{_IMPORT}/scan", "Scan now", "A scan was requested."),
    "accept-missing": Action(
        "POST",
        f"{_IMPORT}/scan",
        "Scan and accept missing objects",
        "A scan was requested; what is missing counts as deleted.",
        confirm="Treat all objects that the next listing lacks as deleted? If they come back, they count as new.",
        query=("accept_missing",),
    ),
    "fire-window": Action(
        "POST", f"{_IMPORT}/window/fire", "Close now", "The window was closed; its import job has begun."
    ),
    "hold-window": Action(
        "POST", f"{_IMPORT}/window/hold", "Hold", "The window stays open until it is released."
    ),
    "release-window": Action("POST", f"{_IMPORT}/window/release", "Release", "The window was released."),
    "pause-export": Action("POST", f"{_EXPORT}/pause", "Pause exports", "Exports are paused."),
    "resume-export": Action("POST", f"{_EXPORT}/resume", "Resume exports", "Exports are active again."),
    "test-connector": Action(
        "POST",
        "/connectors/{connector_id}/test",
        "Test",
        "The test succeeded.",
        find_trouble=_find_test_error,
    ),
    "delete-connector": Action(
        "DELETE",
        "/connectors/{connector_id}",
        "Delete",
        "The connector was deleted.",
        scope=Scope.ADMIN,
        confirm="Delete this connector? This fails while an enabled automation or running work uses it.",
    ),
}
"""Name to action; pages for resources of their own add theirs beside their routes (`register_actions`)."""


def register_actions(actions: Mapping[str, Action]) -> None:
    """Add actions. Raises ValueError for a name that is taken."""
    if taken := ACTIONS.keys() & actions.keys():
        raise ValueError(f"the action {min(taken)!r} exists already")
    ACTIONS.update(actions)


@dataclass(frozen=True, slots=True)
class ActionForm:
    """A button, the fields of its form, and the same request for `curl`. `back` is where it leads, if not here."""

    name: str
    label: str
    fields: Mapping[str, str]
    curl: str
    back: str


def build_form(
    request: Request, session: Session, name: str, ids: Mapping[str, str], fields: Mapping[str, object]
) -> ActionForm | None:
    """Return the form of an action; None if the session's key may not do it."""
    action = ACTIONS[name]
    if not session.may(action.scope):
        return None
    values = {**ids, **{each: str(value) for each, value in fields.items()}}
    back = values.pop("back", "")
    shown = values | {"request_key": secrets.token_hex(8)}
    return ActionForm(name, action.label, shown, describe_curl(own_origin(request), action, values), back)


def describe_curl(origin: str, action: Action, values: Mapping[str, str]) -> str:
    """Return the shell command that does the same; the key is in $VVWATCH_API_KEY."""
    parts = ["curl", "-X", action.method, "-H", '"X-API-Key: $VVWATCH_API_KEY"']
    if (body := action.build_body(values)) is not None:
        parts += ["-H", "'Content-Type: application/json'", "-d", shlex.quote(json.dumps(body))]
    return " ".join([*parts, shlex.quote(origin + action.fill_path(values))])
