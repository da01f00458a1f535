"""Buttons do what the API does, and open pages follow."""

from __future__ import annotations

import os
import time

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import samples
from tests.browser.clicking import CLICKED, clicks, list_forms
from tests.browser.looking import Look, look
from tests.browser.world import World
from tests.daemon_process import wait_until
from tests.file_host import has

pytestmark = pytest.mark.timeout(300)

_RUSHES = "rushes"


def test_every_form_is_sent_by_a_test() -> None:
    """A form that is new here, or on a page, needs a test that clicks it."""
    assert list_forms() - CLICKED == set()
    assert CLICKED - list_forms() == set()


def _press(page: Page, label: str, within: str = "main") -> None:
    page.locator(within).get_by_role("button", name=label, exact=True).first.click()


def _expect_flash(page: Page, text: str) -> None:
    expect(page.locator(".flash")).to_contain_text(text)


def _expect_state(page: Page, state: str, region: str = "#live > .row") -> None:
    expect(page.locator(f"{region} .state").first).to_contain_text(state)


@clicks("pause-import", "resume-import", "scan", "pause-export", "resume-export", "GET /", "GET /automations")
def test_an_automation_is_steered_and_open_pages_follow(desk: Look, world_of_pages: World) -> None:
    page = desk.open("/automations")
    page.fill("#q", "main")
    _press(page, "Apply")
    page.get_by_role("link", name="main", exact=True).click()
    watching = page.context.new_page()
    watching.goto(f"{desk.origin}/")
    seconds = []
    for label, state, said in (("Pause", "paused", "is paused"), ("Resume", "active", "is active again")):
        watching.wait_for_timeout(1500)  # pages refresh themselves at most once a second
        changed = time.monotonic()
        _press(page, label, "#live-lane")
        watching.wait_for_selector(f"main .lane-head .state:has-text('{state}')")
        seconds.append(time.monotonic() - changed)
        _expect_flash(page, said)
    assert min(seconds) <= 2  # the other may be held up by a busy machine
    _press(page, "Scan now")
    _expect_flash(page, "A scan was requested")
    _press(page, "Pause exports")
    _expect_flash(page, "Exports are paused")
    _press(page, "Resume exports")
    _expect_flash(page, "Exports are active again")
    watching.select_option("#show", "paused")
    _press(watching, "Apply")
    expect(watching.locator("main")).to_contain_text("No automation matches")


@clicks(
    "POST /connectors/new",
    "POST /connectors/{connector_id}",
    "GET /connectors/{id}/browse",
    "test-connector",
    "POST /automations/new preview",
    "POST /automations/new save",
    "POST /automations/{automation_id}/edit preview",
    "POST /automations/{automation_id}/edit save",
    "hold-window",
    "release-window",
    "fire-window",
    "accept-missing",
    "delete-connector",
)
def test_a_folder_is_watched_and_left_again(desk: Look, world_of_pages: World) -> None:
    """All that a person does with a folder that the configuration does not name."""
    folder = world_of_pages.daemon.base / _RUSHES
    folder.mkdir()
    picture = samples.image(folder / "rush.png")
    os.utime(picture, (1, 1))  # it has settled
    _make_connector(desk, str(folder))
    connector_page = desk.page.url
    _make_automation(desk)
    _steer_window(desk)
    _change_automation(desk, world_of_pages)
    _end_automation(desk, world_of_pages)
    page = desk.page
    page.goto(connector_page)
    _press(page, "Delete")
    expect(page.locator("main")).to_contain_text("Delete this connector?")
    _press(page, "Delete")
    _expect_flash(page, "The connector was deleted")


def _make_connector(desk: Look, folder: str) -> None:
    page = desk.open("/connectors")
    page.click("text=a folder")
    page.fill("#f-name", "rush")
    page.fill("#f-path", folder)
    _press(page, "Create and test")
    _expect_flash(page, "'rush' was created, and its test succeeded")
    _press(page, "Test")
    _expect_flash(page, "The test succeeded")
    page.fill("#f-name", _RUSHES)
    _press(page, "Save")
    _expect_flash(page, "Saved.")
    _press(page, "List")
    expect(page.locator("table")).to_contain_text("rush.png")
    page.click("text=Settings")


def _make_automation(desk: Look) -> None:
    page = desk.open("/automations/new")
    page.select_option("#f-connector_id", label=f"{_RUSHES} (local)")
    page.fill("#f-index_name", _RUSHES)
    page.select_option("#f-debounce_interval", "1h")
    _press(page, "Try: what would this find?")
    expect(page.get_by_role("status").first).to_contain_text("1 object matches")
    _press(page, "Save")
    _expect_flash(page, "Saved.")


def _steer_window(desk: Look) -> None:
    page = desk.page
    _expect_state(page, "open", "#live-window")
    _press(page, "Hold")
    _expect_flash(page, "The window stays open")
    _press(page, "Release")
    _expect_flash(page, "The window was released")
    _press(page, "Close now", "#live-window")
    _expect_flash(page, "The window was closed")
    expect(page.locator("#live-windows").get_by_role("link", name="import job")).to_be_visible()


def _change_automation(desk: Look, world: World) -> None:
    page = desk.page
    page.click("text=Edit or try other settings")
    page.fill("#f-file_pattern", "*.mov")
    _press(page, "Try: what would this find?")
    expect(page.get_by_role("status").first).to_contain_text("0 of 1 listed object match *.mov")
    _press(page, "Save")
    _expect_flash(page, "Saved.")
    doubt = '{"since": 1.0, "times": 1, "missing": 1, "why": "all are missing", "proven": true}'
    its = page.url.rpartition("/")[2]
    world.change_row("update import_automations set doubt = ? where id = ?", doubt, its)
    page.reload()
    _press(page, "Scan and accept missing objects")
    expect(page.locator("main")).to_contain_text("Treat all objects that the next listing lacks as deleted?")
    _press(page, "Scan and accept missing objects")
    _expect_flash(page, "what is missing counts as deleted")


def _end_automation(desk: Look, world: World) -> None:
    """Its connector cannot be deleted before."""
    page = desk.page
    page.click("text=Edit or try other settings")
    page.uncheck("#f-enabled")
    _press(page, "Save")
    _expect_flash(page, "Saved.")
    lists = ("/import-jobs", "/prompt-runs")
    wait_until(
        lambda: all(each["completed_at"] for path in lists for each in world.daemon.get(path)), "its work"
    )


@clicks("test-webhook", "retry-delivery")
def test_a_webhook_is_tested_and_sent_to_again(desk: Look, world_of_pages: World) -> None:
    wall = world_of_pages.wall
    page = desk.open("/deliveries")
    before = len(wall.received)
    page.locator("li.panel", has_text="wall").get_by_role("button", name="Send a test event").click()
    _expect_flash(page, "A test event was sent")
    wait_until(lambda: len(wall.received) > before, "the test event")
    page.get_by_role("link", name="wall", exact=True).first.click()
    row = page.locator("tbody tr", has_text="export.ready").first
    link = row.get_by_role("link").first
    delivery_id = link.inner_text()
    failed = "update deliveries set status = 'failed', error_message = 'it answered 500' where id = ?"
    world_of_pages.change_row(failed, delivery_id)
    link.click()
    _expect_state(page, "failed")
    _press(page, "Send again")
    _expect_flash(page, "It is being sent again")
    _expect_state(page, "delivered")
    sent = [each.headers["webhook-id"] for each in wall.received]
    assert sent.count(delivery_id) == 2


@clicks("cancel-job", "retry-attachments")
def test_import_jobs_are_cancelled_and_fetched_again(desk: Look, world_of_pages: World) -> None:
    host = world_of_pages.host
    host.answers |= {"/hangs.mp4": host.hangs}
    page = desk.open(f"/jobs/{world_of_pages.fetch('/hangs.mp4')}")
    _press(page, "Cancel")
    expect(page.locator("main")).to_contain_text("Cancel this import job?")
    _press(page, "Cancel")
    _expect_flash(page, "The import job was cancelled")
    _expect_state(page, "cancelled")
    desk.open(f"/jobs/{world_of_pages.fetch('/later.png')}")
    _expect_state(page, "failed")
    later = samples.image(world_of_pages.daemon.base / "later.png").read_bytes()
    host.answers |= {"/later.png": has(later, "image/png")}
    assert page.get_by_role("button", name="Retry", exact=True).count() == 0
    _press(page, "Retry failed files")
    _expect_flash(page, "The failed files are fetched again")
    _expect_state(page, "completed")


@clicks("cancel-run", "retry-segment", "dismiss-group")
def test_runs_are_cancelled_retried_and_dismissed(desk: Look, world_of_pages: World) -> None:
    page = desk.open(f"/runs/{world_of_pages.run('slow')}")
    _press(page, "Cancel")
    expect(page.locator("main")).to_contain_text("Cancel this run?")
    _press(page, "Cancel")
    _expect_flash(page, "The run is being cancelled")
    expect(page.locator("#live")).to_contain_text("it ends when what is being processed has ended")
    assert page.get_by_role("button", name="Cancel").count() == 0
    (world_of_pages.daemon.base / "enough").touch()
    _expect_state(page, "cancelled")
    desk.open(f"/runs/{world_of_pages.run('picky')}")
    _expect_state(page, "failed")
    desk.open("/attention")
    lane = page.locator("li.panel", has_text="processor_refused")
    expect(lane).to_contain_text("not this one")
    lane.get_by_role("link").first.click()
    _press(page, "Retry", "tbody")
    _expect_flash(page, "It is processed again")
    expect(page.locator("#live")).to_contain_text("processor_refused")
    _press(page, "Dismiss all")
    _press(page, "Dismiss all")
    _expect_flash(page, "dismissed")
    expect(page.locator("main")).to_contain_text("Nothing is left of this")


@clicks("retry-export")
def test_an_export_is_built_again_and_downloaded(desk: Look, world_of_pages: World) -> None:
    export_id = world_of_pages.download_id
    failed = "update exports set status = 'failed', error_message = 'disk full' where id = ?"
    world_of_pages.change_row(failed, export_id)
    page = desk.open(f"/exports/{export_id}")
    _press(page, "Retry")
    _expect_flash(page, "The export is built and delivered again")
    _expect_state(page, "completed")
    with page.expect_download() as begun:
        page.get_by_role("link", name="The export", exact=True).click()
    assert begun.value.path().read_bytes().startswith(b"{")


@clicks("GET /explain", "GET /media")
def test_what_is_said_and_what_became_of_a_file_is_found(desk: Look, world_of_pages: World) -> None:
    page = desk.open("/media")
    page.fill("#q", "tide noon")
    _press(page, "Search")
    page.wait_for_url("**/media?q=tide+noon")
    expect(page.locator("ol.hits")).to_contain_text("harbour-interview_0042.mp4")
    desk.open("/explain")
    page.fill("#uri", str(world_of_pages.daemon.incoming / "broken_0007.mp4"))
    _press(page, "Explain")
    expect(page.locator("main")).to_contain_text("media_unreadable")


@clicks("POST /login", "POST /logout", "retry-group", "retry-file")
@pytest.mark.parametrize("scripted", [True, False], ids=["JavaScript", "no JavaScript"])
def test_failures_are_retried_and_dismissed(browser: Browser, world_of_pages: World, scripted: bool) -> None:
    """One by one, all of a reason, and away; the request that does the same stands beside each."""
    with look(browser, world_of_pages.daemon.url, 390, java_script_enabled=scripted) as seen:
        page = seen.log_in(world_of_pages.key)
        seen.open(f"/deliveries/{world_of_pages.delivery_id}")
        _press(page, "Send again")
        assert "is disabled" in page.inner_text(".flash.bad")
        seen.open("/attention")
        lane = page.locator("li.panel", has_text="deliver")
        curl = lane.locator("pre").first.text_content() or ""
        assert "curl -X POST" in curl
        assert "/api/v2/attention/groups/retry" in curl
        lane.get_by_role("button", name="Retry all").click()
        assert "0 are tried again; 1 cannot be" in page.inner_text(".flash")
        page.locator("li.panel", has_text="deliver").get_by_role("button", name="Dismiss all").click()
        assert "Dismiss these failures?" in page.inner_text("main")
        page.click("text=Go back")
        assert page.url.endswith("/attention")
        if not scripted:
            seen.open(f"/jobs/{world_of_pages.job_id}?status=failed")
            _press(page, "Retry")
            assert "counts as new again" in page.inner_text(".flash.good")
            assert {"POST /login", "retry-group", "retry-file"} <= seen.sent
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
        assert "POST /logout" in seen.sent
        if scripted:
            assert seen.list_faults(axe=False) == []
