"""An object's identity in a bucket: the listing decides, whatever else the store says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vvwatch.core.known_pages import KnownPage
from vvwatch.core.objects import StorageObject
from vvwatch.core.store_notes import Oddity, StoreNotes
from vvwatch.errors import AccessDenied, ObjectChanged
from vvwatch.providers.listing import ListedPage
from vvwatch.providers.s3.client import S3Client
from vvwatch.providers.s3.listing import ARCHIVED
from vvwatch.providers.versions import bare_etag, is_timed, split_version, version_of

_ROUNDED_SECONDS: Final = 1.0
"""A listing may round a time that a HEAD truncates."""


class ListedEntries:
    """Compares a store's description of an object with its listing entry.

    `agrees`: HEAD and listing give the same version, as AWS promises; other stores have to prove it.
    """

    def __init__(self, client: S3Client, notes: StoreNotes, *, promised: bool) -> None:
        self.agrees = promised
        self._client = client
        self._notes = notes
        self._contradicted = False

    def shown_by(self, page: ListedPage) -> bool:
        """Return whether events can carry the listed versions: every listed object has an ETag."""
        new = () if isinstance(page.objects, KnownPage) else page.objects
        if any(is_timed(obj.version) for obj in new):
            self._notes.note(Oddity.NO_VERSIONS)
        return not self._contradicted and Oddity.NO_VERSIONS not in self._notes.odd

    async def entry(self, key: str) -> StorageObject | None:
        """Return the listed object at `key`; None if it is not listed or listing is forbidden."""
        try:
            listing, _ = await self._client.list(key, {"MaxKeys": 1})
        except AccessDenied:
            return None
        return next((obj for obj in listing.page.objects if obj.key == key), None)

    def judged(
        self, listed: StorageObject, key: str, answer: Mapping[str, Any], *, strict: bool = False
    ) -> StorageObject:
        """Return the object at `key` from its entry and a response. Raises as `describe_object`.

        If only the times differ, the response counts; with `strict` that is ObjectChanged.
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
    """Return whether the response holds the size and time that every object has."""
    return answer.get("LastModified") is not None and answer.get("ContentLength") is not None


def describe_object(key: str, answer: Mapping[str, Any]) -> StorageObject:
    """Return the object that a HEAD or GET response describes. Raises StorageUnavailable if a field is missing."""
    at, size = answer["LastModified"].timestamp() // 1, answer["ContentLength"]
    return StorageObject(key, version_of(etag_of(answer), at, size), size, at, at, _is_archived(answer))


def _object_replaced(key: str) -> ObjectChanged:
    return ObjectChanged(f"{key!r} was replaced meanwhile", "the new version is picked up automatically")


def _is_finer(listed: str, said: str) -> bool:
    """Return whether both have the same size and time, with milliseconds in the listing."""
    fine, coarse = split_version(listed), split_version(said)
    return fine.modified is not None and (fine.modified // 1, fine.size_bytes) == coarse[1:]


def etag_of(answer: Mapping[str, Any]) -> str:
    """Return the bare ETag of a response; empty without one."""
    return bare_etag(answer.get("ETag"))


def _is_archived(answer: Mapping[str, Any]) -> bool:
    """Return whether the object must be restored before it can be read."""
    restored = 'ongoing-request="false"' in answer.get("Restore", "")
    return not restored and (answer.get("StorageClass") in ARCHIVED or "ArchiveStatus" in answer)
