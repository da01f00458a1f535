"""Connectors: locations that objects are imported from and exported to."""

from __future__ import annotations

import os
from mimetypes import MimeTypes
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import anyio
import anyio.to_thread
import sqlalchemy as sa
from pydantic import Field

from vvwatch.api.auth import resource_router
from vvwatch.api.context import ApiContext, ApiSettings, Context
from vvwatch.api.errors import ApiError
from vvwatch.api.wire import Body, Resource, Visible, moment
from vvwatch.config.fields import Subpath
from vvwatch.core.events import iso
from vvwatch.core.globs import Glob
from vvwatch.core.locations import normal_prefix
from vvwatch.core.objects import StorageObject, base_name, extension
from vvwatch.errors import InvalidInput, OnAnotherNode, StorageError
from vvwatch.ports import Storage
from vvwatch.store import catalog
from vvwatch.store.catalog import ConnectorSpec

router = resource_router("connectors")

_MOST_BROWSED: Final = 10_000
_LONGEST_BROWSE_SECONDS: Final = 30.0  # clients give up after a minute
_content_types: Final = MimeTypes()  # the built-in table: the same on every machine

Scope = Literal["import", "export"]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=2)]


def _import_only() -> list[Scope]:
    return ["import"]


class LocalConnectorBody(Body):
    """A new connector for a local folder below one of the roots that the configuration allows.

    `shared`: every node mounts the folder at this path. Else it belongs to the node that is asked.
    """

    name: Annotated[str, Field(min_length=1, max_length=100), Visible]
    path: Annotated[str, Field(min_length=1, max_length=4096)]
    scopes: Scopes = Field(default_factory=_import_only)
    import_mode: Literal["all", "new_only"] = "all"
    export_base_path: Annotated[Subpath, Field(max_length=1024)] | None = None
    shared: bool = False


class BrowseBody(Body):
    """What to look at; `prefix` may be a whole key."""

    prefix: Annotated[str, Field(max_length=4096)] = ""
    pattern: str = "*"
    recursive: bool = True
    limit: Annotated[int, Field(ge=1, le=_MOST_BROWSED)] = 1000


_EVERYTHING: Final = BrowseBody()


class Connector(Resource):
    """A connector. Credentials are never shown; fields of other providers are null.

    `node` names the only node that reaches it, and is null when every one does.
    """

    connector_id: str
    name: str
    provider: str
    status: str
    scopes: list[str]
    import_mode: str
    export_base_path: str | None
    path: str | None
    bucket: str | None = None
    region: str | None = None
    storage_account: str | None = None
    container: str | None = None
    gcp_project_id: str | None = None
    node: str | None
    declared: bool
    created_at: str | None
    updated_at: str | None
    last_tested_at: str | None
    last_test_result: str | None
    last_test_error: str | None


class TestResult(Resource):
    """How a test of a connector ended."""

    success: bool
    error_message: str | None


class CloudFile(Resource):
    """An object that a connector reaches. `extension` has its dot, or is empty."""

    path: str
    name: str
    size_bytes: int
    last_modified: str
    content_type: str | None
    extension: str


def shown(row: sa.Row[Any]) -> Connector:
    """The connector as it is answered."""
    return Connector(
        connector_id=row.id,
        name=row.name,
        provider=row.provider,
        status=row.status,
        scopes=row.scopes,
        import_mode=row.import_mode,
        export_base_path=row.export_base_path,
        path=row.settings.get("root"),
        node=row.node or None,
        declared=row.declared,
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
        last_tested_at=moment(row.last_tested_at),
        last_test_result=row.last_test_result,
        last_test_error=row.last_test_error,
    )


@router.post("/connectors/local", status_code=201)
async def create_local_connector(context: Context, body: LocalConnectorBody) -> Connector:
    """Make a connector for a local folder and test it; one that fails its test is made all the same."""
    root = await anyio.to_thread.run_sync(_allowed, body.path, context.settings)
    spec = ConnectorSpec(
        name=body.name,
        provider="local",
        settings={"root": root} | ({"shared": True} if body.shared else {}),
        node="" if body.shared else context.settings.node,
        scopes=tuple(dict.fromkeys(body.scopes)),
        import_mode=body.import_mode,
        export_base_path=body.export_base_path or None,
    )
    return shown(await _tested(context, await context.database.write(catalog.create_connector, spec)))


def _allowed(path: str, settings: ApiSettings) -> str:
    """`path` in its plain form. Raises InvalidInput outside the roots, and where the daemon keeps its state."""
    plain = _below_roots(path, settings.local_roots)
    if settings.state_dir is not None:
        real, state = Path(os.path.realpath(plain)), Path(os.path.realpath(settings.state_dir))
        if real.is_relative_to(state) or state.is_relative_to(real):
            what = f"path {path!r} holds, or lies in, the folder where vvwatch keeps its state and keys"
            raise InvalidInput(what, "name another folder, or move state_dir out of it")
    return plain


def _below_roots(path: str, roots: tuple[Path, ...]) -> str:
    """The path in its plain form. Judged is where it really leads; what replaces it later the storage refuses."""
    hint = "allowed are folders below " + (", ".join(map(str, roots)) or "no root: set roots in [local]")
    if "\0" in path or not Path(path).is_absolute() or ".." in Path(path).parts:
        raise InvalidInput("path must be absolute, without .. segments", hint)
    real = Path(os.path.realpath(path))
    if not any(real.is_relative_to(os.path.realpath(root)) for root in roots):
        raise InvalidInput(f"path {path!r} lies outside the allowed roots", hint)
    return "/" + os.path.normpath(path).lstrip("/")


@router.get("/connectors")
async def list_connectors(context: Context) -> list[Connector]:
    """All connectors, oldest first."""
    return [shown(row) for row in await context.database.read(catalog.list_connectors)]


@router.get("/connectors/{connector_id}")
async def get_connector(context: Context, connector_id: str) -> Connector:
    """One connector."""
    return shown(await context.database.read(catalog.get_connector, connector_id))


@router.post("/connectors/{connector_id}/test")
async def test_connector(context: Context, connector_id: str) -> TestResult:
    """Try whether the location can be listed, and written to where that is its scope; the result is kept."""
    row = await _tested(context, await context.database.read(catalog.get_connector, connector_id))
    return TestResult(success=row.last_test_error is None, error_message=row.last_test_error)


async def _tested(context: ApiContext, row: sa.Row[Any]) -> sa.Row[Any]:
    error: str | None = None
    try:
        storage = await context.open_storage(row)
        below = (row.export_base_path or "") if "export" in row.scopes else None
        await storage.check(read="import" in row.scopes, write_below=below)
    except OnAnotherNode:
        raise
    except (StorageError, InvalidInput) as failure:
        error = f"{failure.message}: {failure.hint}" if failure.hint else failure.message
    return await context.database.write(catalog.record_test, row.id, error)


@router.post("/connectors/{connector_id}/browse")
async def browse_connector(
    context: Context, connector_id: str, body: BrowseBody = _EVERYTHING
) -> list[CloudFile]:
    """Objects that match, as the store lists them, at most `limit`; without a body the first of all."""
    row = await context.database.read(catalog.get_connector, connector_id)
    glob, prefix = Glob(body.pattern), normal_prefix(body.prefix)
    storage = await context.open_storage(row)
    try:
        with anyio.fail_after(_LONGEST_BROWSE_SECONDS):
            return await _browsed(storage, glob, prefix, body)
    except TimeoutError:
        message = f"listing took more than {_LONGEST_BROWSE_SECONDS:g} s"
        raise ApiError(504, "browse_timed_out", message, "give a longer prefix or a smaller limit") from None


async def _browsed(storage: Storage, glob: Glob, prefix: str, body: BrowseBody) -> list[CloudFile]:
    found: list[CloudFile] = []
    async for page in storage.list(prefix, recursive=body.recursive):
        found += [_file(obj) for obj in page.objects if _matches(glob, prefix, obj.key)]
        if len(found) >= body.limit:
            break
    return found[: body.limit]


def _matches(glob: Glob, prefix: str, key: str) -> bool:
    rest = key.removeprefix(prefix).removeprefix("/")
    return glob.matches(rest or base_name(key), base_name(key))


def _file(obj: StorageObject) -> CloudFile:
    suffix = extension(obj.key)
    return CloudFile(
        path=obj.key,
        name=base_name(obj.key),
        size_bytes=obj.size_bytes,
        last_modified=iso(obj.modified_at),
        content_type=_content_types.guess_type(base_name(obj.key), strict=False)[0],
        extension=f".{suffix}" if suffix else "",
    )
