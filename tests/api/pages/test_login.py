"""Logging in and out, and what the cookie is worth."""

from __future__ import annotations

import pytest

from tests.api.pages.browser import Browser

pytestmark = pytest.mark.anyio


async def test_a_key_opens_the_overview(browser: Browser) -> None:
    refused = await browser.get("/")
    assert (refused.status_code, refused.headers["location"]) == (303, "/login")
    logged_in = await browser.log_in()
    assert (logged_in.status_code, logged_in.headers["location"]) == (303, "/")
    assert "Nothing is watched yet" in await browser.page("/")


async def test_a_page_without_a_session_names_the_page_to_return_to(browser: Browser) -> None:
    refused = await browser.get("/?q=a b&page=2")
    assert refused.headers["location"] == "/login?next=/%3Fq%3Da%2520b%26page%3D2"
    form = await browser.form(refused.headers["location"], "/login")
    assert form.values["next"] == "/?q=a%20b&page=2"
