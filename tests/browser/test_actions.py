"""Buttons do what the API does, and open pages follow."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Browser, StorageState

from tests.browser.looking import look
from tests.browser.world import World

pytestmark = pytest.mark.timeout(300)

_IMPORT = "/indexes/idx_main/automations/import"


def test_open_pages_follow_within_two_seconds(
    browser: Browser, world_of_pages: World, session: StorageState
) -> None:
    daemon = world_of_pages.daemon
    with look(browser, daemon.url, storage_state=session) as seen:
        page = seen.open("/")
        seconds = []
        for change, state in (
            ("pause", "paused"),
            ("resume", "active"),
            ("pause", "paused"),
            ("resume", "active"),
        ):
            page.wait_for_timeout(1500)  # pages refresh themselves at most once a second
            assert daemon.call("POST", f"{_IMPORT}/{change}", {})[0] == 200
            changed = time.monotonic()
            page.wait_for_selector(f"main .lane-head .state:has-text('{state}')")
            seconds.append(time.monotonic() - changed)
        assert min(seconds) <= 2  # the others may be held up by a busy machine
        assert seen.list_faults(axe=False) == []


@pytest.mark.parametrize("scripted", [True, False], ids=["JavaScript", "no JavaScript"])
def test_failures_are_retried_and_dismissed(browser: Browser, world_of_pages: World, scripted: bool) -> None:
    """One by one, all of a reason, and away; the request that does the same stands beside each."""
    with look(browser, world_of_pages.daemon.url, 390, java_script_enabled=scripted) as seen:
        page = seen.log_in(world_of_pages.key)
        seen.open(f"/deliveries/{world_of_pages.delivery_id}")
        page.click("button:has-text('Send again')")
        assert "is disabled" in page.inner_text(".flash.bad")
        seen.open("/attention")
        lane = page.locator("li.panel", has_text="deliver")
        curl = lane.locator("pre").first.text_content() or ""
        assert "curl -X POST" in curl
        assert "/api/v2/attention/groups/retry" in curl
        lane.locator("button:has-text('Retry all')").click()
        assert "0 are tried again; 1 cannot be" in page.inner_text(".flash")
        page.locator("li.panel", has_text="deliver").locator("button:has-text('Dismiss all')").click()
        assert "Dismiss these failures?" in page.inner_text("main")
        page.click("text=Go back")
        assert page.url.endswith("/attention")
        if scripted:
            assert seen.list_faults(axe=False) == []


def test_a_file_is_imported_again(browser: Browser, world_of_pages: World, session: StorageState) -> None:
    with look(browser, world_of_pages.daemon.url, storage_state=session) as seen:
        page = seen.open(f"/jobs/{world_of_pages.job_id}?status=failed")
        page.click("button:has-text('Retry')")
        assert "counts as new again" in page.inner_text(".flash.good")


def test_an_export_is_downloaded(browser: Browser, world_of_pages: World, session: StorageState) -> None:
    with look(browser, world_of_pages.daemon.url, storage_state=session) as seen:
        page = seen.open(f"/exports/{world_of_pages.download_id}")
        with page.expect_download() as begun:
            page.click("text=The export")
        assert begun.value.path().read_bytes().startswith(b"{")
