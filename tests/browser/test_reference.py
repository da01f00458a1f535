"""The page that describes the API."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.browser.looking import SCHEMES, WIDTHS, look
from tests.browser.world import World

_FEW = "document.querySelectorAll('details:nth-of-type(n+20)').forEach(each => each.remove())"
"""All of its 500 kB would take half a minute."""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_description_of_the_api(browser: Browser, world_of_pages: World, width: int, scheme: str) -> None:
    with look(browser, world_of_pages.daemon.url, width, scheme) as seen:
        page = seen.open("/docs")
        page.evaluate(_FEW)
        assert seen.list_faults() == []
