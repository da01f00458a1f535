"""What a listing calls the objects of a bucket: the identity that counts, whatever else a store says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vvwatch.core.objects import StorageObject
from vvwatch.core.store_notes import Oddity, StoreNotes
from vvwatch.errors import AccessDenied, ObjectChanged
from vvwatch.providers.listing import ListedPage
from vvwatch.providers.s3.client import S3Client
from vvwatch.providers.s3.listing import ARCHIVED
from vvwatch.providers.versions import bare_etag, is_timed, split_version, version_of

_ROUNDED_SECONDS: Final = 1.0
"""A listing may round a time that a HEAD cuts off."""


class ListedEntries:
    """Compares what a store says of an object with how its listing calls it.

    `agrees`: the version that a HEAD tells is the one that is listed, as AWS promises and another store has to show.
    """

    def __init__(self, client: S3Client, notes: StoreNotes, *, promised: bool) -> None:
        self.agrees = promised
        self._client = client
        self._notes = notes
        self._contradicted = False

    def shown_by(self, page: ListedPage) -> bool:
        """Whether the listing names versions so that events can name them too: all its objects have an ETag."""
        if any(is_timed(obj.version) for obj in page.objects):
            self._notes.note(Oddity.NO_VERSIONS)
        return not self._contradicted and Oddity.NO_VERSIONS not in self._notes.odd

    async def entry(self, key: str) -> StorageObject | None:
        """The object at `key` as it is listed; None when it is not, or when nobody may list."""
        try:
            listing, _ = await self._client.list(key, {"MaxKeys": 1})
        except AccessDenied:
            return None
        return next((obj for obj in listing.page.objects if obj.key == key), None)

    def judged(
        self, listed: StorageObject, key: str, answer: Mapping[str, Any], *, strict: bool = False
    ) -> StorageObject:
        """What stands at `key`, by its entry and by an answer that describes it. Raises as `described`.

        When only their times show that one of them is older, the answer counts; with `strict` that is ObjectChanged.
        """
        if not is_complete(answer):
            if strict and etag_of(answer) not in ("", split_version(listed.version).etag):
                raise _object_replaced(key)
            self._note(Oddity.OTHER_VERSIONS)
            return listed
        said = describe_object(key, answer)
        if said.version == listed.version:
            self.agrees = self.agrees or not self._contradicted
            return said
        if abs(said.modified_at - listed.modified_at) > _ROUNDED_SECONDS:
            if strict:
                raise _object_replaced(key)
            return said
        if is_timed(said.version) and is_timed(listed.version) and _is_finer(listed.version, said.version):
            return said._replace(version=listed.version)
        false_size = said.size_bytes != listed.size_bytes
        self._note(Oddity.FALSE_SIZES if false_size else Oddity.OTHER_VERSIONS)
        return said._replace(version=listed.version)

    def _note(self, oddity: Oddity) -> None:
        self._notes.note(oddity)
        self._contradicted, self.agrees = True, False


def is_complete(answer: Mapping[str, Any]) -> bool:
    """Whether the answer tells what every object has: a size and a time."""
    return answer.get("LastModified") is not None and answer.get("ContentLength") is not None


def describe_object(key: str, answer: Mapping[str, Any]) -> StorageObject:
    """The object that the answer to a HEAD or a GET describes. Raises StorageUnavailable when it says too little."""
    at, size = answer["LastModified"].timestamp() // 1, answer["ContentLength"]
    return StorageObject(key, version_of(etag_of(answer), at, size), size, at, at, _is_archived(answer))


def _object_replaced(key: str) -> ObjectChanged:
    return ObjectChanged(f"{key!r} was replaced meanwhile", "the new version is picked up by itself")


def _is_finer(listed: str, said: str) -> bool:
    """Whether both are the same size and time, which the listing tells to the millisecond."""
    fine, coarse = split_version(listed), split_version(said)
    return fine.modified is not None and (fine.modified // 1, fine.size_bytes) == coarse[1:]


def etag_of(answer: Mapping[str, Any]) -> str:
    """The bare ETag in an answer; empty without one."""
    return bare_etag(answer.get("ETag"))


def _is_archived(answer: Mapping[str, Any]) -> bool:
    """Whether the object has to be restored before it can be read."""
    restored = 'ongoing-request="false"' in answer.get("Restore", "")
    return not restored and (answer.get("StorageClass") in ARCHIVED or "ArchiveStatus" in answer)
