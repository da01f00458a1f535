"""Automations made, tried and changed with forms, and what their page shows."""

from __future__ import annotations

import pytest

from tests.api.asking import Api
from tests.api.pages.browser import Browser, forms_of
from tests.fakes import FakeStorage

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def prompt(api: Api) -> str:
    """The only prompt, which forms choose by themselves."""
    return await api.prompt()


async def made(operator: Browser, api: Api, **values: str) -> str:
    """The page of a new automation of a new index."""
    form = await operator.form("/automations/new", "/automations/new")
    connector = await api.connector("import", "export")
    answer = await operator.submit(form, index_name="films", connector_id=connector, what="save", **values)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def test_an_automation_and_its_index_are_made_by_one_form(operator: Browser, api: Api) -> None:
    text = await operator.page(await made(operator, api, file_pattern="*.mp4"))
    assert "<h1>films</h1>" in text
    assert "<code>*.mp4</code>" in text
    assert "films" in await operator.page("/")


async def test_settings_are_tried_before_they_are_saved(
    operator: Browser, api: Api, storage: FakeStorage
) -> None:
    storage.put("a.mp4", b"x")
    storage.put("b.wav", b"x")
    place = await made(operator, api, file_pattern="*.mp4")
    form = await operator.form(f"{place}/edit", f"{place}/edit")
    tried = await operator.submit(form, file_pattern="*.wav", what="preview")
    assert "<b>1</b> would be imported" in tried.text
    assert "b.wav" in tried.text
    assert "<code>*.mp4</code>" in await operator.page(place)
    await operator.submit(form, file_pattern="*.wav", what="save")
    assert "<code>*.wav</code>" in await operator.page(place)


async def test_a_new_index_is_not_made_to_try_something(
    operator: Browser, api: Api, storage: FakeStorage
) -> None:
    storage.put("a.mp4", b"x")
    form = await operator.form("/automations/new", "/automations/new")
    connector = await api.connector("import")
    values = {"index_name": "films", "connector_id": connector, "what": "preview"}
    tried = await operator.submit(form, **values)
    assert "1 object matches" in tried.text
    assert "films" not in {each["name"] for each in await api.get("/indexes")}


async def test_a_wrong_pattern_is_said_beside_its_field_and_makes_one_index(
    operator: Browser, api: Api
) -> None:
    form = await operator.form("/automations/new", "/automations/new")
    values = {"index_name": "films", "connector_id": await api.connector("import"), "what": "save"}
    refused = await operator.submit(form, **values, file_pattern="[", min_size_bytes="many")
    assert refused.status_code == 422
    assert 'id="f-file_pattern-problem"' in refused.text
    assert 'id="f-min_size_bytes-problem"' in refused.text
    assert 'value="many"' in refused.text


async def test_pause_and_resume_without_javascript(operator: Browser, api: Api) -> None:
    place = await made(operator, api)
    done = await operator.submit(await operator.form(place, "/actions/pause-import"))
    assert (done.status_code, done.headers["location"]) == (303, place)
    text = await operator.page(place)
    assert "The automation is paused." in text
    assert "1 automation is paused" in text
    assert "The automation is paused." not in await operator.page(place)
    assert "1 automation is paused" in await operator.page("/connectors")
    await operator.submit(await operator.form(place, "/actions/resume-import"))
    assert "The automation is active again." in await operator.page(place)


async def test_exports_are_delivered_and_paused(operator: Browser, api: Api) -> None:
    target = await api.connector("export", name="out")
    place = await made(operator, api, destination_connector_id=target, destination_subpath="cuts")
    assert target in await operator.page(place)
    await operator.submit(await operator.form(place, "/actions/pause-export"))
    assert "The exports of 1 index are paused" in await operator.page("/")
    form = await operator.form(f"{place}/edit", f"{place}/edit")
    await operator.submit(form, destination_connector_id="", what="save")
    assert "disabled" in await operator.page(place)


async def test_what_is_done_stands_in_the_audit_trail_with_the_session_s_key(
    operator: Browser, api: Api
) -> None:
    place = await made(operator, api)
    await operator.submit(await operator.form(place, "/actions/scan"))
    entry = (await api.get("/audit"))["data"][0]
    assert (entry["action"], entry["actor"]) == ("automation.scan_requested", "key_admin")
    assert entry["route"] == "POST /indexes/{index_id}/automations/import/scan"


async def test_an_unknown_automation_is_a_page(operator: Browser) -> None:
    found = await operator.get("/automations/auto_nothing")
    assert found.status_code == 404
    assert "<h1>Not found</h1>" in found.text
    assert forms_of(found.text) == []
