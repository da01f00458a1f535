"""Make, try and change automations that the configuration file does not declare."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import Query, Response
from fastapi.responses import RedirectResponse

from vvwatch.api.http.auth import PREFIX
from vvwatch.api.http.errors import ApiError
from vvwatch.api.pages.access import Page, PageRequest, page_router
from vvwatch.api.pages.action_routes import read_form
from vvwatch.api.pages.automation_fields import (
    INDEX,
    NEW_VALUES,
    build_export_body,
    keep_settings,
    list_export_fields,
    list_import_fields,
    list_index_fields,
    read_choices,
    to_export_values,
    to_import_values,
)
from vvwatch.api.pages.calls import Answer, call_api
from vvwatch.api.pages.forecasts import CostForecast, forecast_cost
from vvwatch.api.pages.forms import Field, FilledForm, build_body, fill_form
from vvwatch.api.pages.sessions import Flash, set_flash
from vvwatch.api.routes.automations import (
    ExportAutomation,
    ImportAutomation,
    get_export_automation,
    get_import_automation,
)
from vvwatch.core.keys import Scope
from vvwatch.errors import NotFound
from vvwatch.store.admin.status_queries import find_automation

router = page_router()

_PREVIEW: Final = "preview"
_MOST_OBJECTS: Final = 200


@dataclass(frozen=True, slots=True)
class Trial:
    """What the settings would find: the API's `preview` and its `cost`, or the `matching` objects of a new index."""

    preview: Mapping[str, Any] | None
    matching: Sequence[Mapping[str, Any]] | None
    cost: CostForecast | None = None


@dataclass(frozen=True, slots=True)
class FormView:
    """The form; `automation_id` is empty for a new automation."""

    automation_id: str
    action: str
    form: FilledForm
    trial: Trial | None
    request_key: str


@dataclass(frozen=True, slots=True)
class SavedPreview:
    """What a scan would find now, with the settings as they are."""

    automation_id: str
    trial: Trial | None
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Fields:
    """The inputs of the form."""

    index: Sequence[Field]
    importing: Sequence[Field]
    exporting: Sequence[Field]

    @property
    def all(self) -> list[Field]:
        return [*self.index, *self.importing, *self.exporting]


@dataclass(frozen=True, slots=True)
class _Existing:
    importing: ImportAutomation
    exporting: ExportAutomation | None


@router.get("/automations/new")
async def show_new_automation(
    page: Page, index_id: Annotated[str, Query(max_length=200)] = "", connector_id: str = ""
) -> Response:
    """Show the form for a new automation."""
    page.require(Scope.WRITE)
    fields = await _list_fields(page, new=True)
    chosen = {**NEW_VALUES, "index_id": index_id, "connector_id": connector_id}
    return await _render(page, None, fill_form(fields.all, chosen))


@router.post("/automations/new")
async def create_automation(page: Page) -> Response:
    """Make the automation and its index, or try the settings."""
    values, fields = await read_form(page), await _list_fields(page, new=True)
    body = build_body(fields.importing, values)
    if values.get("what") == _PREVIEW:
        return await _try(page, None, fields, values, body)
    answer = await _ensure_index(page, values)
    if answer.ok:
        index_id = answer.document["index_id"]
        values["index_id"] = index_id
        answer = await _put(page, index_id, "import", body)
        if answer.ok:
            return await _finish(page, fields, values, answer.document, None)
    return await _render(page, None, fill_form(fields.all, values, answer), status=answer.status)


@router.get("/automations/{automation_id}/edit")
async def show_edit(page: Page, automation_id: str) -> Response:
    """Show the form with the settings as they are."""
    page.require(Scope.WRITE)
    found = await _load(page, automation_id)
    fields = await _list_fields(page, new=False)
    values = to_import_values(fields.importing, found.importing)
    values |= to_export_values(fields.exporting, found.exporting)
    return await _render(page, found, fill_form(fields.all, values))


@router.post("/automations/{automation_id}/edit")
async def edit_automation(page: Page, automation_id: str) -> Response:
    """Save the settings, or try them."""
    values, found = await read_form(page), await _load(page, automation_id)
    fields = await _list_fields(page, new=False)
    body = keep_settings(build_body(fields.importing, values), found.importing)
    values["index_id"] = found.importing.index_id
    if values.get("what") == _PREVIEW:
        return await _try(page, found, fields, values, body)
    answer = await _put(page, found.importing.index_id, "import", body)
    if not answer.ok:
        return await _render(page, found, fill_form(fields.all, values, answer), status=answer.status)
    return await _finish(page, fields, values, answer.document, found)


@router.get("/automations/{automation_id}/preview")
async def show_preview(page: Page, automation_id: str) -> Response:
    """List the location now and show what a scan would find."""
    row = await page.context.database.read(find_automation, automation_id)
    answer = await _call(page, "GET", f"{_path_of(row.index_id, 'import')}/preview")
    saved = await get_import_automation(page.context, row.index_id)
    trial = await _to_trial(page, row.index_id, saved.prompt_preset, answer) if answer.ok else None
    view = SavedPreview(automation_id, trial, answer.message, answer.hint)
    return await page.render("automation_preview.html", view, f"What a scan of {row.index_name} would find")


async def _load(page: PageRequest, automation_id: str) -> _Existing:
    """Return an automation. Raises NotFound, and ApiError (409) for one of the configuration file."""
    row = await page.context.database.read(find_automation, automation_id)
    importing, exporting = await get_import_automation(page.context, row.index_id), None
    with suppress(NotFound):
        exporting = await get_export_automation(page.context, row.index_id)
    if importing.declared:
        what = f"automation {automation_id!r} is declared in the configuration file"
        raise ApiError(409, "conflict", what, "edit it there and reload")
    return _Existing(importing, exporting)


async def _list_fields(page: PageRequest, *, new: bool) -> _Fields:
    choices = await page.context.database.read(read_choices)
    return _Fields(
        list_index_fields(choices) if new else (),
        list_import_fields(choices, page.context.database.processors),
        list_export_fields(choices),
    )


async def _ensure_index(page: PageRequest, values: Mapping[str, str]) -> Answer:
    """Return the chosen index, or make one. The same form sent twice makes one index."""
    if index_id := values.get("index_id", ""):
        return await _call(page, "GET", f"{PREFIX}/indexes/{quote(index_id, safe='')}")
    name = values.get(INDEX, "").strip()
    key = sha256(f"{values.get('request_key', '')} {name}".encode()).hexdigest()[:32]
    return await _call(page, "POST", f"{PREFIX}/indexes", {"name": name}, key)


async def _try(
    page: PageRequest,
    found: _Existing | None,
    fields: _Fields,
    values: Mapping[str, str],
    body: Mapping[str, Any],
) -> Response:
    """Show what these settings would find, and change nothing."""
    if index_id := values.get("index_id", ""):
        answer = await _call(page, "PUT", f"{_path_of(index_id, 'import')}?dry_run=true", body)
        preset = body.get("prompt_preset", {})
        trial = await _to_trial(page, index_id, preset, answer) if answer.ok else None
    else:
        asked = {
            "prefix": body.get("source_prefix", ""),
            "pattern": body.get("file_pattern", "*"),
            "recursive": body["recursive"],
            "limit": _MOST_OBJECTS,
        }
        connector = quote(str(body.get("connector_id", "-")), safe="")
        answer = await _call(page, "POST", f"{PREFIX}/connectors/{connector}/browse", asked)
        trial = Trial(None, answer.document)
    form = fill_form(fields.all, values, answer)
    return await _render(page, found, form, trial if answer.ok else None, answer.status)


async def _to_trial(page: PageRequest, index_id: str, preset: Mapping[str, Any], answer: Answer) -> Trial:
    """Return a preview with the cost of what is new."""
    preview = answer.document
    return Trial(preview, None, await forecast_cost(page, index_id, preset, preview["new"]))


async def _finish(
    page: PageRequest,
    fields: _Fields,
    values: Mapping[str, str],
    saved: Mapping[str, Any],
    found: _Existing | None,
) -> Response:
    """Save where results go, and show the automation."""
    exporting = None if found is None else found.exporting
    body = build_export_body(build_body(fields.exporting, values), exporting)
    flash = Flash("good", "Saved.")
    if body is not None:
        answer = await _put(page, saved["index_id"], "export", body)
        if not answer.ok:
            flash = Flash("bad", f"Saved, but not where results go: {answer.message}", answer.hint)
    response = RedirectResponse(f"/automations/{saved['automation_id']}", 303)
    set_flash(page.request, response, flash)
    return response


async def _render(
    page: PageRequest,
    found: _Existing | None,
    form: FilledForm,
    trial: Trial | None = None,
    status: int = 200,
) -> Response:
    automation_id = "" if found is None else found.importing.automation_id
    action = f"/automations/{automation_id}/edit" if automation_id else "/automations/new"
    view = FormView(automation_id, action, form, trial, secrets.token_hex(8))
    title = "Edit automation" if automation_id else "New automation"
    return await page.render("automation_form.html", view, title, status)


def _path_of(index_id: str, kind: str) -> str:
    return f"{PREFIX}/indexes/{quote(index_id, safe='')}/automations/{kind}"


async def _put(page: PageRequest, index_id: str, kind: str, body: Mapping[str, Any]) -> Answer:
    return await _call(page, "PUT", _path_of(index_id, kind), body)


async def _call(
    page: PageRequest, method: str, target: str, body: object = None, request_key: str = ""
) -> Answer:
    return await call_api(page.request, page.session, method, target, body, request_key)
