"""Connectors made, tested, browsed and changed with forms."""

from __future__ import annotations

import pytest

from tests.api.pages.browser import Browser, forms_of
from tests.fakes import FakeStorage
from vvwatch.api.pages.connector_fields import KINDS
from vvwatch.errors import StorageError
from vvwatch.store.catalog import catalog

pytestmark = pytest.mark.anyio


async def made(operator: Browser, **values: str) -> str:
    """The page of a new connector for the allowed folder."""
    form = await operator.form("/connectors/new?kind=local", "/connectors/new?kind=local")
    path = str(operator.context.settings.local_roots[0])
    answer = await operator.submit(form, name="rushes", path=path, scopes="import", **values)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def test_a_folder_is_made_and_tested_in_one_step(operator: Browser) -> None:
    text = await operator.page(await made(operator))
    assert "was created, and its test succeeded." in text
    assert "rushes" in await operator.page("/connectors")


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_has_a_form(operator: Browser, kind: str) -> None:
    text = await operator.page(f"/connectors/new?kind={kind}")
    assert 'name="name"' in text


async def test_the_same_form_sent_twice_makes_one_connector(operator: Browser) -> None:
    form = await operator.form("/connectors/new?kind=local", "/connectors/new?kind=local")
    path = str(operator.context.settings.local_roots[0])
    places = {(await operator.submit(form, name="a", path=path)).headers["location"] for _ in range(2)}
    assert len(places) == 1


async def test_what_is_wrong_stands_beside_its_field_and_secrets_are_not_shown_again(
    operator: Browser,
) -> None:
    pages = {kind: await operator.page(f"/connectors/new?kind={kind}") for kind in KINDS}
    kind = next(kind for kind, text in pages.items() if 'type="password"' in text)
    path = f"/connectors/new?kind={kind}"
    form = await operator.form(path, path)
    typed = dict.fromkeys((name for name in form.values if name not in {"csrf", "request_key"}), "not it\x01")
    answer = await operator.submit(form, **typed | {"name": "kept"})
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text
    assert 'value="kept"' in answer.text
    passwords = [tag for tag in answer.text.split("<input") if 'type="password"' in tag]
    assert passwords
    assert all('value=""' in tag for tag in passwords)


async def test_a_folder_outside_the_roots_is_refused_with_the_hint(operator: Browser) -> None:
    form = await operator.form("/connectors/new?kind=local", "/connectors/new?kind=local")
    answer = await operator.submit(form, name="etc", path="/etc")
    assert answer.status_code == 422
    assert "outside the allowed roots" in answer.text
    assert "allowed are folders below" in answer.text


async def test_it_lists_what_matches_with_hostile_names_escaped(
    operator: Browser, storage: FakeStorage
) -> None:
    storage.put("a<script>alert(1)</script>.mp4", b"x")
    storage.put("b.wav", b"x")
    text = await operator.page(f"{await made(operator)}/browse?prefix=&pattern=*.mp4&recursive=on")
    assert "a&lt;script&gt;alert(1)&lt;/script&gt;.mp4" in text
    assert "<script>alert" not in text
    assert "b.wav" not in text


async def test_changes_are_saved_and_unchanged_ones_are_not_sent(operator: Browser) -> None:
    place = await made(operator)
    form = await operator.form(place, place)
    assert (await operator.submit(form)).headers["location"] == place
    assert "Nothing was changed." in await operator.page(place)
    await operator.submit(form, name="other", scopes="import\nexport", export_base_path="out")
    text = await operator.page(place)
    assert "<h1>other</h1>" in text
    assert "import, export" in text


async def test_a_declared_connector_is_read_only_and_says_so(operator: Browser) -> None:
    def declare(tx: object) -> None:
        spec = catalog.ConnectorSpec("declared", "local", {"root": "/srv"})
        catalog.declare_connector(tx, "conn_declared", spec)  # type: ignore[arg-type]

    await operator.context.database.write(declare)
    text = await operator.page("/connectors/conn_declared")
    assert "Declared in the configuration file" in text
    actions = [form.action for form in forms_of(text)]
    assert "/connectors/conn_declared" not in actions
    assert "/actions/delete-connector" not in actions


async def test_a_failed_test_shows_as_a_failure(operator: Browser, storage: FakeStorage) -> None:
    place = await made(operator)
    form = await operator.form(place, "/actions/test-connector")
    storage.broken = StorageError("the bucket is gone")
    await operator.submit(form)
    assert "The test failed" in await operator.page(place)


async def test_deleting_asks_first(operator: Browser) -> None:
    place = await made(operator)
    asked = await operator.submit(await operator.form(place, "/actions/delete-connector"))
    assert "Delete this connector?" in asked.text
    [sure] = [form for form in forms_of(asked.text) if form.action.startswith("/actions/")]
    done = await operator.submit(sure)
    assert (done.status_code, done.headers["location"]) == (303, "/connectors")
    assert "The connector was deleted." in await operator.page("/connectors")
    assert (await operator.get(place)).status_code == 404
