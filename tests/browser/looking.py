"""What every page must be, whatever it shows: quiet, at home, within its width, and usable by everybody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request

from tests.browser.clicking import name_form

WIDTHS = (390, 1440)
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
_HEIGHT = 900
_GRAVE = ("serious", "critical")
_OVERFLOW = """() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide <= 0) return [];
  return [...document.querySelectorAll("body *")]
    .filter(each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(each => `${each.tagName.toLowerCase()}.${each.className}: ${each.textContent.trim().slice(0, 60)}`);
}"""


@dataclass
class Look:
    """A page with all that it complained of and asked for; `sent` has the names of the forms that were sent."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    sent: set[str] = field(default_factory=set)
    _opened: str = ""

    def listen(self, context: BrowserContext) -> None:
        """Note what all pages of this window do."""
        context.on(
            "console", lambda line: self.complaints.append(line.text) if line.type == "error" else None
        )
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", self._note_request)

    def _note_request(self, request: Request) -> None:
        url, parts = request.url, urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.foreign.append(url)
        is_form = request.method == "POST" or bool(parts.query and url != self._opened)
        if is_form and request.is_navigation_request():
            self.sent.add(name_form(request.method, url, request.post_data) or "")

    def open(self, path: str) -> Page:
        """Open a page of the server."""
        self._opened = f"{self.origin}{path}"
        answer = self.page.goto(self._opened)
        assert answer is not None
        assert answer.status == 200, f"{path}: {answer.status}"
        return self.page

    def show(self, width: int, scheme: Literal["light", "dark"]) -> None:
        """Show the page as a screen of another width does, and in light or dark: no page asks the server for that."""
        self.page.set_viewport_size({"width": width, "height": _HEIGHT})
        self.page.emulate_media(color_scheme=scheme)

    def log_in(self, key: str) -> Page:
        """Log in as a person does, with or without JavaScript."""
        self.open("/login")
        self.page.fill("#key", key)
        self.page.click("button.main")
        self.page.wait_for_url(f"{self.origin}/")
        return self.page

    def list_faults(self, *, axe: bool = True) -> list[str]:
        """What is wrong with the page as it is now; empty if nothing is."""
        wide = [f"wider than the window: {each}" for each in self.page.evaluate(_OVERFLOW)]
        found = Axe().run(self.page).response["violations"] if axe else []
        grave = [_describe(each) for each in found if each["impact"] in _GRAVE]
        outside = [f"asked another host: {url}" for url in self.foreign]
        return [*self.complaints, *outside, *wide, *grave]

    def press_tab(self, times: int) -> list[str]:
        """The names of what has the focus after each of so many tabs."""
        names = []
        for _ in range(times):
            self.page.keyboard.press("Tab")
            names.append(str(self.page.evaluate("document.activeElement.textContent.trim()")))
        return names


@contextmanager
def look(
    browser: Browser, origin: str, width: int = 1440, scheme: str = "light", **options: Any
) -> Iterator[Look]:
    """A fresh window: no cookies, nothing cached."""
    size = {"width": width, "height": _HEIGHT}
    context = browser.new_context(viewport=size, color_scheme=scheme, **options)  # type: ignore[arg-type]
    try:
        context.set_default_timeout(30_000)
        found = Look(context.new_page(), origin)
        found.listen(context)
        yield found
    finally:
        context.close()


def _describe(violation: dict[str, Any]) -> str:
    places = [node["html"][:120] for node in violation["nodes"][:3]]
    return f"axe {violation['impact']}: {violation['id']}: {violation['help']}: {places}"
