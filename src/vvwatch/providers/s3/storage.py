"""A bucket of S3 or of a compatible store as a storage."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from vvwatch.core.locations import check_key
from vvwatch.core.objects import StorageObject
from vvwatch.core.store_notes import Oddity
from vvwatch.errors import (
    InvalidInput,
    ObjectChanged,
    ObjectNotFound,
    OutsideLocation,
    StorageError,
    StorageUnavailable,
)
from vvwatch.ports import Capabilities, ObjectFacts
from vvwatch.providers.listing import Continuations, ListedPage
from vvwatch.providers.parts import NewObject
from vvwatch.providers.remote import Incoming, RemoteStorage
from vvwatch.providers.s3.client import Answer, S3Client, S3Credentials, S3Location
from vvwatch.providers.s3.entries import ListedEntries, describe_object, etag_of, is_complete
from vvwatch.providers.s3.errors import DELETE, READ, READ_TAGS, ArgumentRefused, unexpected_response
from vvwatch.providers.s3.listing import LONGEST_KEY_BYTES
from vvwatch.providers.s3.reading import PartRequest, read_part
from vvwatch.providers.s3.tasks import run_in_parallel
from vvwatch.providers.s3.upload import PART_BYTES, upload_object
from vvwatch.providers.spool import Spool
from vvwatch.providers.versions import split_version, version_of

__all__ = ["S3Credentials", "S3Location", "S3Storage"]

_CHUNK_BYTES: Final = 1 << 17
_HEADS_AT_ONCE: Final = 8
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_T = TypeVar("_T")


class S3Storage(RemoteStorage):
    """The objects of a bucket. Without credentials the machine's identity applies.

    The listing price is that of us-east-1, https://aws.amazon.com/s3/pricing.
    """

    capabilities = Capabilities(
        atomic_writes=True, start_after=True, versions_recur=True, list_usd=0.005 / 1_000
    )

    def __init__(self, location: S3Location, credentials: S3Credentials | None, spool: Spool) -> None:
        super().__init__(spool)
        self._location = location
        self._client = S3Client(location, credentials)
        self.notes.versions_shown = promised = not location.endpoint_url
        self._listing = ListedEntries(self._client, self.notes, promised=promised)
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
        continuations = Continuations(repr(self.uri(prefix)))
        while True:
            listing, date = await self._client.list(prefix, asked)
            self.note_server_date(date)
            if listing.page.objects:
                self.notes.versions_shown = self._listing.shown_by(listing.page)
            yield _drop_repeats(listing.page, folders)
            token = listing.next_token
            if not token:
                return
            continuations.follow(token, listing.page)
            asked["ContinuationToken"] = token

    async def stat(self, key: str) -> StorageObject:
        """As `Storage.stat`. The version is the listed one; a compatible store gets a HEAD and a listing."""
        _require_possible(key, ObjectNotFound)
        answer = await self._client.head(key)
        if self._listing.agrees and is_complete(answer):
            return describe_object(key, answer)
        with suppress(StorageError):  # who may read need not have the right to list
            listed = await self._listing.entry(key)
            if listed is not None:
                return self._listing.judged(listed, key, answer)
        return describe_object(key, answer)

    async def facts(self, key: str, version: str) -> ObjectFacts:
        """As `Storage.facts`: the user metadata of a HEAD, and the tags, which cost a request of their own."""
        answer = await self._client.head(key)
        etag = split_version(version).etag
        if etag and etag_of(answer) != etag:
            raise ObjectChanged(f"{self.uri(key)!r} holds another version")
        metadata = {str(name): str(value) for name, value in answer.get("Metadata", {}).items()}
        try:
            tagging = await self._client.ask("get_object_tagging", READ_TAGS, key)
        except StorageUnavailable:
            raise
        except StorageError as error:
            return ObjectFacts(metadata, warnings=(f"its tags cannot be read: {error.message}",))
        return ObjectFacts(metadata, {each["Key"]: each["Value"] for each in tagging.get("TagSet", ())})

    async def restored(self, keys: Sequence[str]) -> Collection[str]:
        """As `Storage.restored`; without permission to look, an object counts as not restored."""
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

        await run_in_parallel(_HEADS_AT_ONCE, look, _iter_items(keys))
        return found

    @asynccontextmanager
    async def opened(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[Incoming]:
        """As `RemoteStorage.opened`."""
        _require_possible(key, ObjectNotFound)
        wanted = PartRequest(key, version, start, length)
        if start >= wanted.version.size_bytes:  # there is nothing to send, and no range can say so
            there = await self._stat_version(key, version)
            yield Incoming(there.size_bytes, _iter_items(()))
            return
        answer = await self._answer(wanted)
        with closing(answer["Body"]) as body:
            part = read_part(wanted, answer)
            if part is None:
                raise unexpected_response(f"{self.uri(key)!r} cannot be read", "the store sent another range")
            proven = await self._is_proven(wanted, answer, part.whole_bytes)
            if part.skipped_bytes or part.most_bytes is not None:
                self.notes.note(Oddity.NO_RANGES)
            async with aclosing(part.of(self._chunks(key, body))) as chunks:
                yield Incoming(part.whole_bytes, chunks, self._md5(answer))
        if not proven:
            await self._stat_version(key, version)

    async def _answer(self, wanted: PartRequest) -> Answer:
        """Return the body as requested, or as the store allows if it refuses the range or the condition."""
        key = wanted.key
        try:
            return await self._client.ask("get_object", READ, key, **wanted.condition, **wanted.stretch)
        except (ObjectChanged, ArgumentRefused) as refused:
            if not self._location.endpoint_url:
                raise
            await self._stat_version(key, wanted.text)
            why = Oddity.NO_RANGES if isinstance(refused, ArgumentRefused) else Oddity.NO_CONDITIONS
        with suppress(ObjectChanged, ArgumentRefused):
            kept = {} if why is Oddity.NO_RANGES else wanted.stretch
            answer = await self._client.ask("get_object", READ, key, **kept)
            self.notes.note(why)
            return answer
        return await self._client.ask("get_object", READ, key)

    async def _is_proven(self, wanted: PartRequest, answer: Answer, whole_bytes: int) -> bool:
        """Return whether the response itself proves its version; otherwise check again afterwards.

        Raises ObjectChanged if it has another version, by its headers or by the listing.
        """
        said = split_version(version_of(etag_of(answer), _modified_at(answer), whole_bytes))
        asked = wanted.version
        if asked.etag and (asked.etag, asked.size_bytes) == (said.etag, said.size_bytes):
            return True
        if asked.modified is None or (asked.modified // 1, asked.size_bytes) != (
            _modified_at(answer),
            whole_bytes,
        ):
            await self._require_listed(wanted, answer, whole_bytes)
        return False

    async def _require_listed(self, wanted: PartRequest, answer: Answer, whole_bytes: int) -> None:
        """Raise ObjectChanged unless the object is still listed with the requested version."""
        listed = await self._listing.entry(wanted.key) if self._location.endpoint_url else None
        found = "" if listed is None else listed.version
        self._require_version(wanted.key, wanted.text, found)
        assert listed is not None  # noqa: S101  # no version is empty
        self._listing.judged(listed, wanted.key, {**answer, "ContentLength": whole_bytes}, strict=True)

    async def create(
        self, key: str, source: Path, size_bytes: int, sha256: str, content_type: str, over: str = ""
    ) -> None:
        """As `RemoteStorage.create`."""
        _require_possible(key, OutsideLocation)
        if not over and (self._location.endpoint_url or size_bytes > PART_BYTES):
            await self._require_none(key)
        condition = self._match_version(over) if over else None
        new = NewObject(key, source, size_bytes, sha256, content_type, over)
        await upload_object(self._client, new, condition)

    async def remove(self, key: str, version: str) -> None:
        """As `RemoteStorage.remove`; a bucket with versioning keeps this version too."""
        await self._stat_version(key, version)  # some compatible servers ignore the condition
        await self._client.ask_if(self._match_version(version), "delete_object", DELETE, key)

    def _match_version(self, version: str) -> Mapping[str, str]:
        """Return the condition that only this version meets, as far as a request can express it."""
        etag = split_version(version).etag
        return {"IfMatch": f'"{etag}"'} if etag and self._listing.agrees else {}

    async def aclose(self) -> None:
        """As `Storage.aclose`."""
        await self._client.aclose()

    async def _chunks(self, key: str, body: Any) -> AsyncGenerator[bytes]:
        with self._client.translate_errors(READ, key):
            async for chunk in body.iter_chunks(_CHUNK_BYTES):
                yield chunk

    def _md5(self, answer: Answer) -> bytes | None:
        """Return the object's MD5: its ETag, except for multipart uploads and customer-managed encryption."""
        own_key = "SSECustomerAlgorithm" in answer or answer.get("ServerSideEncryption", "AES256") != "AES256"
        etag = etag_of(answer)  # a directory bucket's is anything
        return bytes.fromhex(etag) if _MD5.fullmatch(etag) and not own_key and not self._directory else None


async def _iter_items(items: Iterable[_T]) -> AsyncIterator[_T]:
    for item in items:
        yield item


def _require_possible(key: str, error: type[StorageError]) -> None:
    try:
        check_key(key)
        possible = len(key.encode()) <= LONGEST_KEY_BYTES
    except InvalidInput:
        possible = False
    if not possible:
        raise error(
            f"no object can have the key {key!r}", "keys are UTF-8 without NUL, of at most 1,024 bytes"
        )


def _drop_repeats(page: ListedPage, known: set[str]) -> ListedPage:
    """Return the page without folders of the previous page, which some servers repeat."""
    folders = [folder for folder in page.folders if folder not in known]
    known.update(folders)
    return ListedPage(page.objects, folders, page.irregular)


def _modified_at(answer: Answer) -> float:
    """Return the modification time in epoch seconds; without one, a time that no object has."""
    modified = answer.get("LastModified")
    return -1.0 if modified is None else modified.timestamp() // 1.0
