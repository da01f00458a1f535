"""What is asked for of an object of S3, and what of the answer was asked for: a store may send more than a part."""

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
    """The bytes of one version of the object at `key`, from `start` on, at most `length`."""

    key: str
    text: str
    start: int
    length: int | None

    @property
    def version(self) -> Version:
        """The version, taken apart."""
        return split_version(self.text)

    @property
    def stretch(self) -> Mapping[str, str]:
        """The range to ask for: none for all of it, and never one that ends behind the object."""
        size = self.version.size_bytes
        end = size if self.length is None else min(self.start + self.length, size)
        if not self.start and end == size:
            return {}
        return {"Range": f"bytes={self.start}-{'' if self.length is None else end - 1}"}

    @property
    def condition(self) -> Mapping[str, Any]:
        """What holds for no other version, as far as a request can say it."""
        version = self.version
        if version.modified is None:
            return {"IfMatch": f'"{version.etag}"'}
        return {"IfUnmodifiedSince": datetime.fromtimestamp(ceil(version.modified), UTC)}


@dataclass(frozen=True, slots=True)
class Part:
    """What an answer brings: of how large an object, how much too early it begins, and where it has to be cut."""

    whole_bytes: int
    skipped_bytes: int = 0
    most_bytes: int | None = None

    async def of(self, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """Of a body, the bytes that were asked for."""
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
    """What the answer brings of what was wanted; None when it begins elsewhere, or does not say where."""
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
