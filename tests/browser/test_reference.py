"""The page that describes the API."""

from __future__ import annotations

from playwright.sync_api import Browser

from tests.browser.looking import SCHEMES, WIDTHS, look
from tests.browser.world import World

_FEW = "document.querySelectorAll('details:nth-of-type(n+20)').forEach(each => each.remove())"
"""All of its 500 kB would take half a minute."""


def test_the_description_of_the_api(browser: Browser, world_of_pages: World) -> None:
    with look(browser, world_of_pages.daemon.url) as seen:
        seen.open("/docs").evaluate(_FEW)
        for width in WIDTHS:
            for scheme in SCHEMES:
                seen.show(width, scheme)
                assert seen.list_faults() == [], (width, scheme)
