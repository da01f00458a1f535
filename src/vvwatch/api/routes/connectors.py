"""Connectors: locations to import from and export to."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import anyio.to_thread
from fastapi import Form, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import UploadFile

from vvwatch.api.http.auditing import Audited
from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import ApiContext, ApiSettings, Context
from vvwatch.api.http.errors import STORAGE_ERRORS
from vvwatch.api.http.idempotency import Idempotent, Once
from vvwatch.api.http.wire import Resource
from vvwatch.api.routes.browsing import BrowseBody, CloudFile, browse
from vvwatch.api.routes.connector_bodies import (
    BODIES,
    CREDENTIALS,
    Connector,
    ConnectorChanges,
    LocalConnectorBody,
    reveal,
    secrets_in,
    to_response,
)
from vvwatch.api.routes.connector_events import to_stored_events
from vvwatch.core.keys import Scope
from vvwatch.errors import (
    Conflict,
    InvalidInput,
    OnAnotherNode,
    StorageError,
    StoreError,
    VvwatchError,
)
from vvwatch.providers.bodies import (
    MAX_FILE_BYTES,
    Bodies,
    EventsBody,
    NewCloudConnector,
    NewConnector,
)
from vvwatch.providers.registry import PROVIDERS
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec
from vvwatch.store.db import sealing
from vvwatch.store.db.database import Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.models.catalog import Connector as ConnectorRow
from vvwatch.store.watching import connector_changes

router = resource_router("connectors")

_EVERYTHING: Final = BrowseBody()
_MAX_TEST_SECONDS: Final = 45.0  # clients give up after a minute
_TESTED: Final = frozenset({"credentials", "export_base_path", "scopes", "status"})


class TestResult(Resource):
    """The result of a connector test; `store_notes` lists weaknesses of its store."""

    success: bool
    error_message: str | None
    store_notes: list[str]


class Deleted(Resource):
    """The result of the deletion."""

    message: str


@router.post(
    "/connectors/local",
    status_code=201,
    response_model=Connector,
    **require(Scope.WRITE, errors=("conflict", "outside_location")),
)
async def create_local_connector(context: Context, once: Idempotent, body: LocalConnectorBody) -> Response:
    """Create a connector for a local folder and test it. It is created even if the test fails."""
    root = await anyio.to_thread.run_sync(_check_path, body.path, context.settings)
    location = {"root": root} | ({"shared": True} if body.shared else {})
    node = "" if body.shared else context.settings.node
    return await _create_connector(context, once, _to_spec(body, "local", location, node=node))


def _add_cloud_route(kind: str, bodies: Bodies) -> None:
    """Add the route that creates connectors of a provider."""

    async def create(context: Context, once: Idempotent, body: NewCloudConnector) -> Response:
        credentials = await _read_credentials(context, kind, body)
        spec = _to_spec(body, kind, body.location(), events=_check_events(context, body.events, kind))
        return await _create_connector(context, once, spec, credentials)

    is_form = bodies.new.media_type != "application/json"
    sent = Annotated[bodies.new, Form(media_type=bodies.new.media_type)] if is_form else bodies.new
    create.__annotations__["body"] = sent
    create.__name__ = f"create_{kind}_connector"
    create.__doc__ = (
        f"Create a connector for {bodies.what} and test it. It is created even if the test fails."
    )
    options = require(Scope.WRITE)
    router.post(f"/connectors/{kind}", status_code=201, response_model=Connector, **options)(create)


for _kind, _bodies in BODIES.items():
    _add_cloud_route(_kind, _bodies)


def _to_spec(
    body: NewConnector,
    provider: str,
    location: dict[str, Any],
    *,
    node: str = "",
    events: dict[str, Any] | None = None,
) -> ConnectorSpec:
    return ConnectorSpec(
        name=body.name,
        provider=provider,
        settings=location,
        scopes=tuple(dict.fromkeys(body.scopes)),
        import_mode=body.import_mode,
        export_base_path=body.export_base_path or None,
        node=node,
        events=events,
    )


def _check_events(context: ApiContext, body: EventsBody | None, provider: str) -> dict[str, Any] | None:
    return to_stored_events(body, provider, context.settings.store_hosts)


async def _create_connector(
    context: ApiContext, once: Once, spec: ConnectorSpec, credentials: str | None = None
) -> Response:
    def create(tx: Tx) -> Connector:
        sealed = None if credentials is None else sealing.seal(tx, context.box, credentials)
        return to_response(catalog.create_connector(tx, replace(spec, credentials=sealed)))

    async def then(made: Connector) -> Connector:
        row = await context.database.read(catalog.get_connector, made.connector_id)
        return to_response(await _run_test(context, row))

    return await once.run_both(create, then)


async def _read_credentials(context: ApiContext, kind: str, body: NewCloudConnector) -> str:
    """Return the checked credentials of a new connector; raises RequestValidationError."""
    sent = {field: await _reveal_field(field, getattr(body, field)) for field in body.secrets}
    for field, name in body.secrets.items():
        if not name:
            return await _check_credentials(context, kind, field, sent[field])
    return json.dumps({body.secrets[field]: text for field, text in sent.items()})


async def _reveal_field(field: str, value: Any) -> str:
    """Return a credential in clear; raises RequestValidationError for a file that is empty, too large or binary."""
    if not isinstance(value, UploadFile):
        return reveal(value)
    data = await value.read(MAX_FILE_BYTES + 1)
    if not 0 < len(data) <= MAX_FILE_BYTES:
        raise _invalid_field(field, "is empty or too large", f"1 to {MAX_FILE_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _invalid_field(field, "is not UTF-8 text") from None


async def _check_credentials(context: ApiContext, kind: str, field: str, text: str) -> str:
    """Return the checked credentials; raises RequestValidationError, which shows nothing of them."""
    check, host = PROVIDERS[kind].check_credentials, context.settings.store_hosts.get(kind, "")
    try:
        return await anyio.to_thread.run_sync(lambda: check(text, host=host))
    except InvalidInput as error:
        raise _invalid_field(field, error.message, hint=error.hint) from None


def _invalid_field(field: str, what: str, allowed: str = "", hint: str = "") -> RequestValidationError:
    context = {"allowed": allowed, "hint": hint}
    return RequestValidationError([{"loc": ("body", field), "msg": what, "ctx": context}])


def _check_path(path: str, settings: ApiSettings) -> str:
    """Return the normalized `path`. Raises InvalidInput outside the roots and at the daemon's state folder."""
    plain = _check_roots(path, settings.local_roots)
    if settings.state_dir is not None:
        real, state = Path(os.path.realpath(plain)), Path(os.path.realpath(settings.state_dir))
        if real.is_relative_to(state) or state.is_relative_to(real):
            what = f"path {path!r} contains, or is inside, vvwatch's state folder"
            raise InvalidInput(what, "choose another folder, or move state_dir")
    return plain


def _check_roots(path: str, roots: tuple[Path, ...]) -> str:
    """Return the normalized path. Checks its resolved target; the storage refuses later replacements."""
    hint = "allowed are folders below " + (", ".join(map(str, roots)) or "no root: set roots in [local]")
    if "\0" in path or not Path(path).is_absolute() or ".." in Path(path).parts:
        raise InvalidInput("path must be absolute, without .. segments", hint)
    real = Path(os.path.realpath(path))
    if not any(real.is_relative_to(os.path.realpath(root)) for root in roots):
        raise InvalidInput(f"path {path!r} is outside the allowed roots", hint)
    return "/" + os.path.normpath(path).lstrip("/")


@router.get("/connectors", **require(Scope.READ))
async def list_connectors(context: Context) -> list[Connector]:
    """List all connectors, oldest first."""
    return [to_response(row) for row in await context.database.read(catalog.list_connectors)]


@router.get("/connectors/{connector_id}", **require(Scope.READ))
async def get_connector(context: Context, connector_id: str) -> Connector:
    """Return a connector."""
    return to_response(await context.database.read(catalog.get_connector, connector_id))


@router.patch("/connectors/{connector_id}", **require(Scope.WRITE, errors=STORAGE_ERRORS))
async def change_connector(
    context: Context, audited: Audited, connector_id: str, body: ConnectorChanges
) -> Connector:
    """Change a connector that was created over the API."""
    found = await context.database.read(connector_changes.require_editable, connector_id)
    _require_own(body, found.provider)
    secrets = secrets_in(body, found.provider)
    if "" in secrets:
        [field] = [field for field, (kind, _) in CREDENTIALS.items() if kind == found.provider]
        secrets[""] = await _check_credentials(context, found.provider, field, secrets[""])
    events = _check_events(context, body.events, found.provider)
    audited.details["fields"] = sorted(body.model_fields_set)
    changes, row = await audited.write(
        lambda tx: _apply_changes(tx, context.box, connector_id, body, secrets, events)
    )
    return to_response(
        await _run_test(context, row) if changes & _TESTED and row.status != catalog.DISABLED else row
    )


def _require_own(body: ConnectorChanges, provider: str) -> None:
    """Raise RequestValidationError for credentials of another provider."""
    strays = [name for name in body.model_fields_set & set(CREDENTIALS) if CREDENTIALS[name][0] != provider]
    for name in sorted(strays):
        what = f"belongs to connectors of {CREDENTIALS[name][0]}"
        own = ", ".join(field for field, (owner, _) in CREDENTIALS.items() if owner == provider)
        raise _invalid_field(name, what, own)


def _apply_changes(
    tx: Tx,
    box: SecretBox,
    connector_id: str,
    body: ConnectorChanges,
    secrets: dict[str, str],
    events: dict[str, Any] | None,
) -> tuple[frozenset[str], ConnectorRow]:
    """Change the row; return the changed columns and the row."""
    row = connector_changes.require_editable(tx, connector_id)
    changes = body.to_changes() | ({"events": events} if "events" in body.model_fields_set else {})
    if "export_base_path" in changes:
        changes["export_base_path"] = changes["export_base_path"] or None
    if "scopes" in changes:
        changes["scopes"] = list(dict.fromkeys(changes["scopes"]))
    if changes.get("status") == "active":
        changes["status"] = "testing"
    text = secrets.get("") or _merge_credentials(box, row, secrets)
    if text is not None:
        settings = {name: value for name, value in row.settings.items() if name != "ambient"}
        changes |= {"credentials": sealing.seal(tx, box, text), "settings": settings}
    elif row.settings.get("ambient") and (changes.keys() & {"scopes", "export_base_path"} or events):
        raise Conflict(
            f"connector {connector_id!r} uses this machine's identity; the API cannot extend it",
            "give it its own credentials, or declare it in the configuration file",
        )
    return frozenset(changes), connector_changes.change(tx, connector_id, changes) if changes else row


def _merge_credentials(box: SecretBox, row: ConnectorRow, sent: dict[str, str]) -> str | None:
    """Merge sent and stored credentials into one text; None if none were sent. Raises RequestValidationError."""
    if not sent:
        return None
    fields = {name: field for field, (owner, name) in CREDENTIALS.items() if owner == row.provider}
    kept = json.loads(box.open(row.credentials)) if row.credentials and sent.keys() != fields.keys() else {}
    whole = {name: value for name, value in (kept | sent).items() if name in fields}
    for name in fields.keys() - whole.keys():
        raise _invalid_field(fields[name], "is required: the connector has none yet")
    return json.dumps(whole)


@router.delete("/connectors/{connector_id}", **require(Scope.ADMIN))
async def delete_connector(audited: Audited, connector_id: str) -> Deleted:
    """Delete an unused connector and its credentials. Imported and exported data stay."""
    row = await audited.write(lambda tx: connector_changes.delete(tx, connector_id))
    return Deleted(message=f"connector {row.name!r} ({row.id}) was deleted; imported media stay")


@router.post("/connectors/{connector_id}/test", **require(Scope.WRITE, errors=STORAGE_ERRORS))
async def test_connector(context: Context, audited: Audited, connector_id: str) -> TestResult:
    """Test whether the location can be listed and, for exports, written; the result is stored."""
    found = await audited.write(lambda tx: _get_enabled(tx, connector_id))
    row = await _run_test(context, found)
    notes = await _read_store_notes(context, row)
    return TestResult(
        success=row.last_test_error is None, error_message=row.last_test_error, store_notes=notes
    )


async def _read_store_notes(context: ApiContext, row: ConnectorRow) -> list[str]:
    """Return the store's notes after a test; none if it cannot be opened."""
    try:
        return list((await context.open_storage(row)).notes.odd.values())
    except VvwatchError:
        return []


@router.post(
    "/connectors/{connector_id}/browse", **require(Scope.READ, errors=("browse_timed_out", *STORAGE_ERRORS))
)
async def browse_connector(
    context: Context, connector_id: str, body: BrowseBody = _EVERYTHING
) -> list[CloudFile]:
    """List matching objects in the store's order, at most `limit`; without a body, the first ones."""
    storage = await context.open_storage(await context.database.read(_get_enabled, connector_id))
    return await browse(storage, body)


def _get_enabled(tx: Tx, connector_id: str) -> ConnectorRow:
    row = catalog.get_connector(tx, connector_id)
    if row.status == catalog.DISABLED:
        raise Conflict(f"connector {connector_id!r} is disabled", "PATCH its status to active")
    return row


async def _run_test(context: ApiContext, row: ConnectorRow) -> ConnectorRow:
    error: str | None = None
    try:
        with anyio.fail_after(_MAX_TEST_SECONDS):
            storage = await context.open_storage(row)
            below = (row.export_base_path or "") if "export" in row.scopes else None
            await storage.check(read="import" in row.scopes, write_below=below)
    except OnAnotherNode:
        raise
    except TimeoutError:
        error = f"no response within {_MAX_TEST_SECONDS:g} s; test it again"
    except (StorageError, StoreError, InvalidInput) as failure:
        error = f"{failure.message}: {failure.hint}" if failure.hint else failure.message
    return await context.database.write(catalog.record_test, row.id, error)
