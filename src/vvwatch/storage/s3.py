"""A bucket of S3, or of a store that speaks its protocol, as a storage."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from vvwatch.core.locations import check_key
from vvwatch.core.objects import StorageObject
from vvwatch.errors import (
    InvalidInput,
    ObjectNotFound,
    OutsideLocation,
    StorageError,
    StorageUnavailable,
)
from vvwatch.ports import Capabilities
from vvwatch.storage.listing import ListedPage
from vvwatch.storage.remote import Incoming, RemoteStorage
from vvwatch.storage.s3_client import Answer, S3Client, S3Credentials, S3Location
from vvwatch.storage.s3_errors import DELETE, READ, strange
from vvwatch.storage.s3_listing import ARCHIVED
from vvwatch.storage.s3_tasks import side_by_side
from vvwatch.storage.s3_upload import PART_BYTES, NewObject, upload
from vvwatch.storage.spool import Spool

__all__ = ["S3Credentials", "S3Location", "S3Storage"]

_LONGEST_KEY_BYTES: Final = 1_024
_CHUNK_BYTES: Final = 1 << 17
_HEADS_AT_ONCE: Final = 8
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_T = TypeVar("_T")


class S3Storage(RemoteStorage):
    """The objects of a bucket. Without credentials it is asked as whoever this machine is.

    A listing's price is that of us-east-1, https://aws.amazon.com/s3/pricing.
    """

    capabilities = Capabilities(
        atomic_writes=True, start_after=True, versions_recur=True, list_usd=0.005 / 1_000
    )

    def __init__(self, location: S3Location, credentials: S3Credentials | None, spool: Spool) -> None:
        super().__init__(spool)
        self._location = location
        self._client = S3Client(location, credentials)
        self._directory = location.bucket.endswith("--x-s3")
        self.any_prefix = not self._directory
        if self._directory:  # it lists in no order, and knows no StartAfter
            self.capabilities = replace(self.capabilities, start_after=False)

    def uri(self, key: str) -> str:
        """As `Storage.uri`."""
        return self._client.address.of(key)

    async def pages(self, prefix: str, *, level: bool = False, after: str = "") -> AsyncGenerator[ListedPage]:
        """As `Lister.pages`."""
        asked = ({"Delimiter": "/"} if level else {}) | ({"StartAfter": after} if after else {})
        folders: set[str] = set()
        tokens: set[str] = set()
        while True:
            listing, date = await self._client.list(prefix, asked)
            self.heard(date)
            yield _fresh(listing.page, folders)
            token = listing.next_token
            if not token:
                return
            if token in tokens:
                raise strange(f"{self.uri(prefix)!r} cannot be listed", "its listing goes round in a circle")
            tokens.add(token)
            asked["ContinuationToken"] = token

    async def stat(self, key: str) -> StorageObject:
        """As `Storage.stat`."""
        _require_possible(key, ObjectNotFound)
        answer = await self._client.head(key)
        modified = answer["LastModified"].timestamp()
        size = answer["ContentLength"]
        return StorageObject(key, f"{_etag(answer)}:{size}", size, modified, modified, _archived(answer))

    async def restored(self, keys: Sequence[str]) -> Collection[str]:
        """As `Storage.restored`; one that may not be looked at is none."""
        found: set[str] = set()

        async def look(key: str) -> None:
            try:
                archived = (await self.stat(key)).archived
            except StorageUnavailable:
                raise
            except StorageError:  # gone, denied, or encrypted with a key of someone's own
                return
            if not archived:
                found.add(key)

        await side_by_side(_HEADS_AT_ONCE, look, _each(keys))
        return found

    @asynccontextmanager
    async def opened(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[Incoming]:
        """As `RemoteStorage.opened`."""
        _require_possible(key, ObjectNotFound)
        etag, _, size = version.rpartition(":")
        if not size.isdecimal() or start >= int(size):  # there is nothing to send, and no range can say so
            there = await self._stat_version(key, version)
            yield Incoming(there.size_bytes, _each(()))
            return
        stretch = {} if length is None and not start else {"Range": _range(start, length)}
        answer = await self._client.ask("get_object", READ, key, IfMatch=f'"{etag}"', **stretch)
        with closing(answer["Body"]) as body:
            whole = self._whole_size(key, answer, start if stretch else None)
            self._require_version(key, version, f"{_etag(answer)}:{whole}")
            async with aclosing(self._chunks(key, body)) as chunks:
                yield Incoming(whole, chunks, self._md5(answer))

    async def create(self, key: str, source: Path, size_bytes: int, sha256: str, content_type: str) -> None:
        """As `RemoteStorage.create`."""
        _require_possible(key, OutsideLocation)
        if self._location.endpoint_url or size_bytes > PART_BYTES:
            await self._require_none(key)
        await upload(self._client, NewObject(key, source, size_bytes, sha256, content_type))

    async def remove(self, key: str, version: str) -> None:
        """As `RemoteStorage.remove`; where the bucket keeps old versions, it keeps this one as well."""
        await self._stat_version(key, version)  # not every compatible server minds the condition
        condition = {"IfMatch": '"{}"'.format(version.rpartition(":")[0])}
        await self._client.ask_if(condition, "delete_object", DELETE, key)

    async def aclose(self) -> None:
        """As `Storage.aclose`."""
        await self._client.aclose()

    async def _chunks(self, key: str, body: Any) -> AsyncGenerator[bytes]:
        with self._client.told(READ, key):
            async for chunk in body.iter_chunks(_CHUNK_BYTES):
                yield chunk

    def _whole_size(self, key: str, answer: Answer, start: int | None) -> int:
        """Of the object, of which all came, or what was asked for from `start` on."""
        if start is None:
            return int(answer["ContentLength"])
        said = re.fullmatch(rf"bytes {start}-\d+/(\d+)", answer.get("ContentRange", ""), re.ASCII)
        if said is None:
            raise strange(f"{self.uri(key)!r} cannot be read", "not the range came that was asked for")
        return int(said[1])

    def _md5(self, answer: Answer) -> bytes | None:
        """Of the whole object: its ETag, unless it was made of parts or encrypted with a key of someone's own."""
        own_key = "SSECustomerAlgorithm" in answer or answer.get("ServerSideEncryption", "AES256") != "AES256"
        etag = _etag(answer)  # a directory bucket's is anything
        return bytes.fromhex(etag) if _MD5.fullmatch(etag) and not own_key and not self._directory else None


async def _each(items: Iterable[_T]) -> AsyncIterator[_T]:
    for item in items:
        yield item


def _require_possible(key: str, error: type[StorageError]) -> None:
    try:
        check_key(key)
        possible = len(key.encode()) <= _LONGEST_KEY_BYTES
    except InvalidInput:
        possible = False
    if not possible:
        raise error(f"no object can stand at {key!r}", "keys are UTF-8 without NUL, of at most 1,024 bytes")


def _fresh(page: ListedPage, known: set[str]) -> ListedPage:
    """The page without folders that came before: some servers repeat them on the next page."""
    folders = [folder for folder in page.folders if folder not in known]
    known.update(folders)
    return ListedPage(page.objects, folders, page.irregular)


def _etag(answer: Answer) -> str:
    return str(answer["ETag"]).strip('"')


def _archived(answer: Answer) -> bool:
    """Whether the object has to be restored before it can be read."""
    restored = 'ongoing-request="false"' in answer.get("Restore", "")
    return not restored and (answer.get("StorageClass") in ARCHIVED or "ArchiveStatus" in answer)


def _range(start: int, length: int | None) -> str:
    return f"bytes={start}-{'' if length is None else start + length - 1}"
