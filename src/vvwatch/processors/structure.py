"""What the bytes of a file promise about their own length, read without decoding anything.

FFmpeg opens a file that lost its end and says the length it once had. The containers themselves know better: most
write down where they end. Each check here reads a few bytes and names what is missing.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from typing import Final

_MP4_TOP_BOXES: Final = frozenset(
    b"ftyp moov mdat moof mfra free skip wide uuid meta sidx ssix styp pnot udta pdin emsg prft junk".split()
)
_EBML_HEADER: Final = 0x1A45DFA3
_EBML_SEGMENT: Final = 0x18538067
_SIZE_UNKNOWN_RIFF: Final = (0, 0xFFFFFFFF)
_RIFF_SLACK: Final = 8
"""Some recorders write the size of the whole file where the size after the first eight bytes belongs."""
_LONGEST_OGG_PAGE: Final = 27 + 255 + 255 * 255

_HEIF_SIZE: Final = re.compile(rb"\0\0\0\x14ispe\0\0\0\0(.{8})", re.DOTALL)
_SIGNATURES: Final = (
    b"fLaC",
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"\xff\xf1",
    b"\xff\xf9",
)
_MIB: Final = 1 << 20
_LOOKED_AHEAD: Final = 32 * _MIB
_TEXT: Final = re.compile(rb"(?:\xef\xbb\xbf)?[\t\n\r\x20-\x7e\x80-\xf4]+")
_LOOKS: Final[tuple[tuple[re.Pattern[bytes], str], ...]] = (
    (re.compile(rb"\s*(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)", re.IGNORECASE), "an HTML page"),
    (
        re.compile(rb"\s*(\xef\xbb\xbf)?\s*<(\?xml|error)", re.IGNORECASE),
        "an XML document, perhaps a store's error",
    ),
    (re.compile(rb"\s*(#EXTM3U|ffconcat |v=0\s|\[playlist\])"), "a playlist that names other media"),
    (re.compile(rb"\s*[{\[]"), "a JSON document"),
    (_TEXT, "text"),
)


class ByteSource:
    """Reads at offsets of an open file, whose own position stays where it is."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def at(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset`; fewer at the end of the file."""
        return os.pread(self._fd, count, offset)

    def failure_near(self, offset: int) -> OSError | None:
        """The error that reading gives around `offset`, at the start or at the end; None when it gives none.

        FFmpeg reports malformed bytes as input errors and input errors as the end of the file: only a read of our
        own can tell a broken file from a broken disk.
        """
        last = self.size - _MIB
        places = (0, *range(max(0, offset - _MIB), min(last, offset + _LOOKED_AHEAD), _MIB), max(0, last))
        try:
            for place in places:
                self.at(place, _MIB)
        except OSError as error:
            return error
        return None


def missing_end(source: ByteSource) -> str | None:
    """What shows that the file lost its end or its last part, or None when its structure knows of no loss."""
    head = source.at(0, 16)
    for matches, check in _CHECKS:
        if matches(head):
            return check(source)
    return None


def likeness(source: ByteSource) -> str:
    """What a file that no demuxer takes looks like, as the rest of the sentence "this is …"."""
    head = source.at(0, 4096)
    if not head:
        return "an empty file"
    if not head.strip(b"\0"):
        return "a file that begins with zeros only, perhaps a copy that was never filled"
    if head.startswith(_SIGNATURES) or any(matches(head) for matches, _ in _CHECKS):
        return "media that is cut short or damaged"
    if not _TEXT.fullmatch(head):
        return "no media of a known kind"
    return next(name for pattern, name in _LOOKS if pattern.match(head))


def _truncated(what: str, end: int, size: int) -> str:
    return f"truncated: {what} ends at byte {end:,} but the file has {size:,} bytes"


def _is_mp4(head: bytes) -> bool:
    # A first box of half a gigabyte is less likely than a text that begins with "The free".
    return head[4:8] in _MP4_TOP_BOXES and head[0] < 0x20


def _mp4_end(source: ByteSource) -> str | None:
    offset = 0
    while len(head := source.at(offset, 16)) >= 8:
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        if length < 8 or kind not in _MP4_TOP_BOXES:
            return None
        offset += length
        if offset > source.size:
            return _truncated(f"mp4 box '{kind.decode()}'", offset, source.size)
    return None if not head.strip(b"\0") else "truncated: the file ends within the header of an mp4 box"


def _is_riff(head: bytes) -> bool:
    return head[:4] == b"RIFF"


def _riff_end(source: ByteSource) -> str | None:
    offset = 0
    while len(head := source.at(offset, 12)) == 12 and head[:4] == b"RIFF":
        length = struct.unpack("<I", head[4:8])[0]
        if length in _SIZE_UNKNOWN_RIFF:
            return None
        offset += 8 + length
        if offset > source.size + _RIFF_SLACK:
            return _truncated(f"RIFF chunk '{head[8:].decode('latin-1').strip()}'", offset, source.size)
        offset += length % 2
    return None


def _is_matroska(head: bytes) -> bool:
    return head[:4] == struct.pack(">I", _EBML_HEADER)


def _matroska_end(source: ByteSource) -> str | None:
    offset = 0
    while (element := _ebml_element(source, offset)) is not None:
        identifier, content, length = element
        if length is None:
            return None
        offset = content + length
        if offset > source.size and identifier in (_EBML_HEADER, _EBML_SEGMENT):
            return _truncated("the Matroska segment", offset, source.size)
        if identifier == _EBML_SEGMENT:
            return None
    return None


def _ebml_element(source: ByteSource, offset: int) -> tuple[int, int, int | None] | None:
    """(identifier, where the content begins, its length or None when unknown) of the element at `offset`."""
    head = source.at(offset, 12)
    id_length = _vint_length(head[:1])
    size_length = _vint_length(head[id_length : id_length + 1])
    if not id_length or not size_length or len(head) < id_length + size_length:
        return None
    identifier = int.from_bytes(head[:id_length], "big")
    mask = (1 << 7 * size_length) - 1
    length = int.from_bytes(head[id_length : id_length + size_length], "big") & mask
    return identifier, offset + id_length + size_length, None if length == mask else length


def _vint_length(first: bytes) -> int:
    return 9 - first[0].bit_length() if first and first[0] else 0


def _is_ogg(head: bytes) -> bool:
    return head[:4] == b"OggS"


def _ogg_end(source: ByteSource) -> str | None:
    start = max(0, source.size - _LONGEST_OGG_PAGE - 27)
    tail = source.at(start, source.size - start)
    place = tail.rfind(b"OggS")
    if place < 0:
        return "damaged: the file ends in bytes that are no Ogg page"
    page = tail[place:]
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if len(page) < 27 or len(page) < 27 + page[26] + sum(lengths):
        return "truncated: the file ends within an Ogg page"
    return None if page[5] & 4 else "truncated: the last Ogg page is not the end of a stream"


def _is_gif(head: bytes) -> bool:
    return head[:4] == b"GIF8"


def _gif_end(source: ByteSource) -> str | None:
    tail = source.at(max(0, source.size - 64), 64).rstrip(b"\0")
    return None if tail.endswith(b";") else "truncated: the GIF has no trailer"


def _is_mp3(head: bytes) -> bool:
    return head[:3] == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE6 == 0xE2)


def _mp3_end(source: ByteSource) -> str | None:
    """Held against the byte count of the Xing or Info header, where the first frame has one."""
    head = source.at(0, 10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        start = 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    frame = source.at(start, 64)
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    if place < 0 or len(frame) < place + 16:
        return None
    flags, first, second = struct.unpack(">III", frame[place + 4 : place + 16])
    end = start + (second if flags & 1 else first)
    return _truncated("the MP3 stream", end, source.size) if flags & 2 and end > source.size else None


_CHECKS: Final[tuple[tuple[Callable[[bytes], bool], Callable[[ByteSource], str | None]], ...]] = (
    (_is_mp4, _mp4_end),
    (_is_riff, _riff_end),
    (_is_matroska, _matroska_end),
    (_is_ogg, _ogg_end),
    (_is_gif, _gif_end),
    (_is_mp3, _mp3_end),
)


def heif_size(source: ByteSource) -> tuple[int, int]:
    """(width, height) of the largest picture that a HEIF file describes, (0, 0) when it describes none.

    Phones store a photograph as a grid of tiles; FFmpeg tells the size of one tile.
    """
    head = source.at(0, 1 << 20)
    sizes = (struct.unpack(">II", match[1]) for match in _HEIF_SIZE.finditer(head))
    return max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
