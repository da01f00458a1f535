"""What pages change, and who may."""

from __future__ import annotations

import pytest

from tests.api.asking import BASE_URL, Api, key_with
from tests.api.pages.browser import Browser, forms_of
from tests.api.route_scopes import SCOPES
from tests.api.story import INDEX, Story
from vvwatch.api.http.auth import SESSION_KEY
from vvwatch.api.http.context import ApiContext
from vvwatch.api.pages.actions import ACTIONS
from vvwatch.core.keys import Scope

pytestmark = pytest.mark.anyio

PAUSE = "/actions/pause-import"


def test_every_action_is_a_route_of_the_api_and_needs_its_scope() -> None:
    for name, action in ACTIONS.items():
        assert SCOPES[f"{action.method} {action.path}"] == action.scope, name


async def status(api: Api) -> str:
    return str((await api.get(f"/indexes/{INDEX}/automations/import"))["status"])


async def test_without_the_token_of_its_session_nothing_happens(
    story: Story, operator: Browser, api: Api
) -> None:
    for token in ({}, {"csrf": ""}, {"csrf": "0" * 32}, {"csrf": "ü"}):
        answer = await operator.post(PAUSE, {"index_id": INDEX, "back": "/", **token})
        assert answer.status_code == 403
        assert "this form is not of your session" in answer.text
    assert await status(api) == "active"


async def test_from_a_page_of_another_site_nothing_happens(story: Story, operator: Browser, api: Api) -> None:
    [form] = [
        form
        for form in forms_of(await operator.page(f"/automations/{story.automation_id}"))
        if form.action == PAUSE
    ]
    answer = await operator.post(PAUSE, form.values, Origin="https://evil.example")
    assert answer.status_code == 403
    assert await status(api) == "active"


async def test_a_key_that_may_only_read_sees_no_button_and_is_refused(
    story: Story, browser: Browser, context: ApiContext, api: Api
) -> None:
    await browser.log_in(await key_with(context, Scope.READ))
    text = await browser.page(f"/automations/{story.automation_id}")
    assert [form.action for form in forms_of(text)] == ["/logout"]
    token = forms_of(text)[0].values["csrf"]
    sent = await browser.post(PAUSE, {"csrf": token, "index_id": INDEX, "back": "/"})
    assert sent.status_code == 303
    text = await browser.page("/")
    assert "Pause: this needs a key with the scope &#39;write&#39;" in text
    assert await status(api) == "active"
    for path in ("/connectors/new", "/automations/new"):
        assert (await browser.get(path)).status_code == 403


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example"])
async def test_an_action_returns_to_this_server_only(story: Story, operator: Browser, back: str) -> None:
    form = await operator.form(f"/automations/{story.automation_id}", PAUSE)
    assert (await operator.submit(form, back=back)).headers["location"] == "/"


async def test_an_error_of_the_api_is_shown_with_its_hint(story: Story, operator: Browser) -> None:
    form = await operator.form(f"/automations/{story.automation_id}", PAUSE)
    await operator.submit(form)
    await operator.post("/actions/scan", form.values)
    text = await operator.page("/")
    assert "is paused and does not scan" in text
    assert "resume or enable it" in text


async def test_a_form_that_lacks_a_parameter_is_a_page_that_says_so(operator: Browser) -> None:
    token = forms_of(await operator.page("/"))[0].values["csrf"]
    assert (await operator.post(PAUSE, {"csrf": token})).status_code == 422
    assert (await operator.post("/actions/nothing", {"csrf": token})).status_code == 404


async def test_the_path_of_an_action_cannot_leave_its_route(operator: Browser) -> None:
    token = forms_of(await operator.page("/"))[0].values["csrf"]
    await operator.post(PAUSE, {"csrf": token, "index_id": "../../api-keys?x=", "back": "/"})
    assert "Pause: " in await operator.page("/")


async def test_no_request_can_name_a_session_s_key(browser: Browser) -> None:
    header = {SESSION_KEY: "key_admin", "vvwatch-session-key": "key_admin"}
    answer = await browser.client.get("/api/v2/status", headers=header)
    assert answer.status_code == 401


async def test_each_action_shows_its_command_without_the_key(story: Story, operator: Browser) -> None:
    text = await operator.page(f"/automations/{story.automation_id}")
    assert f"{BASE_URL}/api/v2/indexes/{INDEX}/automations/import/pause" in text
    assert "$VVWATCH_API_KEY" in text
    assert "sk_live_" not in text
