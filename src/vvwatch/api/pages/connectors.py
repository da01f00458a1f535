"""Connectors: the list, one of them with its objects, and forms to make and to change them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import Query, Response
from fastapi.responses import RedirectResponse

from vvwatch.api.http.auth import PREFIX
from vvwatch.api.pages.access import Page, PageRequest, page_router
from vvwatch.api.pages.action_routes import read_form
from vvwatch.api.pages.actions import ActionForm
from vvwatch.api.pages.calls import JSON, Answer, call_api, encode_form
from vvwatch.api.pages.connector_fields import (
    KINDS,
    describe_place,
    list_change_fields,
    list_new_fields,
    pick_changes,
)
from vvwatch.api.pages.forms import FilledForm, build_body, fill_form, to_values
from vvwatch.api.pages.sessions import Flash, set_flash
from vvwatch.api.routes.connector_bodies import BODIES, Connector, to_response
from vvwatch.api.routes.connectors import get_connector
from vvwatch.core.keys import Scope
from vvwatch.errors import NotFound
from vvwatch.store.catalog import catalog

router = page_router()

_ON_ONE_PAGE: Final = 100
_MOST_OBJECTS: Final = 200


@dataclass(frozen=True, slots=True)
class ConnectorRow:
    """A connector in the list."""

    connector: Connector
    place: str


@dataclass(frozen=True, slots=True)
class ConnectorList:
    """One page of all connectors."""

    rows: Sequence[ConnectorRow]
    found: int
    number: int
    pages: int
    kinds: Mapping[str, str]
    may_create: bool


@dataclass(frozen=True, slots=True)
class NewConnector:
    """The form for a new connector of one kind, or the choice of the kind."""

    kind: str
    what: str
    kinds: Mapping[str, str]
    form: FilledForm | None
    request_key: str


@dataclass(frozen=True, slots=True)
class Browsed:
    """What a connector lists: `files` of the API, at most 200, or why it could not."""

    prefix: str
    pattern: str
    recursive: bool
    files: Sequence[Mapping[str, Any]] | None
    more: bool
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class ConnectorView:
    """One connector. `form` changes it; None if the key may not, or the configuration file declares it."""

    connector: Connector
    place: str
    test: ActionForm | None
    delete: ActionForm | None
    form: FilledForm | None
    browsed: Browsed | None


@router.get("/connectors")
async def show_connectors(
    page: Page, number: Annotated[int, Query(ge=1, le=1_000_000, alias="page")] = 1
) -> Response:
    """List all connectors."""
    found = await page.context.database.read(catalog.list_connectors)
    pages = max(1, -(-len(found) // _ON_ONE_PAGE))
    number = min(number, pages)
    shown = map(to_response, found[(number - 1) * _ON_ONE_PAGE : number * _ON_ONE_PAGE])
    rows = [ConnectorRow(each, describe_place(each)) for each in shown]
    view = ConnectorList(rows, len(found), number, pages, KINDS, page.may(Scope.WRITE))
    return await page.render("connectors.html", view, "Connectors")


@router.get("/connectors/new")
async def show_new_connector(page: Page, kind: Annotated[str, Query(max_length=50)] = "") -> Response:
    """Show the form for a new connector, or the kinds to choose from."""
    page.require(Scope.WRITE)
    if not kind:
        view = NewConnector("", "", KINDS, None, "")
    else:
        view = _to_new(kind, fill_form(list_new_fields(_check_kind(kind)), {"scopes": "import"}))
    return await page.render("connector_new.html", view, "New connector")


@router.post("/connectors/new")
async def create_connector(page: Page, kind: Annotated[str, Query(max_length=50)]) -> Response:
    """Make the connector and show it, or show what is wrong beside each field."""
    values, fields = await read_form(page), list_new_fields(_check_kind(kind))
    answer = await _create(page, kind, build_body(fields, values), values.get("request_key", ""))
    if not answer.ok:
        view = _to_new(kind, fill_form(fields, values, answer))
        return await page.render("connector_new.html", view, "New connector", answer.status)
    made = answer.document
    error = made["last_test_error"]
    flash = (
        Flash("bad", f"{made['name']!r} was created, but its test failed: {error}")
        if error
        else Flash("good", f"{made['name']!r} was created, and its test succeeded.")
    )
    return _go_to(page, made["connector_id"], flash)


async def _create(page: PageRequest, kind: str, body: dict[str, Any], request_key: str) -> Answer:
    target = f"{PREFIX}/connectors/{kind}"
    found = BODIES.get(kind)
    if found is None or found.new.media_type == JSON:
        return await call_api(page.request, page.session, "POST", target, body, request_key)
    content, media_type = encode_form(body, found.new.secrets)
    return await call_api(page.request, page.session, "POST", target, content, request_key, media_type)


def _to_new(kind: str, form: FilledForm) -> NewConnector:
    return NewConnector(kind, KINDS[kind], KINDS, form, secrets.token_hex(8))


def _check_kind(kind: str) -> str:
    if kind not in KINDS:
        raise NotFound("provider", kind)
    return kind


@router.get("/connectors/{connector_id}")
async def show_connector(page: Page, connector_id: str) -> Response:
    """Show a connector and the form that changes it."""
    found = await get_connector(page.context, connector_id)
    return await _render(page, found)


@router.post("/connectors/{connector_id}")
async def change_connector(page: Page, connector_id: str) -> Response:
    """Change the connector, or show what is wrong beside each field."""
    values = await read_form(page)
    found = await get_connector(page.context, connector_id)
    fields = list_change_fields(found.provider)
    body = pick_changes(fields, values, found)
    if not body:
        return _go_to(page, connector_id, Flash("good", "Nothing was changed."))
    target = f"{PREFIX}/connectors/{quote(connector_id, safe='')}"
    answer = await call_api(page.request, page.session, "PATCH", target, body)
    if not answer.ok:
        return await _render(page, found, form=fill_form(fields, values, answer), status=answer.status)
    error = answer.document["last_test_error"]
    flash = Flash("bad", f"Saved; its last test failed: {error}") if error else Flash("good", "Saved.")
    return _go_to(page, connector_id, flash)


@router.get("/connectors/{connector_id}/browse")
async def browse_connector(
    page: Page,
    connector_id: str,
    prefix: Annotated[str, Query(max_length=4096)] = "",
    pattern: Annotated[str, Query(max_length=1024)] = "*",
    recursive: Annotated[str, Query(max_length=5)] = "",
) -> Response:
    """List the objects of the connector that match a pattern."""
    found = await get_connector(page.context, connector_id)
    asked = {"prefix": prefix, "pattern": pattern or "*", "recursive": bool(recursive)}
    target = f"{PREFIX}/connectors/{quote(connector_id, safe='')}/browse"
    body = asked | {"limit": _MOST_OBJECTS + 1}
    answer = await call_api(page.request, page.session, "POST", target, body)
    files = answer.document if answer.ok else None
    browsed = Browsed(
        prefix=prefix,
        pattern=pattern or "*",
        recursive=bool(recursive),
        files=None if files is None else files[:_MOST_OBJECTS],
        more=files is not None and len(files) > _MOST_OBJECTS,
        message=answer.message,
        hint=answer.hint,
    )
    return await _render(page, found, browsed=browsed)


async def _render(
    page: PageRequest,
    found: Connector,
    *,
    form: FilledForm | None = None,
    browsed: Browsed | None = None,
    status: int = 200,
) -> Response:
    editable = page.may(Scope.WRITE) and not found.declared
    if form is None and editable and browsed is None:
        fields = list_change_fields(found.provider)
        form = fill_form(fields, to_values(fields, found.model_dump()))
    view = ConnectorView(
        connector=found,
        place=describe_place(found),
        test=page.action("test-connector", connector_id=found.connector_id),
        delete=None
        if found.declared
        else page.action("delete-connector", {"back": "/connectors"}, connector_id=found.connector_id),
        form=form,
        browsed=browsed,
    )
    return await page.render("connector.html", view, found.name, status)


def _go_to(page: PageRequest, connector_id: str, flash: Flash) -> Response:
    response = RedirectResponse(f"/connectors/{quote(connector_id, safe='')}", 303)
    set_flash(page.request, response, flash)
    return response
