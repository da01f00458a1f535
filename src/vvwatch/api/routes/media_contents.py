"""Stream the originals of media from their stores, for a key or a link."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Query, Request, Response

from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.errors import HEADERS, STORAGE_ERRORS, ApiError
from vvwatch.api.http.links import MEDIA
from vvwatch.api.http.streams import StreamedFile, content_disposition
from vvwatch.core.content_types import content_type
from vvwatch.core.keys import Scope
from vvwatch.core.objects import base_name
from vvwatch.core.ranges import ByteRange, NoSuchRange, parse_range
from vvwatch.errors import Conflict, ObjectArchived, ObjectChanged, ObjectNotFound
from vvwatch.ports import Storage
from vvwatch.store.catalog import catalog
from vvwatch.store.imports import media_queries
from vvwatch.store.models.imports import Media

router = resource_router("videos")

_Token = Query(description="replaces a key, for this media item only: see media-grants")
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The original",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    },
    206: {"description": "The requested range"},
    410: {"description": "The original is gone"},
    416: {"description": "The range lies outside the file"},
}


@router.get(
    MEDIA.path,
    response_class=Response,
    responses=_BYTES,
    **extension(
        "The original of a media item",
        Scope.READ,
        errors=("media_changed", "media_archived", "media_gone", "range_not_satisfiable", *STORAGE_ERRORS),
    ),
)
async def get_content(
    context: Context,
    request: Request,
    video_id: str,
    token: Annotated[str | None, _Token] = None,  # noqa: ARG001  # checked by the route's guard
) -> Response:
    """Return the bytes of a media item from its connector, all or one range; never those of another version."""
    found = await Original.of(context, video_id)
    wanted = found.asked_for(request)
    if wanted is None:
        return StreamedFile(found.open_bytes(), found.row.size_bytes, found.headers)
    headers = found.headers | {"Content-Range": wanted.content_range(found.row.size_bytes)}
    return StreamedFile(found.open_bytes(wanted.start, wanted.length), wanted.length, headers, 206)


class Original:
    """The source object of a media row."""

    def __init__(self, row: Media, storage: Storage) -> None:
        self.row = row
        self.storage = storage
        self._etag = f'"{sha256(row.version.encode()).hexdigest()[:32]}"'

    @classmethod
    async def of(cls, context: ApiContext, video_id: str) -> Original:
        """Open the original. Raises NotFound, or ApiError (409, 410) if its connector is unavailable."""
        row, connector = await context.database.read(media_queries.find_source, video_id)
        if connector is None or connector.status == catalog.DELETED:
            raise _gone_error(video_id, "its connector was deleted")
        if connector.status == catalog.DISABLED:
            message = (
                f"connector {connector.id!r}, which holds the original of video {video_id!r}, is disabled"
            )
            raise Conflict(message, "set its status to active")
        return cls(row, await context.open_storage(connector))

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of every response."""
        return {
            "Content-Type": content_type(self.row.key),
            "Content-Disposition": content_disposition(file_name(self.row)),
            "Content-Security-Policy": "sandbox",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
            "Accept-Ranges": "bytes",
            "ETag": self._etag,
        }

    def asked_for(self, request: Request) -> ByteRange | None:
        """Return the requested range, None for the whole file. Raises ApiError (416)."""
        if request.headers.get("if-range", self._etag) != self._etag:
            return None
        size_bytes = self.row.size_bytes
        try:
            return parse_range(request.headers.get("range"), size_bytes)
        except NoSuchRange as error:
            request.scope.setdefault(HEADERS, {})["Content-Range"] = f"bytes */{size_bytes}"
            raise ApiError(416, "range_not_satisfiable", error.message, error.hint) from None

    @asynccontextmanager
    async def open_bytes(
        self, start: int = 0, length: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the bytes like `Storage.stream`. Raises ApiError if they changed or are gone."""
        row = self.row
        with translate_errors(row.id):
            async with self.storage.stream(row.key, row.version, start, length) as chunks:
                yield chunks


@contextmanager
def translate_errors(video_id: str) -> Iterator[None]:
    """Translate storage errors into responses that say whether a retry helps."""
    try:
        yield
    except ObjectNotFound:
        raise _gone_error(video_id, "it was removed or moved") from None
    except ObjectChanged:
        message = f"the original of video {video_id!r} was replaced by another version"
        raise ApiError(409, "media_changed", message, "the imported results stay") from None
    except ObjectArchived as error:
        raise ApiError(409, "media_archived", error.message, error.hint) from None


def _gone_error(video_id: str, why: str) -> ApiError:
    return ApiError(410, "media_gone", f"the original of video {video_id!r} is gone", why)


def file_name(row: Media) -> str:
    """Return the file name of a media row's original."""
    return base_name(row.key) or row.id
