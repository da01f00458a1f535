"""Create objects in S3: small ones in one request, large ones in parallel parts."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Final

from anyio import move_on_after, to_thread

from vvwatch.errors import StorageError
from vvwatch.providers.parts import NewObject, read_parts
from vvwatch.providers.s3.client import S3Client
from vvwatch.providers.s3.errors import ABORT, CREATE, REPLACE, Operation
from vvwatch.providers.s3.tasks import run_in_parallel

PART_BYTES: Final = 8 << 20
"""The content of one request; very large objects have larger parts."""

_MOST_PARTS: Final = 10_000
_PARTS_AT_ONCE: Final = 3
_ABORT_SECONDS: Final = 10.0
_ABSENT: Final = {"IfNoneMatch": "*"}


async def upload_object(client: S3Client, new: NewObject, condition: Mapping[str, str] | None = None) -> None:
    """Create the object whole or not at all; the `condition` is that its key is free unless another one is given.

    Raises ObjectExists, or ObjectChanged for one that replaces another, if the store supports that condition.
    """
    condition = _ABSENT if condition is None else condition
    operation = REPLACE if new.over else CREATE
    if new.size_bytes > PART_BYTES:
        await _upload_parts(client, new, condition, operation)
        return
    body = await _body_with_digest(b"".join([part async for part in read_parts(new.source, PART_BYTES)]))
    await client.ask_if(condition, "put_object", operation, new.key, **body, **_describe(new))


async def _upload_parts(
    client: S3Client, new: NewObject, condition: Mapping[str, str], operation: Operation
) -> None:
    made = await client.ask("create_multipart_upload", CREATE, new.key, **_describe(new))
    upload_id = made["UploadId"]
    try:
        parts = {"Parts": await _send_parts(client, new, upload_id)}
        request = "complete_multipart_upload"
        await client.ask_if(condition, request, operation, new.key, UploadId=upload_id, MultipartUpload=parts)
    except BaseException:
        with move_on_after(_ABORT_SECONDS, shield=True), suppress(StorageError):  # else its parts cost money
            await client.ask("abort_multipart_upload", ABORT, new.key, UploadId=upload_id)
        raise


async def _send_parts(client: S3Client, new: NewObject, upload_id: str) -> list[dict[str, Any]]:
    """Send all parts; return the part list that completes the upload."""
    etags: dict[int, str] = {}

    async def send(part: tuple[int, bytes]) -> None:
        number, content = part
        place = {"UploadId": upload_id, "PartNumber": number}
        answer = await client.ask("upload_part", CREATE, new.key, **place, **await _body_with_digest(content))
        etags[number] = answer["ETag"]

    await run_in_parallel(_PARTS_AT_ONCE, send, _number_parts(new))
    return [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]


async def _number_parts(new: NewObject) -> AsyncIterator[tuple[int, bytes]]:
    number = 0
    async for content in read_parts(new.source, max(PART_BYTES, -(-new.size_bytes // _MOST_PARTS))):
        number += 1
        yield number, content


async def _body_with_digest(content: bytes) -> dict[str, Any]:
    """Return the body with its digest: all servers check this one, and buckets with retention require one."""
    digest = await to_thread.run_sync(_digest_md5, content)
    return {"Body": content, "ContentMD5": b64encode(digest).decode()}


def _digest_md5(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


def _describe(new: NewObject) -> Mapping[str, Any]:
    """Return the object's metadata headers."""
    return {"ContentType": new.content_type, "Metadata": {"sha256": new.sha256}}
