"""Range requests for S3 objects, and the requested bytes of a response: a store may send more than a part."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any, Final

from vvwatch.providers.versions import Version, split_version

_PARTIAL: Final = 206
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class PartRequest:
    """A request for one version of the object at `key`, from `start` on, at most `length` bytes."""

    key: str
    text: str
    start: int
    length: int | None

    @property
    def version(self) -> Version:
        """The version, split."""
        return split_version(self.text)

    @property
    def stretch(self) -> Mapping[str, str]:
        """The Range header: none for the whole object, and never beyond its end."""
        size = self.version.size_bytes
        end = size if self.length is None else min(self.start + self.length, size)
        if not self.start and end == size:
            return {}
        return {"Range": f"bytes={self.start}-{'' if self.length is None else end - 1}"}

    @property
    def condition(self) -> Mapping[str, Any]:
        """The condition that only this version meets, as far as a request can express it."""
        version = self.version
        if version.modified is None:
            return {"IfMatch": f'"{version.etag}"'}
        return {"IfUnmodifiedSince": datetime.fromtimestamp(ceil(version.modified), UTC)}


@dataclass(frozen=True, slots=True)
class Part:
    """The content of a response: the object's size, the surplus bytes at its start, and where to cut it."""

    whole_bytes: int
    skipped_bytes: int = 0
    most_bytes: int | None = None

    async def of(self, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """Yield the requested bytes of a body."""
        skip, left = self.skipped_bytes, self.most_bytes
        async with aclosing(chunks):
            async for chunk in chunks:
                piece = chunk[skip:]
                skip = max(skip - len(chunk), 0)
                if left is not None:
                    piece = piece[:left]
                    left -= len(piece)
                if piece:
                    yield piece
                if left == 0:
                    return


def read_part(wanted: PartRequest, answer: Mapping[str, Any]) -> Part | None:
    """Return what the response holds of the request; None if its range is unknown or starts too late."""
    size = wanted.version.size_bytes
    if said := answer.get("ContentRange"):
        stretch = _RANGE.fullmatch(said)
        if stretch is None or int(stretch[1]) != wanted.start:
            return None
        return Part(size if stretch[2] == "*" else int(stretch[2]))
    if answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == _PARTIAL:
        return None
    whole = answer.get("ContentLength")
    whole = size if whole is None else int(whole)
    too_much = wanted.length is not None and wanted.start + wanted.length < whole
    return Part(whole, wanted.start, wanted.length if too_much else None)
