"""A container of Azure Blob Storage as a storage. A blob's version is its ETag, which any write to it changes."""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

from anyio import Lock, Semaphore
from azure.core.rest import AsyncHttpResponse

from vvwatch.core.objects import StorageObject
from vvwatch.errors import ObjectNotFound, OutsideLocation, StorageUnavailable
from vvwatch.ports import Capabilities
from vvwatch.storage.azure_client import (
    NOTHING_IN_RANGE,
    AzureAccountKey,
    AzureClient,
    AzureClientSecret,
    AzureLocation,
    Request,
)
from vvwatch.storage.azure_errors import CREATE, DELETE, LATER, LIST, READ, Operation, strange
from vvwatch.storage.azure_listing import ParsedPage, epoch_seconds, parsed_page, usable
from vvwatch.storage.listing import ListedPage
from vvwatch.storage.remote import Incoming, RemoteStorage, read_parts
from vvwatch.storage.spool import Spool

__all__ = ["AzureAccountKey", "AzureClientSecret", "AzureLocation", "AzureStorage"]

_PAGE_BLOBS: Final = 5_000
_PAGES_RECEIVED: Final = 3
"""How many pages arrive at a time, each of some MiB; others that were asked for wait, paused."""
"""The most that Azure gives at once."""

_MOST_PAGE_BYTES: Final = 32 << 20
"""More than a page of the longest names has."""

_ATTEMPTS: Final = 3
_PART_BYTES: Final = 8 << 20
_MOST_PARTS: Final = 50_000


class AzureStorage(RemoteStorage):
    """The blobs of one container. Make it in a worker thread; raises as `AzureClient`.

    A backslash, and a segment '.' or '..', is something else for Azure than for us: such keys are listed as
    irregular, are not found, and cannot be created. A listing's price is that of list operations in the hot tier,
    https://azure.microsoft.com/pricing/details/storage/blobs.
    """

    capabilities = Capabilities(atomic_writes=True, list_usd=0.055 / 10_000)

    def __init__(
        self, location: AzureLocation, credentials: AzureClientSecret | AzureAccountKey | None, spool: Spool
    ) -> None:
        super().__init__(spool)
        self._client = AzureClient(location, credentials)
        self._parsing = Lock()
        self._receiving = Semaphore(_PAGES_RECEIVED)

    def uri(self, key: str) -> str:
        """The https address of `key`."""
        return self._client.address.of(key)

    async def pages(self, prefix: str, *, level: bool = False, after: str = "") -> AsyncGenerator[ListedPage]:  # noqa: ARG002  # Azure has no such start
        """As `Lister.pages`."""
        marker, folders = "", set[str]()
        while True:
            page = await self._page(prefix, "/" if level else "", marker)
            fresh = [folder for folder in page.listed.folders if folder not in folders]
            folders.update(fresh)
            yield ListedPage(page.listed.objects, fresh, page.listed.irregular)
            if not page.next_marker:
                return
            if page.next_marker == marker:
                raise StorageUnavailable(f"the listing of {self.uri('')!r} repeats itself", LATER)
            marker = page.next_marker

    async def stat(self, key: str) -> StorageObject:
        """As `Storage.stat`."""
        return await self._stat(key, {})

    @asynccontextmanager
    async def opened(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[Incoming]:
        """As `RemoteStorage.opened`."""
        _require_findable(key)
        headers = _if_match(version)
        if start or length is not None:
            headers["x-ms-range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        async with self._client.answer(READ, Request("GET", key, headers=headers)) as response:
            if response.status_code == NOTHING_IN_RANGE:
                found = await self._stat(key, _if_match(version))
                yield Incoming(found.size_bytes, _nothing())
                return
            try:
                size, md5 = _stretch(response.headers, start)
            except (ValueError, LookupError):
                raise strange(self._client.asked(READ, key)) from None
            async with aclosing(self._client.chunks(READ, key, response)) as chunks:
                yield Incoming(size, chunks, md5)

    async def create(self, key: str, source: Path, size_bytes: int, sha256: str, content_type: str) -> None:
        """As `RemoteStorage.create`. Blocks of a failed upload are nowhere to be seen and go within a week."""
        if not usable(key):
            raise OutsideLocation(
                f"{self.uri(key)!r} cannot be created: Azure would make another name of {key!r}"
            )
        headers = {
            "If-None-Match": "*",
            "x-ms-blob-content-type": content_type,
            "x-ms-meta-sha256": sha256,
        }
        if size_bytes > _PART_BYTES:
            blocks = await self._staged(key, source, size_bytes)
            request = Request("PUT", key, {"comp": "blocklist"}, headers, blocks)
        else:
            content = b"".join([part async for part in read_parts(source, _PART_BYTES)])
            request = Request("PUT", key, {}, headers | {"x-ms-blob-type": "BlockBlob"}, content)
        await self._done(CREATE, request)

    async def remove(self, key: str, version: str) -> None:
        """As `RemoteStorage.remove`."""
        _require_findable(key)
        await self._done(DELETE, Request("DELETE", key, headers=_if_match(version)))

    async def aclose(self) -> None:
        """As `Storage.aclose`."""
        await self._client.aclose()

    async def _page(self, prefix: str, delimiter: str, marker: str) -> ParsedPage:
        query = {"restype": "container", "comp": "list", "maxresults": str(_PAGE_BLOBS)}
        query |= {"prefix": prefix, "delimiter": delimiter, "marker": marker}
        body = await self._body(Request("GET", query={name: value for name, value in query.items() if value}))
        try:
            async with (
                self._parsing
            ):  # one page at a time: else a turn of the loop is as long as there are pages
                return await parsed_page(body)
        except ValueError as error:
            raise StorageUnavailable(
                f"the listing of {self.uri('')!r} cannot be understood: {error}",
                f"check endpoint_url and proxy; {LATER}",
            ) from None

    async def _body(self, request: Request) -> bytes:
        """The body of a listing. One that breaks off is asked for again: the SDK's own attempts end before it."""
        attempts = 0
        while True:
            attempts += 1
            async with self._client.answer(LIST, request) as response:
                self.heard(response.headers.get("Date"))
                try:
                    async with self._receiving:
                        return await self._collected(response)
                except StorageUnavailable:
                    if attempts == _ATTEMPTS:
                        raise

    async def _collected(self, response: AsyncHttpResponse) -> bytes:
        chunks, size_bytes = list[bytes](), 0
        async for chunk in self._client.chunks(LIST, "", response):
            chunks.append(chunk)
            size_bytes += len(chunk)
            if size_bytes > _MOST_PAGE_BYTES:
                raise strange(self._client.asked(LIST))
        return b"".join(chunks)

    async def _stat(self, key: str, condition: Mapping[str, str]) -> StorageObject:
        _require_findable(key)
        headers = await self._done(READ, Request("HEAD", key, headers=condition))
        if headers.get("x-ms-resource-type") == "directory":
            raise ObjectNotFound(f"{self.uri(key)!r} is a folder")
        try:
            return _described(key, headers)
        except (ValueError, LookupError):
            raise strange(self._client.asked(READ, key)) from None

    async def _staged(self, key: str, source: Path, size_bytes: int) -> bytes:
        """The list of the file's blocks, which now wait to be made a blob.

        Their ids are of this upload only: two uploads to one key never mix.
        """
        upload = secrets.token_hex(8)
        blocks: list[str] = []
        part_bytes = max(_PART_BYTES, -(-size_bytes // _MOST_PARTS))
        async for part in read_parts(source, part_bytes):
            block = b64encode(f"{upload}-{len(blocks):05}".encode()).decode()
            await self._done(CREATE, Request("PUT", key, {"comp": "block", "blockid": block}, content=part))
            blocks.append(f"<Uncommitted>{block}</Uncommitted>")
        return f"<BlockList>{''.join(blocks)}</BlockList>".encode()

    async def _done(self, operation: Operation, request: Request) -> Mapping[str, str]:
        """The headers of the answer, whose body nobody needs: read to its end, so that the connection can go on."""
        async with self._client.answer(operation, request) as response:
            async for _ in self._client.chunks(operation, request.key, response):
                pass
            return response.headers


def _require_findable(key: str) -> None:
    if not usable(key):
        raise ObjectNotFound(f"{key!r} is no key that Azure can have")


def _if_match(version: str) -> dict[str, str]:
    return {"If-Match": f'"{version}"'}


def _described(key: str, headers: Mapping[str, str]) -> StorageObject:
    version, at = headers["ETag"].strip('"'), epoch_seconds(headers["Last-Modified"])
    archived = headers.get("x-ms-access-tier") == "Archive"
    if not version:
        raise ValueError("no ETag")
    return StorageObject(key, version, int(headers["Content-Length"]), at, at, archived)


def _stretch(headers: Mapping[str, str], start: int) -> tuple[int, bytes | None]:
    """The size of the whole blob and its MD5, from the headers of an answer that begins at `start`."""
    size, md5 = headers["Content-Length"], headers.get("x-ms-blob-content-md5")
    if content_range := headers.get("Content-Range"):
        stretch, _, size = content_range.removeprefix("bytes ").partition("/")
        begins = int(stretch.partition("-")[0])
    else:
        begins, md5 = 0, md5 or headers.get("Content-MD5")
    if begins != start:
        raise ValueError("another stretch than was asked for")
    return int(size), _digest(md5)


def _digest(md5: str | None) -> bytes | None:
    """What cannot be an MD5 vouches for nothing: whoever writes a blob may write any there."""
    try:
        digest = b64decode(md5 or "", validate=True)
    except ValueError:
        return None
    return digest if len(digest) == 16 else None


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
