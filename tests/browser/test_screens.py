"""Every page on a phone and on a desk, in light and in dark, by keyboard and without JavaScript."""

from __future__ import annotations

from typing import Final, Literal

import pytest
from playwright.sync_api import Browser, StorageState

from tests.browser.looking import look
from tests.browser.world import HOSTILE, MARKUP, World

pytestmark = pytest.mark.timeout(300)

_SCREENS: Final[tuple[tuple[int, Literal["light", "dark"], bool], ...]] = (
    (1440, "light", True),
    (1440, "dark", False),
    (390, "light", False),
    (390, "dark", True),
)
"""Width and colours, and whether axe looks, which takes a while."""


def test_every_page_is_whole(browser: Browser, world_of_pages: World, session: StorageState) -> None:
    """No error in the console, no other host, nothing wider than the window, nothing grave for axe."""
    with look(browser, world_of_pages.daemon.url, storage_state=session) as seen:
        for path in world_of_pages.list_screens():
            seen.open(path)
            for width, scheme, axe in _SCREENS:
                seen.show(width, scheme)
                assert seen.list_faults(axe=axe) == [], (path, width, scheme)


def test_the_login_is_whole(browser: Browser, world_of_pages: World) -> None:
    with look(browser, world_of_pages.daemon.url, 390, "dark") as seen:
        seen.open("/login")
        assert seen.list_faults() == []


def test_hostile_names_are_only_text(browser: Browser, world_of_pages: World, session: StorageState) -> None:
    """Markup does nothing, and characters that would turn the text around are shown as codes."""
    with look(browser, world_of_pages.daemon.url, 390, storage_state=session) as seen:
        seen.page.on("dialog", lambda dialog: seen.complaints.append(dialog.message))
        for path in (f"/jobs/{world_of_pages.job_id}", "/media", f"/runs/{world_of_pages.run_id}"):
            page = seen.open(path)
            text = page.inner_text("main")
            assert MARKUP in text
            assert "evil[U+202E]4pm.gnp[U+200F].mp4" in text
            assert "bell[U+0007] and" in text
            assert page.locator("main img[src=x], main td b").count() == 0
            assert seen.list_faults(axe=False) == []
        assert len(world_of_pages.hostile_ids) == len(HOSTILE)


def test_the_keyboard_reaches_everything(
    browser: Browser, world_of_pages: World, session: StorageState
) -> None:
    """The first tab stop skips the navigation; from there, tabs reach each action."""
    with look(browser, world_of_pages.daemon.url, storage_state=session) as seen:
        page = seen.open("/attention")
        assert seen.press_tab(1) == ["Skip to content"]
        page.keyboard.press("Enter")
        names = seen.press_tab(12)
        assert "Retry all" in names
        assert "Dismiss all" in names
        assert "curl" in names


def test_the_player_has_captions_from_here(
    browser: Browser, world_of_pages: World, session: StorageState
) -> None:
    """It plays the original, and its captions are those of the file beside it, without markup."""
    with look(browser, world_of_pages.daemon.url, storage_state=session) as seen:
        page = seen.open(f"/media/{world_of_pages.media_id}")
        page.evaluate("() => { const v = document.querySelector('video'); v.muted = true; return v.play(); }")
        page.wait_for_function("document.querySelector('video').currentTime > 0")
        page.wait_for_function("document.querySelector('track').track.cues?.length === 1")
        said = page.evaluate("document.querySelector('track').track.cues[0].text")
        assert said == "The tide turns at noon &amp; all is well"
        assert page.locator("img[src^='/segments/']").count() > 0
        assert "in index" in page.inner_text("main").lower()
        assert seen.list_faults(axe=False) == []
