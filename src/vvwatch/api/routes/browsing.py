"""Browse the objects of a connector."""

from __future__ import annotations

from mimetypes import MimeTypes
from typing import Annotated, Final

import anyio
from pydantic import Field

from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.wire import Body, Resource
from vvwatch.core.events import to_iso
from vvwatch.core.globs import Glob
from vvwatch.core.locations import normal_prefix
from vvwatch.core.objects import StorageObject, base_name, extension
from vvwatch.ports import Storage
from vvwatch.workflow.listings import closing

_MAX_BROWSED: Final = 10_000
_MAX_SECONDS: Final = 30.0  # clients give up after a minute
_content_types: Final = MimeTypes()  # the built-in table: the same on every machine


class BrowseBody(Body):
    """What to list; `prefix` may be a whole key."""

    prefix: Annotated[str, Field(max_length=4096)] = ""
    pattern: str = "*"
    recursive: bool = True
    limit: Annotated[int, Field(ge=1, le=_MAX_BROWSED)] = 1000


class CloudFile(Resource):
    """An object of a connector. `extension` includes the dot, or is empty."""

    path: str
    name: str
    size_bytes: int
    last_modified: str
    content_type: str | None
    extension: str


async def browse(storage: Storage, body: BrowseBody) -> list[CloudFile]:
    """Return matching objects in the store's order. Raises InvalidInput, ApiError (504) and listing errors."""
    glob, prefix = Glob(body.pattern), normal_prefix(body.prefix)
    try:
        with anyio.fail_after(_MAX_SECONDS):
            return await _find_files(storage, glob, prefix, body)
    except TimeoutError:
        message = f"listing took more than {_MAX_SECONDS:g} s"
        raise ApiError(504, "browse_timed_out", message, "use a longer prefix or a smaller limit") from None


async def _find_files(storage: Storage, glob: Glob, prefix: str, body: BrowseBody) -> list[CloudFile]:
    found: list[CloudFile] = []
    async with closing(storage.list(prefix, recursive=body.recursive)) as pages:
        async for page in pages:
            found += [_to_file(obj) for obj in page.objects if _matches(glob, prefix, obj.key)]
            if len(found) >= body.limit:
                break
    return found[: body.limit]


def _matches(glob: Glob, prefix: str, key: str) -> bool:
    rest = key.removeprefix(prefix).removeprefix("/")
    return glob.matches(rest or base_name(key), base_name(key))


def _to_file(obj: StorageObject) -> CloudFile:
    suffix = extension(obj.key)
    return CloudFile(
        path=obj.key,
        name=base_name(obj.key),
        size_bytes=obj.size_bytes,
        last_modified=to_iso(obj.modified_at),
        content_type=_content_types.guess_type(base_name(obj.key), strict=False)[0],
        extension=f".{suffix}" if suffix else "",
    )
