"""Create objects in Cloud Storage: small ones in one request, large ones by a resumable upload."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from anyio import move_on_after, open_file
from gcloud.aio.storage.storage import choose_boundary, encode_multipart_formdata
from yarl import URL

from vvwatch.errors import StorageUnavailable
from vvwatch.providers.failures import LATER
from vvwatch.providers.gcs.errors import FAILURES, ServiceRefusal, is_transient, unexpected_response
from vvwatch.providers.gcs.session import Answer, GcsSession, Request
from vvwatch.providers.parts import NewObject

PART_BYTES: Final = 8 << 20
"""The part of an upload held in memory. The service requires a multiple of 256 KiB."""

_STANDSTILLS: Final = 5
_ABORT_SECONDS: Final = 5.0
_JSON: Final = "application/json; charset=UTF-8"


async def upload_object(session: GcsSession, new: NewObject) -> None:
    """Create the object whole or not at all; the service refuses with a 412 if its key is taken,
    or has not the generation `over`.

    Raises as `GcsSession` does.
    """
    if new.size_bytes <= PART_BYTES:
        await _upload_whole(session, new)
    else:
        await _upload_parts(session, new)


async def _upload_whole(session: GcsSession, new: NewObject) -> None:
    content = await _read_part(new.source, 0)
    parts = [({"Content-Type": _JSON}, _describe(new)), ({"Content-Type": new.content_type}, content)]
    body, content_type = encode_multipart_formdata(parts, choose_boundary())
    url = session.uploads(uploadType="multipart", ifGenerationMatch=new.over or "0")
    await session.ask(Request("POST", url, {"Content-Type": content_type}, body))


async def _upload_parts(session: GcsSession, new: NewObject) -> None:
    async with _open_upload(session, new) as url:
        start, standstills = 0, 0
        while True:
            answer = await _send_part(session, url, new, start)
            if answer.status != 308:
                return
            reached = _received_bytes(answer)
            standstills = standstills + 1 if reached <= start else 0
            if standstills > _STANDSTILLS:
                raise StorageUnavailable(f"the upload of {new.key!r} makes no progress", LATER)
            start = reached


@asynccontextmanager
async def _open_upload(session: GcsSession, new: NewObject) -> AsyncIterator[URL]:
    """Yield the address of a resumable upload; cancel the upload if the block fails."""
    headers = {
        "Content-Type": _JSON,
        "X-Upload-Content-Type": new.content_type,
        "X-Upload-Content-Length": str(new.size_bytes),
    }
    begin = session.uploads(uploadType="resumable", ifGenerationMatch=new.over or "0")
    answer = await session.ask(Request("POST", begin, headers, _describe(new)))
    try:
        url = session.at_root(answer.headers["Location"])
    except (LookupError, ValueError):
        raise unexpected_response(f"no upload of {new.key!r} can be started") from None
    try:
        yield url
    except BaseException:
        with move_on_after(_ABORT_SECONDS, shield=True), suppress(*FAILURES, StorageUnavailable):
            await session.ask_once(Request("DELETE", url))
        raise


async def _send_part(session: GcsSession, url: URL, new: NewObject, start: int) -> Answer:
    """Return the response to the part at `start`, or, without one, to a query of the upload's progress."""
    content = await _read_part(new.source, start)
    stretch = f"bytes {start}-{start + len(content) - 1}/{new.size_bytes}"
    headers = {"Content-Type": new.content_type, "Content-Range": stretch}
    try:
        return await session.ask_once(Request("PUT", url, headers, content))
    except FAILURES as error:
        if isinstance(error, ServiceRefusal) and error.status in (404, 410):
            raise StorageUnavailable(f"the store has given up the upload of {new.key!r}", LATER) from None
        if not is_transient(error):
            raise
    return await session.ask(Request("PUT", url, {"Content-Range": f"bytes */{new.size_bytes}"}))


def _received_bytes(answer: Answer) -> int:
    """Return how many bytes the service has; none without a Range."""
    stretch = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
    return int(stretch[1]) + 1 if stretch else 0


async def _read_part(source: Path, start: int) -> bytes:
    async with await open_file(source, "rb") as file:
        await file.seek(start)
        return await file.read(PART_BYTES)


def _describe(new: NewObject) -> bytes:
    """Return the object's metadata for the service."""
    metadata = {"name": new.key, "contentType": new.content_type, "metadata": {"sha256": new.sha256}}
    return json.dumps(metadata).encode()
