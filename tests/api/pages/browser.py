"""A browser without JavaScript: it keeps cookies, follows nothing by itself, and reads forms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx2

from tests.api.asking import ADMIN_KEY, BASE_URL
from vvwatch.api.http.context import ApiContext
from vvwatch.store.admin import keys

HTML = {"Accept": "text/html,application/xhtml+xml"}


@dataclass
class Form:
    """A form of a page, with the values that its inputs have."""

    action: str
    method: str
    values: dict[str, str] = field(default_factory=dict)
    buttons: list[str] = field(default_factory=list)


def _is_sent(found: Mapping[str, str]) -> bool:
    chosen = found.get("type") not in {"checkbox", "radio"} or "checked" in found
    return bool(found.get("name")) and chosen


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._inside = False
        self._button = False
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(found.get("action", ""), found.get("method", "get")))
            self._inside = True
        elif tag == "input" and self._inside and _is_sent(found):
            self.forms[-1].values[found["name"]] = found.get("value", "")
        elif tag == "select" and self._inside:
            self._select = found.get("name", "")
        elif tag == "option" and self._select and self._inside:
            self._choose(found)
        self._button = tag == "button" and self._inside

    def _choose(self, found: dict[str, str]) -> None:
        values = self.forms[-1].values
        if "selected" in found or self._select not in values:
            values[self._select] = found.get("value", "")

    def handle_data(self, data: str) -> None:
        if self._button and data.strip():
            self.forms[-1].buttons.append(data.strip())

    def handle_endtag(self, tag: str) -> None:
        self._button = False
        self._inside = self._inside and tag != "form"


def forms_of(text: str) -> list[Form]:
    """All forms of a page."""
    parser = _Forms()
    parser.feed(text)
    return parser.forms


@dataclass
class Browser:
    """Asks for pages; every method returns the response, whatever its status."""

    client: httpx2.AsyncClient
    context: ApiContext

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.client.get(path, headers=HTML | headers)

    async def post(self, path: str, values: Mapping[str, str], **headers: str) -> httpx2.Response:
        return await self.client.post(path, data=dict(values), headers=HTML | {"Origin": BASE_URL} | headers)

    async def page(self, path: str) -> str:
        """The text of a page that must be there."""
        response = await self.get(path)
        assert response.status_code == 200, response.text
        return response.text

    async def log_in(self, key: str = ADMIN_KEY) -> httpx2.Response:
        """Log in with a key; the administrator's is put into the database first."""
        if key == ADMIN_KEY:
            await self.context.database.write(keys.seed_admin, ADMIN_KEY)
        return await self.post("/login", {"key": key, "next": "/"})

    async def form(self, path: str, action: str) -> Form:
        """The one form of a page that posts to `action`."""
        [found] = [each for each in forms_of(await self.page(path)) if each.action == action]
        return found

    async def submit(self, form: Form, **values: str) -> httpx2.Response:
        """Send a form with its values and these."""
        return await self.post(form.action, form.values | values)
