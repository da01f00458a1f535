"""A Google Cloud Storage bucket as a storage."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import aiohttp
from anyio import Lock, to_thread
from yarl import URL

from vvwatch.core.locations import bucket_address
from vvwatch.core.objects import StorageObject
from vvwatch.errors import ObjectNotFound, OutsideLocation, StorageError
from vvwatch.ports import Capabilities, ObjectFacts
from vvwatch.providers.gcs.errors import (
    CREATE,
    DELETE,
    LIST,
    READ,
    REPLACE,
    Operation,
    ServiceRefusal,
    translate_errors,
    unexpected_response,
)
from vvwatch.providers.gcs.listing import (
    LIST_FIELDS,
    OBJECT_FIELDS,
    ParsedPage,
    is_usable_key,
    parse_object,
    parse_page,
)
from vvwatch.providers.gcs.session import GcsLocation, GcsSession, Request
from vvwatch.providers.gcs.upload import PART_BYTES, upload_object
from vvwatch.providers.listing import Continuations, ListedPage
from vvwatch.providers.parts import NewObject
from vvwatch.providers.remote import Incoming, RemoteStorage
from vvwatch.providers.replies import LARGE_BYTES
from vvwatch.providers.spool import Spool

__all__ = ["GcsLocation", "GcsStorage"]

PAGE_KEYS: Final = 1_000
"""The page size; the service gives no more."""

_MD5: Final = re.compile(r"\bmd5=([A-Za-z0-9+/]{22}==)")


class GcsStorage(RemoteStorage):
    """The objects of a bucket. `credentials` is the JSON of a service account, or None for the machine's identity.

    Create it in a worker thread. Raises InvalidInput for unusable credentials. The listing price is that of Class A
    operations on standard storage, https://cloud.google.com/storage/pricing.
    """

    capabilities = Capabilities(atomic_writes=True, start_after=True, list_usd=0.05 / 10_000)

    def __init__(self, location: GcsLocation, credentials: str | None, spool: Spool) -> None:
        super().__init__(spool)
        self._bucket = location.bucket
        self._address = bucket_address("gs", location.bucket, location.endpoint_url)
        self._session = GcsSession(location, credentials)
        self._parsing = Lock()

    def uri(self, key: str) -> str:
        """As `Storage.uri`."""
        return self._address.of(key)

    async def pages(self, prefix: str, *, level: bool = False, after: str = "") -> AsyncGenerator[ListedPage]:
        """As `Lister.pages`."""
        first = url = self._session.objects(
            prefix=prefix,
            delimiter="/" * level,
            startOffset=after,
            maxResults=str(PAGE_KEYS),
            fields=LIST_FIELDS,
            prettyPrint="false",
        )
        folders: set[str] = set()
        continuations = Continuations(repr(self.uri(prefix)))
        while True:
            page, token = await self._page(prefix, url)
            yield _drop_repeats(page, folders, after)
            if not token:
                return
            continuations.follow(token, page)
            url = URL(f"{first}&pageToken={quote(token, safe='')}", encoded=True)

    async def stat(self, key: str) -> StorageObject:
        """As `Storage.stat`."""
        _require_usable(key, ObjectNotFound)
        with self._translate_errors(READ, key):
            answer = await self._session.ask(Request("GET", self._session.objects(key, fields=OBJECT_FIELDS)))
        try:
            return parse_object(answer.body)
        except ValueError:
            raise unexpected_response(f"{self.uri(key)!r} cannot be read") from None

    async def facts(self, key: str, version: str) -> ObjectFacts:
        """As `Storage.facts`, in one request; objects have no tags here."""
        _require_usable(key, ObjectNotFound)
        wanted = self._session.objects(key, ifGenerationMatch=version, fields="metadata")
        with self._translate_errors(READ, key):
            answer = await self._session.ask(Request("GET", wanted))
        try:
            metadata = json.loads(answer.body or b"{}").get("metadata", {})
            return ObjectFacts({str(name): str(value) for name, value in metadata.items()})
        except (ValueError, AttributeError):
            raise unexpected_response(f"the metadata of {self.uri(key)!r} cannot be read") from None

    @asynccontextmanager
    async def opened(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[Incoming]:
        """As `RemoteStorage.opened`; objects stored compressed arrive compressed."""
        _require_usable(key, ObjectNotFound)
        stretch = f"bytes={start}-{'' if length is None else start + length - 1}"
        headers = {"Accept-Encoding": "gzip"} | ({"Range": stretch} if start or length is not None else {})
        response = await self._response(key, version, headers)
        if response is None:
            there = await self._stat_version(key, version)
            yield Incoming(there.size_bytes, _no_chunks())
            return
        async with response, aclosing(self._chunks(response, key)) as chunks:
            self._require_version(key, version, response.headers.get("X-Goog-Generation", version))
            size = _read_size(response, start if "Range" in headers else None)
            if size is None:
                raise unexpected_response(f"{self.uri(key)!r} cannot be read")
            yield Incoming(size, chunks, _read_md5(response))

    async def create(
        self, key: str, source: Path, size_bytes: int, sha256: str, content_type: str, over: str = ""
    ) -> None:
        """As `RemoteStorage.create`."""
        _require_usable(key, OutsideLocation)
        if size_bytes > PART_BYTES and not over:
            await self._require_none(key)
        new = NewObject(key, source, size_bytes, sha256, content_type, over)
        with self._translate_errors(REPLACE if over else CREATE, key):
            await upload_object(self._session, new)

    async def remove(self, key: str, version: str) -> None:
        """As `RemoteStorage.remove`; a bucket with versioning keeps this version too."""
        await self._stat_version(key, version)  # some compatible servers ignore the condition
        with self._translate_errors(DELETE, key):
            await self._session.ask(Request("DELETE", self._session.objects(key, ifGenerationMatch=version)))

    async def aclose(self) -> None:
        """As `Storage.aclose`."""
        await self._session.aclose()

    async def _page(self, prefix: str, url: URL) -> ParsedPage:
        with self._translate_errors(LIST, prefix):
            answer = await self._session.ask(Request("GET", url))
        self.note_server_date(answer.headers.get("Date"))
        try:
            async with self._parsing:  # one page at a time: else one turn of the loop parses many
                if len(answer.body) > LARGE_BYTES:
                    return await to_thread.run_sync(parse_page, answer.body)
                return parse_page(answer.body)
        except ValueError:
            raise unexpected_response(f"{self.uri(prefix)!r} cannot be listed") from None

    async def _response(
        self, key: str, version: str, headers: dict[str, str]
    ) -> aiohttp.ClientResponse | None:
        """Return the response with the bytes; None if the range has none."""
        url = self._session.objects(key, alt="media", ifGenerationMatch=version)
        with self._translate_errors(READ, key):
            try:
                return await self._session.open(Request("GET", url, headers, raw=True))
            except ServiceRefusal as refused:
                if refused.status != 416:
                    raise
        return None

    async def _chunks(self, response: aiohttp.ClientResponse, key: str) -> AsyncGenerator[bytes]:
        with self._translate_errors(READ, key):
            async for chunk in response.content.iter_any():
                yield chunk

    def _translate_errors(self, operation: Operation, key: str) -> AbstractContextManager[None]:
        return translate_errors(operation, self._bucket, self.uri(key))


def _require_usable(key: str, error: type[StorageError]) -> None:
    if not is_usable_key(key):
        raise error(f"no object can have the key {key!r}", "keys are UTF-8 without NUL, and not '.' or '..'")


def _drop_repeats(page: ListedPage, known: set[str], after: str) -> ListedPage:
    """Return the page without repeated folders and without keys up to `after`."""
    folders = [folder for folder in dict.fromkeys(page.folders) if folder not in known]
    known.update(folders)
    objects = [obj for obj in page.objects if obj.key > after] if after else page.objects
    return ListedPage(objects, folders, page.irregular)


def _read_size(response: aiohttp.ClientResponse, start: int | None) -> int | None:
    """Return the size of the whole object; None if the response is not what was requested."""
    if start is None:
        said = response.headers.get("X-Goog-Stored-Content-Length") or response.headers.get("Content-Length")
        return int(said) if response.status == 200 and said and said.isdecimal() else None
    stretch = re.fullmatch(rf"bytes {start}-\d+/(\d+)", response.headers.get("Content-Range", ""))
    return int(stretch[1]) if response.status == 206 and stretch else None


def _read_md5(response: aiohttp.ClientResponse) -> bytes | None:
    """Return the stated MD5; composed objects have none."""
    found = _MD5.search(",".join(response.headers.getall("X-Goog-Hash", ())))
    return b64decode(found[1]) if found else None


async def _no_chunks() -> AsyncGenerator[bytes]:
    return
    yield b""
