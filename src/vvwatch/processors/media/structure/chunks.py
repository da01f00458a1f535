"""AIFF and Core Audio: chunks with big-endian lengths."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from vvwatch.processors.media.structure.riff import is_placeholder
from vvwatch.processors.media.structure.source import (
    SOUND,
    ByteSource,
    Structure,
    judge_end,
    report_truncated,
)

_NAME: Final = re.compile(rb"[A-Za-z0-9_ \xa9()]{4}")
_MOST_CHUNKS: Final = 4096
_PADDING: Final = 64 << 10
_UNCOMPRESSED: Final = frozenset(
    {b"NONE", b"sowt", b"twos", b"raw ", b"in24", b"in32", b"fl32", b"FL32", b"fl64"}
)
_CAF_CHUNKS: Final = frozenset(
    b"desc data pakt kuki chan free info mark regn strg edct inst midi ovvw peak umid uuid".split()
)
_EDIT_COUNT_BYTES: Final = 4
_TO_THE_END: Final = -1


def is_aiff(head: bytes) -> bool:
    """Return whether a file with these first bytes is an AIFF or AIFC."""
    return head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")


def examine_aiff(source: ByteSource) -> Structure:
    """Check the lengths of the file and the sound, and repair placeholders."""
    form, sound = source.number(4, 4), None
    described: tuple[int, bytes] | None = None
    for name, content, length in _iter_aiff_chunks(source):
        if name == b"COMM":
            described = content, source.at(content, min(length, 22))
        elif name == b"SSND":
            sound = content, length
            break
    if sound is not None:
        judged = _judge_sound(source, sound, described)
        if judged != SOUND:
            return judged
    if is_placeholder(form) or form - source.size in (0, -7) or 8 + form <= source.size:
        return SOUND if is_placeholder(form) else judge_end("the AIFF", 8 + form + form % 2, source)
    return report_truncated("the AIFF", 8 + form, source.size)


def _iter_aiff_chunks(source: ByteSource) -> Iterator[tuple[bytes, int, int]]:
    place = 12
    for _ in range(_MOST_CHUNKS):
        head = source.at(place, 8)
        if len(head) < 8 or not _NAME.fullmatch(head[:4]):
            return
        length = int.from_bytes(head[4:], "big")
        yield head[:4], place + 8, length
        place += 8 + length + length % 2


def _judge_sound(
    source: ByteSource, sound: tuple[int, int], described: tuple[int, bytes] | None
) -> Structure:
    content, length = sound
    end = content + length
    frame = _frame_bytes(described[1]) if described else 0
    if is_placeholder(length, frame or 1) and (end > source.size or not length):
        return _mend_lengths(source, content, frame, described)
    if end > source.size:
        return report_truncated("the sound of the AIFF", end, source.size)
    behind = source.size - end
    is_further = _NAME.fullmatch(source.at(end + end % 2, 4)) is not None
    if source.number(4, 4) + 8 <= end + 1 and behind > max(_PADDING, length // 100) and not is_further:
        warning = f"the header states {length:,} bytes of sound, {behind:,} more follow: all of them are used"
        return replace(_mend_lengths(source, content, frame, described), warnings=(warning,))
    return SOUND


def _frame_bytes(description: bytes) -> int:
    """Return the bytes of one sample in all channels, 0 if the coding does not say."""
    if len(description) < 18:
        return 0
    channels, bits = struct.unpack_from(">H", description)[0], struct.unpack_from(">H", description, 6)[0]
    coding = description[18:22]
    return channels * -(-bits // 8) if not coding or coding in _UNCOMPRESSED else 0


def _mend_lengths(
    source: ByteSource, content: int, frame: int, described: tuple[int, bytes] | None
) -> Structure:
    """Repair the lengths of a file written to a pipe: of the file, of the sound, and in samples."""
    length = source.size - content
    patches = [
        (4, struct.pack(">I", min(source.size - 8, 0xFFFFFFFE))),
        (content - 4, struct.pack(">I", length)),
    ]
    if frame and described:
        patches.append((described[0] + 2, struct.pack(">I", (length - 8) // frame)))
    return Structure(patches=tuple(patches))


def is_caf(head: bytes) -> bool:
    """Return whether a file with these first bytes is a Core Audio file."""
    return head[:4] == b"caff"


def examine_caf(source: ByteSource) -> Structure:
    """Check each chunk against the end of the file; only the sound may have an open length."""
    place = 8
    for _ in range(_MOST_CHUNKS):
        head = source.at(place, 12)
        if len(head) < 12 or head[:4] not in _CAF_CHUNKS:
            break
        length = struct.unpack(">q", head[4:])[0]
        following = place + 12 + length
        if head[:4] == b"data" and _is_open(source, following, length):
            return Structure(patches=((place + 4, struct.pack(">q", source.size - place - 12)),))
        if length < 0 or following > source.size:
            return report_truncated(f"CAF chunk '{head[:4].decode()}'", following, source.size)
        place = following
    return judge_end("the CAF", place, source, hide=True)


def _is_open(source: ByteSource, following: int, length: int) -> bool:
    """Return whether a sound chunk is open-ended: it says so, or has a placeholder with sound after it."""
    is_empty = length <= _EDIT_COUNT_BYTES and source.at(following, 4) not in _CAF_CHUNKS
    return length == _TO_THE_END or (is_empty and following < source.size)
