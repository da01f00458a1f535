"""Still pictures: where a GIF and a PNG end, and the codings of JPEG, TIFF, WebP and BMP without a decoder here."""

from __future__ import annotations

import struct
from typing import Final

from vvwatch.processors.media.structure.riff import examine_riff
from vvwatch.processors.media.structure.source import (
    SOUND,
    ByteSource,
    Structure,
    judge_end,
    report_cut_within,
)

_MOST_GIF_PARTS: Final = 1 << 20
_BLOCK: Final = 1 << 20
_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
_MOST_SEGMENTS: Final = 1000
_JPEG_CODINGS: Final = {
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "hierarchical",
    0xC9: "arithmetic-coded",
    0xCA: "arithmetic-coded",
    0xCB: "arithmetic-coded",
    0xCD: "hierarchical, arithmetic-coded",
    0xCE: "hierarchical, arithmetic-coded",
    0xCF: "hierarchical, arithmetic-coded",
    0xDE: "hierarchical",
}
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_MOST_PNG_CHUNKS: Final = 1 << 18
_ENDLESS: Final = Structure(damage="truncated: the PNG has no end, the chunk 'IEND'")
_STANDALONE: Final = (0x01, *range(0xD0, 0xD9))
_DCT_FRAMES: Final = (0xC0, 0xC1, 0xC2)
_FRAMES: Final = (*_DCT_FRAMES, 0xC3, *_JPEG_CODINGS)


def is_gif(head: bytes) -> bool:
    """Return whether a file with these first bytes is a GIF."""
    return head[:4] == b"GIF8"


def examine_gif(source: ByteSource) -> Structure:
    """Check for the trailer; without one, whether the file ends between two blocks or within one."""
    tail = source.at(max(0, source.size - 64), 64).rstrip(b"\0")
    if tail.endswith(b"\0;"):
        return SOUND
    gif = _Gif(source)
    return gif.examine()


def is_png(head: bytes) -> bool:
    """Return whether a file with these first bytes is a PNG."""
    return head[:8] == _PNG


def examine_png(source: ByteSource) -> Structure:
    """Walk the chunks to the last one."""
    place = len(_PNG)
    for _ in range(_MOST_PNG_CHUNKS):
        head = source.at(place, 8)
        if len(head) == 8 and not head[4:].isalpha():
            return SOUND  # the decoder reports what is wrong there
        following = place + 12 + int.from_bytes(head[:4], "big")
        if len(head) < 8 or following > source.size:
            return report_cut_within("a chunk of the PNG") if head else _ENDLESS
        if head[4:] == b"IEND":
            return judge_end("the PNG", following, source)
        place = following
    return SOUND


class _Gif:
    """A walk over the blocks of a GIF."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._start = 0
        self._block = b""
        self._parts = 0
        self.place = 13 + self._colours(10)

    def examine(self) -> Structure:
        frames = 0
        while (kind := self._byte(self.place)) in (_IMAGE, _EXTENSION):
            is_whole = self._skip_block(kind)
            if self._parts >= _MOST_GIF_PARTS:
                return SOUND
            if not is_whole:
                return report_cut_within("a block of the GIF")
            frames += kind == _IMAGE
        if kind == _TRAILER:
            return judge_end("the GIF", self.place + 1, self._source)
        if not frames:
            return report_cut_within("the head of the GIF") if kind is None else SOUND
        if kind is not None:
            return judge_end("the GIF", self.place, self._source)
        return Structure(warnings=("the GIF has no trailer, the last byte of its kind",))

    def _byte(self, place: int) -> int | None:
        if not self._start <= place < self._start + len(self._block):
            self._start, self._block = place, self._source.at(place, _BLOCK)
        return self._block[place - self._start] if self._block else None

    def _colours(self, place: int) -> int:
        flags = self._byte(place) or 0
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    def _skip_block(self, kind: int) -> bool:
        """Go to the next block; return False if the file ends before."""
        place = self.place
        place += 11 + self._colours(place + 9) if kind == _IMAGE else 2
        while (length := self._byte(place)) and self._parts < _MOST_GIF_PARTS:
            place += 1 + length
            self._parts += 1
        self.place = place + 1
        return length == 0


def is_jpeg(head: bytes) -> bool:
    """Return whether a file with these first bytes is a JPEG."""
    return head[:3] == b"\xff\xd8\xff"


def examine_jpeg(source: ByteSource) -> Structure:
    """Name a coding without a decoder: all but Huffman-coded JPEG of eight bits, and lossless."""
    place = 2
    for _ in range(_MOST_SEGMENTS):
        head = source.at(place, 10)
        if len(head) < 4 or head[0] != 0xFF:
            break
        marker = head[1]
        if marker in _FRAMES:
            return _jpeg_coding(marker, head)
        place += 1 if marker == 0xFF else 2 if marker in _STANDALONE else 2 + int.from_bytes(head[2:4], "big")
    return SOUND


def _jpeg_coding(marker: int, head: bytes) -> Structure:
    if marker in _JPEG_CODINGS:
        return Structure(unsupported=f"{_JPEG_CODINGS[marker]} JPEG")
    if marker in _DCT_FRAMES and len(head) > 4 and head[4] > 8:
        return Structure(unsupported=f"JPEG of {head[4]} bits")
    return SOUND


def is_webp(head: bytes) -> bool:
    """Return whether a file with these first bytes is a WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def examine_webp(source: ByteSource) -> Structure:
    """Check it like any RIFF; animations have no decoder."""
    structure = examine_riff(source)
    head = source.at(12, 18)
    if not structure.damage and head[:4] == b"VP8X" and len(head) > 8 and head[8] & 2:
        return Structure(unsupported="animated WebP")
    return structure


def is_bmp(head: bytes) -> bool:
    """Return whether a file with these first bytes is a Windows bitmap."""
    return head[:2] == b"BM" and head[6:10] == bytes(4)


def examine_bmp(source: ByteSource) -> Structure:
    """Repair a length of zero, which some writers leave."""
    pixels = source.number(10, 4, "little")
    if source.number(2, 4, "little") > pixels or pixels >= source.size:
        return SOUND
    return Structure(patches=((2, struct.pack("<I", min(source.size, 0xFFFFFFFF))),))
