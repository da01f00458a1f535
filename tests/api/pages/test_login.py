"""Logging in and out, and what the cookie is worth."""

from __future__ import annotations

from dataclasses import replace
from http.cookies import SimpleCookie
from typing import Any

import httpx2
import pytest

from tests.api.asking import ADMIN_KEY, BASE_URL, client_of, key_with
from tests.api.pages.browser import HTML, Browser
from tests.clock import FakeClock
from vvwatch.api.http.context import ApiContext
from vvwatch.api.pages.access import local_path
from vvwatch.api.pages.login import CODE_SECONDS
from vvwatch.api.pages.sessions import COOKIE, LIFETIME_SECONDS
from vvwatch.core.audit import Reason
from vvwatch.core.keys import Scope
from vvwatch.store.admin import audit, keys

pytestmark = pytest.mark.anyio

HOSTILE_PATHS = (
    "//evil.example/",
    "https://evil.example/",
    "/\\evil.example",
    "/a\\b",
    "javascript:alert(1)",
    "evil",
    "",
    "/\nSet-Cookie: a=b",
    "/\t/evil.example",
)


async def refusals(context: ApiContext) -> list[str]:
    """The reasons of all refusals in the audit trail."""
    await context.refused.flush()
    found = await context.database.read(
        audit.list_newest, audit.AuditFilter(action="request.refused"), None, 50
    )
    return [str((row.details or {})["reason"]) for row in found]


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


@pytest.mark.parametrize("path", HOSTILE_PATHS)
async def test_nobody_is_sent_elsewhere_after_the_login(browser: Browser, path: str) -> None:
    await browser.context.database.write(keys.seed_admin, ADMIN_KEY)
    sent = await browser.post("/login", {"key": ADMIN_KEY, "next": path})
    assert (sent.status_code, sent.headers["location"]) == (303, "/")
    assert local_path("/jobs?page=2") == "/jobs?page=2"


@pytest.mark.parametrize("headers", [{"HX-Request": "true"}, {"Accept": "text/event-stream"}])
async def test_a_script_without_a_session_gets_401(browser: Browser, headers: dict[str, str]) -> None:
    """A redirect would make htmx and event sources ask for ever."""
    for path in ("/", "/live"):
        assert (await browser.client.get(path, headers=headers)).status_code == 401


async def test_the_cookie_is_of_no_use_to_scripts_and_other_sites(
    browser: Browser, context: ApiContext
) -> None:
    cookie = SimpleCookie((await browser.log_in()).headers["set-cookie"])[COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"].lower() == "strict"
    assert (cookie["path"], cookie["secure"], cookie["domain"]) == ("/", "", "")
    assert ADMIN_KEY not in cookie.value
    async with client_of(context) as client:
        sent = await client.post(
            f"https{BASE_URL.removeprefix('http')}/login", data={"key": ADMIN_KEY}, headers=HTML
        )
    assert SimpleCookie(sent.headers["set-cookie"])[COOKIE]["secure"]


async def test_a_session_ends_after_twelve_hours(operator: Browser, clock: FakeClock) -> None:
    clock.wall += LIFETIME_SECONDS - 1
    assert (await operator.get("/")).status_code == 200
    clock.wall += 1
    assert (await operator.get("/")).status_code == 303


async def test_revoking_the_key_ends_its_sessions(browser: Browser, context: ApiContext) -> None:
    key = await key_with(context, Scope.WRITE)
    await browser.log_in(key)
    assert (await browser.get("/")).status_code == 200
    [row] = await context.database.read(keys.list_all)
    await context.database.write(keys.revoke, row.id)
    assert (await browser.get("/")).status_code == 303


async def test_an_altered_or_foreign_cookie_is_none(operator: Browser, context: ApiContext) -> None:
    value = operator.client.cookies[COOKIE]
    sealed = context.box.seal(
        '{"use": "flash", "until": 9e9, "key": "key_admin", "made": 0, "csrf": ""}'
    ).decode()
    for other in (value[:-2] + "AA", "", "x", "ü", sealed, context.box.seal("[]").decode()):
        operator.client.cookies.clear()
        cookie = f"{COOKIE}={other}".encode("latin-1")
        answer = await operator.client.get("/", headers=[(b"Accept", b"text/html"), (b"Cookie", cookie)])
        assert answer.status_code == 303


@pytest.mark.parametrize(
    ("key", "reason"),
    [("", Reason.NO_KEY), ("nonsense", Reason.UNKNOWN_KEY), ("sk_live_" + "0" * 48, Reason.UNKNOWN_KEY)],
)
async def test_a_failed_login_is_in_the_audit_trail(
    browser: Browser, context: ApiContext, key: str, reason: Reason
) -> None:
    answer = await browser.post("/login", {"key": key})
    assert answer.status_code == 401
    assert "a valid API key is needed" in answer.text or "an API key is needed" in answer.text
    assert key not in answer.text or not key
    assert await refusals(context) == [reason.value]


async def test_a_key_that_may_only_search_cannot_log_in(browser: Browser, context: ApiContext) -> None:
    answer = await browser.log_in(await key_with(context, Scope.SEARCH))
    assert answer.status_code == 403
    assert await refusals(context) == [Reason.SCOPE.value]


async def test_many_attempts_have_to_wait(browser: Browser, context: ApiContext, clock: FakeClock) -> None:
    answers = [(await browser.post("/login", {"key": "nonsense"})).status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]
    assert (await browser.log_in()).status_code == 429
    clock.wall += 60
    assert (await browser.log_in()).status_code == 303


async def test_logging_out_needs_the_form_and_clears_the_cookie(operator: Browser) -> None:
    assert (await operator.post("/logout", {})).status_code == 403
    done = await operator.submit(await operator.form("/", "/logout"))
    assert (done.status_code, done.headers["location"]) == (303, "/login")
    assert (await operator.get("/")).status_code == 303


async def test_a_code_logs_in_once_and_for_a_short_time(browser: Browser, clock: FakeClock) -> None:
    await browser.context.database.write(keys.seed_admin, ADMIN_KEY)
    logins = browser.client._transport.described.state.logins  # type: ignore[attr-defined]
    first, late = (logins.issue_code(keys.ADMIN_KEY_ID, clock.wall) for _ in range(2))
    assert (await browser.get(f"/login?code={first}")).status_code == 303
    assert (await browser.get("/")).status_code == 200
    browser.client.cookies.clear()
    again = await browser.get(f"/login?code={first}")
    assert again.status_code == 401
    assert "this link was used before" in again.text
    clock.wall += CODE_SECONDS
    assert (await browser.get(f"/login?code={late}")).status_code == 401
    assert await refusals(browser.context) == [Reason.LINK.value]


async def test_behind_a_public_url_other_hosts_are_refused_with_a_page(context: ApiContext) -> None:
    named = replace(context, settings=replace(context.settings, public_url="https://watch.example"))
    async with client_of(named) as client:
        answer: httpx2.Response = await client.get("/login", headers=HTML | {"Host": "evil.example"})
    assert answer.status_code == 403
    assert "<h1>Not allowed</h1>" in answer.text


async def test_logins_and_failed_logins_are_logged_without_the_key(browser: Browser) -> None:
    wrong, told = "sk_live_" + "0" * 48, list[tuple[str, Any]]()
    browser.context.telemetry.subscribe(lambda name, fields: told.append((name, fields)))
    await browser.log_in(wrong)
    await browser.get("/login?code=used")
    await browser.log_in()
    found = [(name, fields) for name, fields in told if name.startswith("login.")]
    assert [(name, fields.get("reason", fields.get("actor"))) for name, fields in found] == [
        ("login.failed", "authentication_invalid_api_key"),
        ("login.failed", "authentication_invalid_code"),
        ("login.succeeded", "key_admin"),
    ]
    assert all(fields["address"] for _, fields in found)
    assert wrong not in str(told)
    assert ADMIN_KEY not in str(told)
