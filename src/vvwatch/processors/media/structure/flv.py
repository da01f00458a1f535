"""Flash video: a row of tags, each with its length before and after."""

from __future__ import annotations

import struct
from typing import Final

from vvwatch.processors.media.structure.source import (
    SOUND,
    ByteSource,
    Structure,
    judge_end,
    report_cut_within,
    report_truncated,
)

_HEAD_BYTES: Final = 9
_TAGS: Final = (8, 9, 18)
_TAG_BYTES: Final = 11
_TAIL_BYTES: Final = 4 << 20
_MOST_TAGS: Final = 100_000
_ENCRYPTED: Final = 0x20


def is_flv(head: bytes) -> bool:
    """Return whether a file with these first bytes is Flash video."""
    return head[:4] == b"FLV\x01"


def examine_flv(source: ByteSource) -> Structure:
    """Check that the last tag is whole: the length after it must lead back to its head."""
    start = source.number(5, 4) + 4
    if start >= source.size:
        return report_cut_within("the head of the FLV")
    if source.number(start, 1) & _ENCRYPTED:
        return Structure(encrypted="pictures and sound (Flash Access)")
    stated = _read_stated_size(source, start)
    if stated > source.size:
        return report_truncated("the FLV", stated, source.size)
    length = source.number(source.size - 4, 4)
    if _is_tag(source, source.size - 4 - length, length):
        return SOUND
    place = _find_last_end(source, start)
    return SOUND if place is None else _judge_end(source, place)


def _judge_end(source: ByteSource, place: int) -> Structure:
    """Judge what begins at `place`, after the last whole tag."""
    rest = source.at(place, _TAG_BYTES)
    if rest and rest[0] in _TAGS and (len(rest) < _TAG_BYTES or rest[8:11] == bytes(3)):
        return report_cut_within("a tag of the FLV")
    return judge_end("the FLV", place, source, hide=True)


def _is_tag(source: ByteSource, place: int, length: int) -> bool:
    """Return whether a tag of `length` bytes including its head begins at `place`."""
    if place < _HEAD_BYTES or length < _TAG_BYTES:
        return False
    head = source.at(place, 4)
    return head[0] & 0x1F in _TAGS and int.from_bytes(head[1:4], "big") == length - _TAG_BYTES


def _find_last_end(source: ByteSource, start: int) -> int | None:
    """Return where the last whole tag and its length end, by a walk through the end; None if none is found."""
    first = max(start, source.size - _TAIL_BYTES)
    tail = source.at(first, _TAIL_BYTES)
    for place in range(len(tail)) if first > start else (0,):
        if tail[place] in _TAGS and (end := _read_tag_end(tail, place)) is not None:
            for _ in range(_MOST_TAGS):
                following = _read_tag_end(tail, end)
                if following is None:
                    return first + end
                end = following
    return start if first == start else None


def _read_tag_end(tail: bytes, place: int) -> int | None:
    """Return where the tag at `place` and the length after it end; None if it is not whole."""
    head = tail[place : place + _TAG_BYTES]
    if len(head) < _TAG_BYTES or head[0] not in _TAGS or head[8:11] != bytes(3):
        return None
    length = int.from_bytes(head[1:4], "big") + _TAG_BYTES
    end = place + length
    return end + 4 if int.from_bytes(tail[end : end + 4].ljust(4, b"\0"), "big") == length else None


def _read_stated_size(source: ByteSource, start: int) -> int:
    """Return the file's size by its own metadata, 0 without any."""
    description = source.at(start, 4096)
    place = description.find(b"\0\x08filesize\0")
    if description[:1] != b"\x12" or place < 0 or len(description) < place + 19:
        return 0
    size = struct.unpack_from(">d", description, place + 11)[0]
    return int(size) if 0 < size < 1 << 62 else 0
