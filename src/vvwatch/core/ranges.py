"""Parse the byte range of a request (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vvwatch.errors import InvalidInput

_ONE: Final = re.compile(r"bytes=\s*+([0-9]{0,18})\s*+-\s*+([0-9]{0,18})\s*+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes from `start` on."""

    start: int
    length: int

    def content_range(self, size_bytes: int) -> str:
        """The header Content-Range, of something of `size_bytes`."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size_bytes}"


class NoSuchRange(InvalidInput):
    """Raised when the requested range holds no byte."""


def parse_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """Return the single range of `size_bytes` in the Range header; None to send everything.

    Several ranges, or an unreadable header, also mean everything. Raises NoSuchRange.
    """
    asked = _ONE.fullmatch(header or "")
    if asked is None or asked[1] == asked[2] == "":
        return None
    if not asked[1]:
        return _clip_range(max(0, size_bytes - int(asked[2])), size_bytes - 1, size_bytes, int(asked[2]))
    last = int(asked[2]) if asked[2] else size_bytes - 1
    if asked[2] and last < int(asked[1]):
        return None
    return _clip_range(int(asked[1]), min(last, size_bytes - 1), size_bytes, 1)


def _clip_range(first: int, last: int, size_bytes: int, wanted: int) -> ByteRange:
    if first >= size_bytes or not wanted:
        raise NoSuchRange(f"there are {size_bytes:,} bytes, and none in the range", "ask for all of it")
    return ByteRange(first, last - first + 1)
