"""One browser and one daemon, whose tests need not know whether the browser came."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, StorageState, expect, sync_playwright

from tests.browser.chromium import FLAGS, find_chromium
from tests.browser.looking import Look, look
from tests.browser.world import World, make_world

_PATIENCE_MILLISECONDS = 30_000


@pytest.fixture(scope="package")
def browser(world_of_pages: World) -> Iterator[Browser]:
    """Skipped, with the reason in the summary, only where no Chromium can be had.

    It ends with the last test of this folder: an open Playwright lets nothing else run an event loop in this thread.
    """
    try:
        found = find_chromium()
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"NO BROWSER, so no page of the dashboard was looked at: {error}")
    with sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(
                executable_path=found.program, args=FLAGS, env={**os.environ, **found.environ}
            )
        except Error as error:
            pytest.skip(f"NO BROWSER, so no page of the dashboard was looked at: {error.message}")
        expect.set_options(timeout=_PATIENCE_MILLISECONDS)
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def world_of_pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("dashboard")) as found:
        yield found


@pytest.fixture(scope="package")
def session(browser: Browser, world_of_pages: World) -> StorageState:
    """What a browser keeps that has logged in: nobody may log in again and again."""
    with look(browser, world_of_pages.daemon.url) as seen:
        seen.log_in(world_of_pages.key)
        return seen.page.context.storage_state()


@pytest.fixture
def desk(
    request: pytest.FixtureRequest, browser: Browser, world_of_pages: World, session: StorageState
) -> Iterator[Look]:
    """A window that has logged in. What the test says that it clicks, it must click, without a complaint."""
    with look(browser, world_of_pages.daemon.url, storage_state=session) as seen:
        yield seen
        assert seen.list_faults(axe=False) == []
        assert not {*request.function.clicks} - seen.sent
