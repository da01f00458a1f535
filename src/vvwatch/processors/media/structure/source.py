"""Reads at offsets of an open file, the findings about its structure, and a view with a repaired header."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_MIB: Final = 1 << 20
_LOOKED_AHEAD: Final = 32 * _MIB
_NAMED_BEHIND: Final = 64
_FILLS: Final = (b"\0", b"\xff")
_MOST_FILLED_BYTES: Final = 4 << 30


class ByteSource:
    """Reads at offsets of an open file without moving its position."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def at(self, offset: int, count: int) -> bytes:
        """Return at most `count` bytes from `offset`; fewer at the end of the file, none outside it.

        Both come from the bytes of the file, so they may be any numbers.
        """
        return os.pread(self._fd, count, offset) if count > 0 and 0 <= offset < self.size else b""

    def number(self, offset: int, count: int, order: str = "big") -> int:
        """Return the unsigned integer of `count` bytes at `offset`; bytes beyond the end count as zeros."""
        read = self.at(offset, count).ljust(count, b"\0")
        return int.from_bytes(read, "big" if order == "big" else "little")

    def last(self, pattern: bytes, most: int, before: int | None = None) -> int:
        """Return where `pattern` last begins in the `most` bytes before `before` or the end; -1 if nowhere."""
        end = self.size if before is None else before
        floor = max(0, end - most)
        window = 64 << 10
        while end > floor:
            start = max(floor, end - window)
            place = self.at(start, end - start).rfind(pattern)
            if place >= 0:
                return start + place
            end = start + len(pattern) - 1 if start > floor else floor
            window = min(2 * window, _MIB)
        return -1

    def filled_from(self) -> int:
        """Return where the zeros or ones that fill the end of the file begin; its size if nothing does."""
        value = self.at(max(0, self.size - 1), 1)
        end = self.size
        while value in _FILLS and end > 0:
            start = max(0, end - _MIB, self.size - _MOST_FILLED_BYTES)
            kept = len(self.at(start, end - start).rstrip(value))
            end = start + kept
            if kept or start == self.size - _MOST_FILLED_BYTES:
                break
        return end

    def failure_near(self, offset: int) -> OSError | None:
        """Return the error of reading around `offset`, at the start or at the end; None without one.

        FFmpeg reports malformed bytes as input errors and input errors as the end of the file: only our own read
        distinguishes a broken file from a broken disk.
        """
        last = self.size - _MIB
        places = (0, *range(max(0, offset - _MIB), min(last, offset + _LOOKED_AHEAD), _MIB), max(0, last))
        try:
            for place in places:
                self.at(place, _MIB)
        except OSError as error:
            return error
        return None

    def failure(self, report: Callable[[float], None], most: int) -> OSError | None:
        """Return the error of reading the first `most` bytes; None without one. Calls `report` meanwhile."""
        try:
            for place in range(0, min(most, self.size), _MIB):
                self.at(place, _MIB)
                report(0.0)
        except OSError as error:
            return error
        return None


@dataclass(frozen=True, slots=True)
class Structure:
    """The findings in a file's bytes before anything is decoded.

    `damage` names missing bytes; `warnings` harmless oddities. `encrypted` names what is encrypted, `unsupported` a
    coding without a decoder. `patches` (offset, bytes) repair sizes that a writer left open, `head` (length, bytes)
    replaces the first bytes, `end` is where the media ends if something after it would confuse a demuxer.
    `has_length` is False if the header's length is a placeholder.
    """

    damage: str | None = None
    warnings: tuple[str, ...] = ()
    encrypted: str | None = None
    unsupported: str | None = None
    patches: tuple[tuple[int, bytes], ...] = ()
    head: tuple[int, bytes] | None = None
    end: int | None = None
    has_length: bool = True

    @property
    def is_mended(self) -> bool:
        """Return whether the file must be read through a `View`."""
        return bool(self.patches or self.head) or self.end is not None


SOUND: Final = Structure()
"""A structure without findings."""


class View:
    """A file as repaired by `structure`, for a demuxer: `read`, `seek` and `tell` of a binary file."""

    def __init__(self, source: ByteSource, structure: Structure) -> None:
        self._source = source
        self._patches = structure.patches
        replaced, head = structure.head or (0, b"")
        self._head, self._shift = head, len(head) - replaced
        self._end = (source.size if structure.end is None else structure.end) + self._shift
        self._place = 0

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most `count`; none at the end."""
        start = self._place
        count = max(0, min(count, self._end - start))
        if start < len(self._head):
            content = bytearray(self._head[start : start + count])
        else:
            content = bytearray(self._source.at(start - self._shift, count))
            self._mend(content, start - self._shift)
        self._place += len(content)
        return bytes(content)

    def _mend(self, content: bytearray, start: int) -> None:
        for offset, patch in self._patches:
            first, last = max(offset, start), min(offset + len(patch), start + len(content))
            if first < last:
                content[first - start : last - start] = patch[first - offset : last - offset]

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to `offset`, counted as `whence` says; return the new position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        """Return the position of the next read."""
        return self._place


def report_truncated(what: str, end: int, size: int) -> Structure:
    """Report that `what` should extend to byte `end` and the file does not."""
    return Structure(damage=f"truncated: {what} ends at byte {end:,} but the file has {size:,} bytes")


def report_cut_within(what: str) -> Structure:
    """Report that the file ends within `what`."""
    return Structure(damage=f"truncated: the file ends within {what}")


def judge_end(what: str, end: int, source: ByteSource, *, hide: bool = False) -> Structure:
    """Report that `what` is whole and ends at `end`, whatever follows; `hide` keeps it from a demuxer."""
    behind = source.size - end
    if behind <= 0:
        return SOUND
    content = source.at(end, min(behind, _NAMED_BEHIND))
    kind = "zeros" if not content.strip(b"\0") else "bytes that do not belong to it"
    return Structure(warnings=(f"{behind:,} {kind} behind the end of {what}",), end=end if hide else None)
