"""Each form of each page has a name, so that none goes unclicked."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from typing import Final, TypeVar
from urllib.parse import parse_qs, urlsplit

from fastapi.routing import APIRoute

from vvwatch.api.pages.actions import ACTIONS
from vvwatch.api.pages.site import ROUTERS

_GET_FORM: Final = re.compile(r'<form[^>]* method="get"[^>]*>')
_ADDRESS: Final = re.compile(r' action="([^"]+)"')
_BUTTONS: Final = ("preview", "save")
"""The values of the two buttons of the forms of automations."""

Test = TypeVar("Test", bound=Callable[..., None])
CLICKED: Final[set[str]] = set()
"""What the tests that were imported click."""


def clicks(*names: str) -> Callable[[Test], Test]:
    """Say which forms a test sends; the fixture `desk` checks that it did."""

    def note(test: Test) -> Test:
        CLICKED.update(names)
        test.clicks = names  # type: ignore[attr-defined]
        return test

    return note


def list_forms() -> set[str]:
    """The names of all forms: an action's own, else method and path, and which button where there are two."""
    return {*ACTIONS, *_list_posts(), *_list_searches()}


def name_form(method: str, url: str, body: str | None) -> str | None:
    """The name of the form that a request comes from; None if it changes nothing: a question comes first."""
    path, values = urlsplit(url).path, parse_qs(body or "")
    if method == "GET":
        return _find(_list_searches(), f"GET {path}")
    if path.startswith("/actions/"):
        name = path.removeprefix("/actions/")
        return None if ACTIONS[name].confirm and "confirmed" not in values else name
    return _find(_list_posts(), " ".join([f"POST {path}", *values.get("what", ())]))


def _find(names: set[str], asked: str) -> str | None:
    exact = sorted(names, key=lambda name: "{" in name)  # /connectors/new is no id
    return next((name for name in exact if re.fullmatch(re.sub(r"\{\w+\}", "[^/ ]+", name), asked)), None)


def _list_posts() -> set[str]:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    paths = {route.path for route in routes if "POST" in (route.methods or ())} - {"/actions/{name}"}
    forms = {f"POST {path}" for path in paths if not path.startswith("/automations/")}
    return forms | {
        f"POST {path} {each}" for path in paths - {form[5:] for form in forms} for each in _BUTTONS
    }


def _list_searches() -> set[str]:
    found = set()
    for template in (files("vvwatch.api.pages") / "templates").iterdir():
        for form in _GET_FORM.findall(template.read_text()):
            address = _ADDRESS.search(form)
            assert address is not None, f"{template}: {form}"
            found.add("GET " + re.sub(r"\{\{.*?\}\}", "{id}", address[1]))
    return found
