"""Automations: what an index watches and imports, and where it delivers results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, Final, Literal

import anyio.to_thread
from fastapi import Depends, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, model_validator

from vvwatch.api.http.auditing import Audit, Audited
from vvwatch.api.http.auth import extension, require, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.errors import STORAGE_ERRORS
from vvwatch.api.http.idempotency import Idempotent
from vvwatch.api.http.wire import Body, Resource, to_iso
from vvwatch.api.routes.export_options import ExportOptionsBody, ExportOptionsShown, to_shown
from vvwatch.api.routes.left_out import LeftOutBody
from vvwatch.api.routes.previews import ImportPreview, check_pattern, preview_automation
from vvwatch.api.routes.run_options import PromptId, RunOptions, processor_of, to_prompt
from vvwatch.api.routes.windows import name_missing_automation, report_closed
from vvwatch.config.models import Automation as Usual
from vvwatch.core.cadence import scan_seconds
from vvwatch.core.durations import parse_duration
from vvwatch.core.exports import USUAL_OPTIONS
from vvwatch.core.facts import describe_wanted
from vvwatch.core.keys import Scope
from vvwatch.core.media import with_lengths
from vvwatch.core.processors import ProcessorNames
from vvwatch.core.windows import WindowPolicy, default_max_wait
from vvwatch.errors import Conflict, NotFound, OutsideLocation
from vvwatch.options.fields import FieldTemplate, KeyPrefix, Pattern, Subpath
from vvwatch.options.tables import FactSource
from vvwatch.ports import Storage
from vvwatch.store.db.database import Tx
from vvwatch.store.models.watching import AutomationState
from vvwatch.store.models.watching import ExportAutomation as ExportAutomationRow
from vvwatch.store.models.watching import ImportAutomation as ImportAutomationRow
from vvwatch.store.watching import automations, windows
from vvwatch.store.watching.automation_queries import ImportState, get_import_parts, get_import_state
from vvwatch.store.watching.automations import ExportSpec, ImportSpec
from vvwatch.store.watching.dry_run import get_saved_import, try_import
from vvwatch.store.watching.windows import ClosedWindow

router = resource_router("automations")
router.dependencies.append(Depends(name_missing_automation))

_USUAL: Final = Usual()
"""Defaults of automations in the configuration file."""

_SHORTEST_SETTLE_SECONDS: Final = 0.2


class PromptPreset(RunOptions):
    """A prompt, and how its runs segment and process media."""

    prompt_id: PromptId

    @model_validator(mode="before")
    @classmethod
    def _fill_lengths(cls, given: Any) -> Any:
        return with_lengths(given) if isinstance(given, Mapping) else given


class ImportAutomationBody(LeftOutBody):
    """What to watch, how long to gather objects, and what to run over them."""

    enabled: bool = True
    paused: bool = False
    connector_id: Annotated[str, Field(min_length=1)]
    source_prefix: Annotated[KeyPrefix, Field(max_length=1024)] = _USUAL.prefix
    file_pattern: Pattern = _USUAL.pattern
    recursive: bool = _USUAL.recursive
    debounce_interval: Literal["5m", "10m", "1h", "1d"]
    prompt_preset: PromptPreset
    import_mode_override: Literal["all", "new_only"] | None = None
    path_fields: FieldTemplate | None = None
    facts: Annotated[list[FactSource], Field(max_length=10)] = []  # noqa: RUF012  # pydantic copies it


class ExportAutomationBody(Body):
    """Where the results of each prompt run go."""

    enabled: bool = True
    paused: bool = False
    destination_connector_id: Annotated[str, Field(min_length=1)]
    destination_subpath: Annotated[Subpath, Field(max_length=1024)] | None = None
    options: ExportOptionsBody | None = None


class ImportAutomation(Resource):
    """An import automation. `next_run_at` is when the open window closes if nothing more arrives."""

    automation_id: str
    index_id: str
    status: str
    enabled: bool
    paused: bool
    connector_id: str
    source_prefix: str
    file_pattern: str
    recursive: bool
    exclude: list[str]
    min_size_bytes: int | None
    max_size_bytes: int | None
    debounce_interval: str
    prompt_preset: dict[str, Any]
    prompt_version: int | None
    import_mode_override: str | None
    path_fields: str | None
    facts: list[str]
    declared: bool
    last_scan_at: str | None
    last_triggered_at: str | None
    last_import_job_id: str | None
    last_run_id: str | None
    last_error: str | None
    last_error_hint: str | None
    next_scan_at: str | None
    next_run_at: str | None
    warnings: list[str]
    created_at: str | None
    updated_at: str | None


class ExportAutomation(Resource):
    """An export automation; it runs when a prompt run of the index ends."""

    automation_id: str
    index_id: str
    status: str
    enabled: bool
    paused: bool
    destination_connector_id: str
    destination_subpath: str | None
    options: ExportOptionsShown | None
    declared: bool
    last_triggered_at: str | None
    last_export_id: str | None
    last_error: str | None
    created_at: str | None
    updated_at: str | None


def status_of(row: AutomationState | ImportAutomationRow | ExportAutomationRow) -> str:
    """Return `active`, `paused` or `disabled`."""
    if not row.enabled:
        return "disabled"
    return "paused" if row.paused else "active"


def _import_response(state: ImportState, names: ProcessorNames) -> ImportAutomation:
    row = state.row
    preset = dict(row.prompt_preset)
    version = preset.pop("prompt_version", None)
    return ImportAutomation.of(
        row,
        automation_id=row.id,
        status=status_of(row),
        exclude=row.exclude_patterns or [],
        prompt_preset=preset,
        prompt_version=version,
        path_fields=(row.facts or {}).get("path"),
        facts=(row.facts or {}).get("sources", []),
        next_scan_at=to_iso(row.next_at),
        next_run_at=_next_run_at(state),
        warnings=[*check_pattern(row.file_pattern), *_list_model_warnings(preset, names)],
    )


def _list_model_warnings(preset: Mapping[str, Any], names: ProcessorNames) -> Iterator[str]:
    """Yield problems with the preset's processor since it was set."""
    model = preset.get("processing_model")
    if names.find(model, preset["prompt_id"]) is None:
        yield f"no processor answers to the model {model!r}: its runs fail; use one of: {names.choices()}"


def _list_undone_warnings(preset: PromptPreset, names: ProcessorNames) -> list[str]:
    """Return requested options that the processor does not support."""
    reasons = names.choose(preset.processing_model, preset.prompt_id).not_done(preset.model_dump())
    named = {f"enable_{feature}": why for feature, why in reasons.items()}
    return [f"{name}: {why}" for name, why in named.items() if name in preset.model_fields_set]


def _next_run_at(state: ImportState) -> str | None:
    closes = state.window is not None and not state.window.held and status_of(state.row) == "active"
    return to_iso(state.window.due_at) if state.window is not None and closes else None


def _export_response(row: ExportAutomationRow) -> ExportAutomation:
    return ExportAutomation.of(
        row, automation_id=row.id, status=status_of(row), options=to_shown(row.options)
    )


@router.get("/indexes/{index_id}/automations/import", **require(Scope.READ))
async def get_import_automation(context: Context, index_id: str) -> ImportAutomation:
    """Return the import automation of an index."""
    state = await context.database.read(get_import_state, index_id)
    return _import_response(state, context.database.processors)


@router.put(
    "/indexes/{index_id}/automations/import",
    response_model=ImportAutomation | ImportPreview,
    **require(Scope.WRITE, errors=STORAGE_ERRORS),
)
async def put_import_automation(
    context: Context,
    once: Idempotent,
    index_id: str,
    body: ImportAutomationBody,
    dry_run: Annotated[bool, Query(description="change nothing; return what would be imported")] = False,
) -> ImportPreview | Response:
    """Create or replace the import automation of an index. It remembers what was imported before."""
    if not dry_run and (given := await once.find_earlier_response()) is not None:
        return given
    await _check_parts(context, index_id, body)
    spec = _to_spec(context, body)
    if dry_run:
        return await preview_automation(context, await context.database.write(try_import, index_id, spec))
    left: ClosedWindow | None = None
    names = context.database.processors
    undone = _list_undone_warnings(body.prompt_preset, names)

    def save(tx: Tx) -> ImportAutomation:
        nonlocal left
        state, left = _save_import(tx, index_id, spec)
        shown = _import_response(state, names)
        return shown.model_copy(update={"warnings": shown.warnings + undone})

    response = await once.changing(body.model_fields_set)(save)
    if left is not None:
        report_closed(context, left)
    return response


@router.get(
    "/indexes/{index_id}/automations/import/preview",
    **extension("What a scan would find, changing nothing", Scope.READ, errors=STORAGE_ERRORS),
)
async def preview_import_automation(context: Context, index_id: str) -> ImportPreview:
    """List the location now and return what a scan would import, without importing it."""
    return await preview_automation(context, await context.database.read(get_saved_import, index_id))


async def _check_parts(context: ApiContext, index_id: str, body: ImportAutomationBody) -> None:
    """Check the prefix and the prompt. Raises RequestValidationError for a prefix outside the connector, InvalidInput
    for a prompt that the preset's processor cannot run.
    """
    preset = body.prompt_preset
    processor = processor_of(context, preset.processing_model, preset.prompt_id)
    parts = await context.database.read(get_import_parts, index_id, body.connector_id, preset.prompt_id)
    storage = await context.open_storage(parts.connector)
    check_prefix(storage, body.source_prefix)
    await anyio.to_thread.run_sync(processor.check_prompt, to_prompt(parts.prompt))


def check_prefix(storage: Storage, prefix: str) -> None:
    """Check the prefix. Raises RequestValidationError, like the body's own checks."""
    try:
        if prefix:
            storage.uri(prefix.removesuffix("/"))
    except OutsideLocation as error:
        found = {"loc": ("body", "source_prefix"), "msg": error.message, "ctx": {"hint": error.hint}}
        raise RequestValidationError([found]) from error


def _to_spec(context: ApiContext, body: ImportAutomationBody) -> ImportSpec:
    scale = context.settings.debounce_scale
    quiet = parse_duration(body.debounce_interval) * scale
    return ImportSpec(
        connector_id=body.connector_id,
        source_prefix=body.source_prefix,
        file_pattern=body.file_pattern,
        recursive=body.recursive,
        debounce_interval=body.debounce_interval,
        policy=WindowPolicy(quiet, default_max_wait(quiet), _USUAL.max_objects),
        scan_seconds=scan_seconds(quiet),
        settle_seconds=max(min(scale, 1.0) * _USUAL.settle_seconds, _SHORTEST_SETTLE_SECONDS),
        preset=body.prompt_preset.model_dump(),
        enabled=body.enabled,
        paused=body.paused,
        process_existing=_USUAL.process_existing,
        import_mode_override=body.import_mode_override,
        exclude=body.exclude or (),
        min_size_bytes=body.min_size_bytes,
        max_size_bytes=body.max_size_bytes,
        facts=describe_wanted(body.path_fields, body.facts),
    )


def _save_import(tx: Tx, index_id: str, spec: ImportSpec) -> tuple[ImportState, ClosedWindow | None]:
    """Save the automation; return it and the window that this closed."""
    left = None
    with suppress(NotFound):
        found = automations.get_import(tx, index_id)
        if found.connector_id != spec.connector_id and not found.declared:
            left = windows.close_before_move(tx, found.id)
    automations.save_import(tx, index_id, spec)
    return get_import_state(tx, index_id), left


@router.post("/indexes/{index_id}/automations/import/pause", **require(Scope.WRITE))
async def pause_import_automation(context: Context, audited: Audited, index_id: str) -> ImportAutomation:
    """Pause watching; the configuration and the open window are kept."""
    state = await audited.write(lambda tx: _pause_import(tx, index_id, paused=True))
    return _import_response(state, context.database.processors)


@router.post("/indexes/{index_id}/automations/import/resume", **require(Scope.WRITE))
async def resume_import_automation(context: Context, audited: Audited, index_id: str) -> ImportAutomation:
    """Resume watching; a scan finds what arrived meanwhile."""
    state = await audited.write(lambda tx: _pause_import(tx, index_id, paused=False))
    return _import_response(state, context.database.processors)


def _pause_import(tx: Tx, index_id: str, *, paused: bool) -> ImportState:
    automations.pause_import(tx, index_id, paused=paused)
    return get_import_state(tx, index_id)


@router.post(
    "/indexes/{index_id}/automations/import/scan",
    status_code=202,
    **extension("List the location now", Scope.WRITE),
)
async def scan_import_automation(
    context: Context,
    audited: Audited,
    index_id: str,
    accept_missing: Annotated[
        bool, Query(description="treat objects missing from the listing as deleted")
    ] = False,
) -> ImportAutomation:
    """Scan the location now; new objects join the window as usual.

    If most known objects are missing at once, the scan does not treat them as deleted yet; `accept_missing` confirms
    the deletion, and objects that come back count as new.
    """
    scan = partial(_scan_import, accept_missing=accept_missing)
    state = await audited.write(lambda tx: scan(tx, index_id))
    return _import_response(state, context.database.processors)


def _scan_import(tx: Tx, index_id: str, *, accept_missing: bool) -> ImportState:
    row = automations.get_import(tx, index_id)
    if status_of(row) != "active":
        raise Conflict(f"automation {row.id!r} is {status_of(row)} and does not scan", "resume or enable it")
    automations.scan_now(tx, row.id, accept_missing=accept_missing)
    return get_import_state(tx, index_id)


@router.get("/indexes/{index_id}/automations/export", **require(Scope.READ))
async def get_export_automation(context: Context, index_id: str) -> ExportAutomation:
    """Return the export automation of an index."""
    return _export_response(await context.database.read(automations.get_export, index_id))


@router.put("/indexes/{index_id}/automations/export", response_model=ExportAutomation, **require(Scope.WRITE))
async def put_export_automation(once: Idempotent, index_id: str, body: ExportAutomationBody) -> Response:
    """Create or replace the export automation of an index."""
    spec = ExportSpec(
        destination_connector_id=body.destination_connector_id,
        destination_subpath=body.destination_subpath or None,
        options=body.options.to_options() if body.options else USUAL_OPTIONS,
        enabled=body.enabled,
        paused=body.paused,
    )
    save = once.changing(body.model_fields_set)
    return await save(lambda tx: _export_response(automations.save_export(tx, index_id, spec)))


@router.post("/indexes/{index_id}/automations/export/pause", **require(Scope.WRITE))
async def pause_export_automation(audited: Audited, index_id: str) -> ExportAutomation:
    """Pause exporting; the configuration is kept."""
    return await _pause_export(audited, index_id, paused=True)


@router.post("/indexes/{index_id}/automations/export/resume", **require(Scope.WRITE))
async def resume_export_automation(audited: Audited, index_id: str) -> ExportAutomation:
    """Resume exporting, including runs that ended meanwhile."""
    return await _pause_export(audited, index_id, paused=False)


async def _pause_export(audited: Audit, index_id: str, *, paused: bool) -> ExportAutomation:
    pause = partial(automations.pause_export, paused=paused)
    return await audited.write(lambda tx: _export_response(pause(tx, index_id)))
