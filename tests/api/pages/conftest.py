"""Browsers for the pages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.api.asking import client_of
from tests.api.pages.browser import Browser
from vvwatch.api.http.context import ApiContext


@pytest.fixture
async def browser(context: ApiContext) -> AsyncIterator[Browser]:
    """A browser that nobody has logged in."""
    async with client_of(context) as client:
        yield Browser(client, context)


@pytest.fixture
async def operator(browser: Browser) -> Browser:
    """A browser of the administrator."""
    assert (await browser.log_in()).status_code == 303
    return browser
