"""An Azure Blob Storage container as a storage. A blob's version is its ETag, which any write changes."""

from __future__ import annotations

import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from email.utils import formatdate
from html import unescape
from pathlib import Path
from typing import Final

from anyio import Lock, Semaphore

from vvwatch.core.objects import StorageObject
from vvwatch.core.store_notes import Oddity
from vvwatch.errors import ObjectNotFound, OutsideLocation, StorageError, StorageUnavailable
from vvwatch.ports import Capabilities, ObjectFacts
from vvwatch.providers.azure.client import (
    NOTHING_IN_RANGE,
    AzureAccountKey,
    AzureClient,
    AzureClientSecret,
    AzureLocation,
    Request,
)
from vvwatch.providers.azure.errors import CREATE, DELETE, LIST, READ, REPLACE, Operation, unexpected_response
from vvwatch.providers.azure.listing import ParsedPage, epoch_seconds, is_usable_key, parse_in_steps
from vvwatch.providers.failures import LATER
from vvwatch.providers.listing import Continuations, ListedPage
from vvwatch.providers.parts import read_parts
from vvwatch.providers.remote import Incoming, RemoteStorage
from vvwatch.providers.replies import ReplyRefused, ReplyTooLarge
from vvwatch.providers.spool import Spool
from vvwatch.providers.versions import bare_etag, is_timed, split_version, version_of

__all__ = ["AzureAccountKey", "AzureClientSecret", "AzureLocation", "AzureStorage"]

_PAGE_BLOBS: Final = 5_000
"""The largest page that Azure gives."""
_PAGES_RECEIVED: Final = 3
"""How many pages, of some MiB each, arrive at a time; other responses wait, paused."""
_MOST_HALVINGS: Final = 2
"""A page of a quarter of the blobs has room for the longest names."""

_ATTEMPTS: Final = 3
_PART_BYTES: Final = 8 << 20
_MOST_PARTS: Final = 50_000
_META: Final = "x-ms-meta-"
_TAG: Final = re.compile(r"<Tag>\s*<Key>([^<]*)</Key>\s*<Value>([^<]*)</Value>")


class AzureStorage(RemoteStorage):
    """The blobs of one container. Create it in a worker thread; raises as `AzureClient`.

    Azure rewrites backslashes and '.' or '..' segments: such keys are listed as irregular, are never found, and
    cannot be created. The listing price is that of the hot tier,
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
        self._halvings = 0

    def uri(self, key: str) -> str:
        """Return the https address of `key`."""
        return self._client.address.of(key)

    async def pages(self, prefix: str, *, level: bool = False, after: str = "") -> AsyncGenerator[ListedPage]:  # noqa: ARG002  # Azure has no such start
        """As `Lister.pages`."""
        marker, folders = "", set[str]()
        continuations = Continuations(repr(self.uri("")))
        while True:
            page = await self._page(prefix, "/" if level else "", marker)
            self._note_versions(page.listed.objects)
            fresh = [folder for folder in page.listed.folders if folder not in folders]
            folders.update(fresh)
            yield ListedPage(page.listed.objects, fresh, page.listed.irregular)
            if not page.next_marker:
                return
            continuations.follow(page.next_marker, page.listed)
            marker = page.next_marker

    async def stat(self, key: str) -> StorageObject:
        """As `Storage.stat`."""
        there = await self._stat(key, {})
        if Oddity.NO_VERSIONS not in self.notes.odd:
            return there
        page = await self._page(key, "", "")
        listed = next((obj for obj in page.listed.objects if obj.key == key), there)
        same = listed[2:4] == there[2:4]
        return there._replace(version=listed.version) if same else there

    async def facts(self, key: str, version: str) -> ObjectFacts:
        """As `Storage.facts`: the metadata of a HEAD; tags, if there are any, cost another request."""
        _require_findable(key)
        headers = await self._send(READ, Request("HEAD", key, headers=_version_condition(version)))
        lower = {name.lower(): value for name, value in headers.items()}
        metadata = {name[len(_META) :]: value for name, value in lower.items() if name.startswith(_META)}
        if not int(lower.get("x-ms-tag-count", "0") or 0):
            return ObjectFacts(metadata)
        try:
            async with self._client.answer(READ, Request("GET", key, {"comp": "tags"})) as response:
                body = await self._client.whole(READ, key, response)
        except StorageUnavailable:
            raise
        except StorageError as error:
            return ObjectFacts(metadata, warnings=(f"its tags cannot be read: {error.message}",))
        found = _TAG.findall(body.decode("utf-8", "replace"))
        return ObjectFacts(metadata, {unescape(name): unescape(value) for name, value in found})

    @asynccontextmanager
    async def opened(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[Incoming]:
        """As `RemoteStorage.opened`."""
        _require_findable(key)
        headers = _version_condition(version)
        if start or length is not None:
            headers["x-ms-range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        async with self._client.answer(READ, Request("GET", key, headers=headers)) as response:
            if response.status_code == NOTHING_IN_RANGE:
                found = await self._stat_version(key, version)
                yield Incoming(found.size_bytes, _no_chunks())
                return
            try:
                size, md5 = _read_content_range(response.headers, start)
                if is_timed(version):
                    at = epoch_seconds(response.headers["Last-Modified"])
                    self._require_version(key, version, version_of("", at, size))
            except (ValueError, LookupError):
                raise unexpected_response(self._client.asked(READ, key)) from None
            async with aclosing(self._client.chunks(READ, key, response)) as chunks:
                yield Incoming(size, chunks, md5)
        if is_timed(version):  # nothing in the response shows that it was not replaced meanwhile
            await self._stat_version(key, version)

    async def create(
        self, key: str, source: Path, size_bytes: int, sha256: str, content_type: str, over: str = ""
    ) -> None:
        """As `RemoteStorage.create`. Blocks of a failed upload stay invisible and expire within a week."""
        if not is_usable_key(key):
            raise OutsideLocation(
                f"{self.uri(key)!r} cannot be created: Azure would make another name of {key!r}"
            )
        operation = REPLACE if over else CREATE
        headers = (_version_condition(over) if over else {"If-None-Match": "*"}) | {
            "x-ms-blob-content-type": content_type,
            "x-ms-meta-sha256": sha256,
        }
        if size_bytes > _PART_BYTES:
            blocks = await self._stage_blocks(key, source, size_bytes)
            request = Request("PUT", key, {"comp": "blocklist"}, headers, blocks)
        else:
            content = b"".join([part async for part in read_parts(source, _PART_BYTES)])
            request = Request("PUT", key, {}, headers | {"x-ms-blob-type": "BlockBlob"}, content)
        await self._send(operation, request)

    async def remove(self, key: str, version: str) -> None:
        """As `RemoteStorage.remove`."""
        _require_findable(key)
        if is_timed(version):
            await self._stat_version(key, version)
        await self._send(DELETE, Request("DELETE", key, headers=_version_condition(version)))

    async def aclose(self) -> None:
        """As `Storage.aclose`."""
        await self._client.aclose()

    def _note_versions(self, objects: Sequence[StorageObject]) -> None:
        """Note blobs without an ETag: their version is a time, which events do not carry."""
        if any(is_timed(obj.version) for obj in objects):
            self.notes.note(Oddity.NO_VERSIONS)
            self.notes.versions_shown = False

    async def _page(self, prefix: str, delimiter: str, marker: str) -> ParsedPage:
        query = {"restype": "container", "comp": "list", "prefix": prefix}
        query |= {"delimiter": delimiter, "marker": marker}
        body = await self._page_body({name: value for name, value in query.items() if value})
        try:
            async with (
                self._parsing
            ):  # one page at a time: else a turn of the loop is as long as there are pages
                return await parse_in_steps(body)
        except ValueError as error:
            raise StorageUnavailable(
                f"the listing of {self.uri('')!r} cannot be understood: {error}",
                f"check endpoint_url and proxy; {LATER}",
            ) from None

    async def _page_body(self, query: Mapping[str, str]) -> bytes:
        """Return the body of a page; use smaller pages from now on if one is too large."""
        while True:
            halvings = self._halvings
            wanted = {**query, "maxresults": str(_PAGE_BLOBS >> halvings)}
            try:
                return await self._body(Request("GET", query=wanted))
            except ReplyTooLarge:
                if halvings == _MOST_HALVINGS:
                    raise
                self._halvings = max(self._halvings, halvings + 1)

    async def _body(self, request: Request) -> bytes:
        """Return the body of a listing; retry one that breaks off, which the SDK does not."""
        attempts = 0
        while True:
            attempts += 1
            async with self._client.answer(LIST, request) as response:
                self.note_server_date(response.headers.get("Date"))
                try:
                    async with self._receiving:
                        return await self._client.whole(LIST, "", response)
                except ReplyRefused:
                    raise
                except StorageUnavailable:
                    if attempts == _ATTEMPTS:
                        raise

    async def _stat(self, key: str, condition: Mapping[str, str]) -> StorageObject:
        _require_findable(key)
        headers = await self._send(READ, Request("HEAD", key, headers=condition))
        if headers.get("x-ms-resource-type") == "directory":
            raise ObjectNotFound(f"{self.uri(key)!r} is a folder")
        try:
            return _to_object(key, headers)
        except (ValueError, LookupError):
            raise unexpected_response(self._client.asked(READ, key)) from None

    async def _stage_blocks(self, key: str, source: Path, size_bytes: int) -> bytes:
        """Return the block list of the uploaded, uncommitted file.

        Block ids belong to one upload: two uploads to one key never mix.
        """
        upload = secrets.token_hex(8)
        blocks: list[str] = []
        part_bytes = max(_PART_BYTES, -(-size_bytes // _MOST_PARTS))
        async for part in read_parts(source, part_bytes):
            block = b64encode(f"{upload}-{len(blocks):05}".encode()).decode()
            await self._send(CREATE, Request("PUT", key, {"comp": "block", "blockid": block}, content=part))
            blocks.append(f"<Uncommitted>{block}</Uncommitted>")
        return f"<BlockList>{''.join(blocks)}</BlockList>".encode()

    async def _send(self, operation: Operation, request: Request) -> Mapping[str, str]:
        """Return the response headers; read the unused body to its end, so the connection can be reused."""
        async with self._client.answer(operation, request) as response:
            await self._client.whole(operation, request.key, response)
            return response.headers


def _require_findable(key: str) -> None:
    if not is_usable_key(key):
        raise ObjectNotFound(f"{key!r} is no key that Azure can have")


def _version_condition(version: str) -> dict[str, str]:
    """Return the condition that only this version meets, as far as a request can express it."""
    modified = split_version(version).modified
    if modified is None:
        return {"If-Match": f'"{version}"'}
    return {"If-Unmodified-Since": formatdate(modified, usegmt=True)}


def _to_object(key: str, headers: Mapping[str, str]) -> StorageObject:
    at, size = epoch_seconds(headers["Last-Modified"]), int(headers["Content-Length"])
    archived = headers.get("x-ms-access-tier") == "Archive"
    return StorageObject(
        key, bare_etag(headers.get("ETag")) or version_of("", at, size), size, at, at, archived
    )


def _read_content_range(headers: Mapping[str, str], start: int) -> tuple[int, bytes | None]:
    """Return the blob's size and MD5 from the headers of a response that begins at `start`."""
    size, md5 = headers["Content-Length"], headers.get("x-ms-blob-content-md5")
    if content_range := headers.get("Content-Range"):
        stretch, _, size = content_range.removeprefix("bytes ").partition("/")
        begins = int(stretch.partition("-")[0])
    else:
        begins, md5 = 0, md5 or headers.get("Content-MD5")
    if begins != start:
        raise ValueError("another stretch than requested")
    return int(size), _decode_md5(md5)


def _decode_md5(md5: str | None) -> bytes | None:
    """Return the MD5; None if it cannot be one, since any writer of a blob may set it."""
    try:
        digest = b64decode(md5 or "", validate=True)
    except ValueError:
        return None
    return digest if len(digest) == 16 else None


async def _no_chunks() -> AsyncIterator[bytes]:
    return
    yield b""
