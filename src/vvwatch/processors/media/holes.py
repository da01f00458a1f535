"""Finds bytes that do not belong to a container: they prove that a gap in time is a loss."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from vvwatch.processors.media.reading import Jump
from vvwatch.processors.media.structure import ByteSource

_SEGMENT: Final = 0x18538067
_CLUSTER: Final = 0x1F43B675
_BLOCK_GROUP: Final = 0xA0
_MASTERS: Final = frozenset({_SEGMENT, _CLUSTER, _BLOCK_GROUP})
_BLOCKS: Final = frozenset({0xA1, 0xA3})
_LONGEST_LENGTH: Final = 8
_ELEMENTS_AT_MOST: Final = 100_000
_PAD_BYTES: Final = 64

_CAPTURE: Final = b"OggS"
_PAGE_HEADER: Final = 27
_BEGINS_STREAM: Final = 2
_SEARCHED_BYTES: Final = 1 << 16
_FLAC_RATE: Final = 27
_KEPT_LOSSES: Final = 100
_MIRRORED: Final = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def find_matroska_holes(source: ByteSource, jumps: Sequence[Jump]) -> Iterator[Jump]:
    """Yield those of `jumps`, each between the contents of two blocks, that elements do not fill."""
    for jump in jumps:
        reached = _walk_elements(source, jump.start, jump.end)
        if reached != jump.end:
            yield jump._replace(start=min(reached, jump.end))


def find_broken_tail(source: ByteSource, tail: Jump) -> Jump | None:
    """Return what follows the last packet of a Matroska segment if it is not the elements that belong there."""
    end = _find_segment_end(source)
    last = min(end or tail.end, tail.end)
    reached = _walk_elements(source, tail.start, last)
    is_hollow = len(rest := source.at(reached, 2 * _PAD_BYTES)) > _PAD_BYTES and not rest.strip(b"\0")
    if reached >= last or not (is_hollow or (end is not None and end <= source.size)):
        return None
    return tail._replace(start=reached, end=last)


def _find_segment_end(source: ByteSource) -> int | None:
    """Return where the segment ends; None if it does not say."""
    place = 0
    while (element := _read_element(source, place)) is not None and element[2] is not None:
        place = element[1] + element[2]
        if element[0] == _SEGMENT:
            return place
    return None


def _walk_elements(source: ByteSource, start: int, end: int) -> int:
    """Return how far elements follow one another after the block whose content begins at `start`.

    That is `end` if an element's content begins there or passes it, or if there is no element.
    """
    place = _find_block_end(source, start)
    for _ in range(_ELEMENTS_AT_MOST):
        element = _read_element(source, place)
        if place >= end or element is None:
            break
        identifier, content, length = element
        if content == end:
            return end
        if identifier in _MASTERS or length is None:
            place = content
        elif content + length > end:
            break
        else:
            place = content + length
    return place


def _find_block_end(source: ByteSource, content: int) -> int:
    for width in range(2, min(content, 1 + _LONGEST_LENGTH) + 1):
        element = _read_element(source, content - width)
        if element is not None and element[0] in _BLOCKS and element[1] == content:
            return content + (element[2] or 0)
    return content


def _read_element(source: ByteSource, place: int) -> tuple[int, int, int | None] | None:
    """Return (identifier, start of the content, its length or None if unknown); None without an element."""
    head = source.at(place, 12)
    id_length = _vint_length(head[:1])
    size_length = _vint_length(head[id_length : id_length + 1])
    if not 0 < id_length <= 4 or not 0 < size_length <= 8 or len(head) < id_length + size_length:
        return None
    mask = (1 << 7 * size_length) - 1
    length = int.from_bytes(head[id_length : id_length + size_length], "big") & mask
    content = place + id_length + size_length
    return int.from_bytes(head[:id_length], "big"), content, None if length == mask else length


def _vint_length(first: bytes) -> int:
    return 9 - first[0].bit_length() if first and first[0] else 0


@dataclass(slots=True)
class OggPages:
    """The findings in an Ogg file's pages: losses between them, and the duration of each link.

    A link is a complete file: recorders and radio stations write one after another. Its seconds are None if it holds
    no sound of a known codec.
    """

    losses: list[str] = field(default_factory=list)
    links: list[float | None] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """Return the duration of all links together; None if one is unknown."""
        known = [link for link in self.links if link is not None]
        return sum(known) if known and len(known) == len(self.links) else None


def read_ogg_pages(source: ByteSource) -> OggPages:
    """Walk the pages of `source` by their headers; the next page's number reveals a missing one."""
    walk = _OggWalk(source)
    return walk.read_pages()


class _OggWalk:
    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._found = OggPages()
        self._numbers: dict[int, int] = {}
        self._clocks: dict[int, tuple[int, int]] = {}
        self._lasts: dict[int, int] = {}
        self._in_headers = True

    def read_pages(self) -> OggPages:
        place = 0
        while place < self._source.size:
            page = self._source.at(place, _PAGE_HEADER + 255)
            if page[:4] != _CAPTURE or len(page) < _PAGE_HEADER:
                place = self._find_next_page(place)
                continue
            lengths = page[_PAGE_HEADER : _PAGE_HEADER + page[26]]
            page = self._source.at(place, _PAGE_HEADER + len(lengths) + sum(lengths))
            self._take(page, page[_PAGE_HEADER + len(lengths) :], place)
            place += _PAGE_HEADER + len(lengths) + sum(lengths)
        self._end_link()
        return self._found

    def _take(self, page: bytes, content: bytes, place: int) -> None:
        granule, serial, number, checksum = struct.unpack("<qIII", page[6:26])
        if _page_checksum(page) != checksum:
            self._lose(f"the Ogg page at byte {place:,} does not match its checksum")
        if page[5] & _BEGINS_STREAM:
            self._begin(serial, content)
        else:
            self._in_headers = False
            expected = self._numbers.get(serial, number - 1) + 1
            if number > expected:
                self._lose(f"{number - expected} Ogg pages are missing before byte {place:,}")
        self._numbers[serial] = number
        if granule >= 0:
            self._lasts[serial] = max(granule, self._lasts.get(serial, 0))

    def _begin(self, serial: int, head: bytes) -> None:
        if not self._in_headers:
            self._end_link()
        self._in_headers = True
        clock = _read_clock(head)
        if clock is not None:
            self._clocks[serial] = clock

    def _end_link(self) -> None:
        ends = [
            (self._lasts.get(serial, 0) - skipped) / rate for serial, (skipped, rate) in self._clocks.items()
        ]
        self._found.links.append(max(ends, default=None))
        self._numbers, self._clocks, self._lasts = {}, {}, {}

    def _find_next_page(self, place: int) -> int:
        """Return where the next page begins after foreign bytes at `place`; record the loss."""
        at = place + 1
        while (chunk := self._source.at(at, _SEARCHED_BYTES)) and _CAPTURE not in chunk:
            at += max(1, len(chunk) - len(_CAPTURE) + 1)
        end = at + chunk.index(_CAPTURE) if chunk else self._source.size
        if chunk:
            self._lose(f"bytes {place:,} to {end:,} are not an Ogg page")
        return end

    def _lose(self, what: str) -> None:
        if len(self._found.losses) < _KEPT_LOSSES:
            self._found.losses.append(f"damaged: {what}")


def _page_checksum(page: bytes) -> int:
    """Return the CRC-32 of an Ogg page, with zeros in its own field; its bit order is the reverse of zlib's."""
    bare = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(bare.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _read_clock(head: bytes) -> tuple[int, int] | None:
    """Return (samples to skip, samples per second) from the first page of a sound stream."""
    if head.startswith(b"OpusHead"):
        return int.from_bytes(head[10:12], "little"), 48_000
    rate = 0
    if head.startswith(b"\1vorbis"):
        rate = int.from_bytes(head[12:16], "little")
    elif head.startswith(b"Speex   "):
        rate = int.from_bytes(head[36:40], "little")
    elif head.startswith(b"\x7fFLAC"):
        rate = int.from_bytes(head[_FLAC_RATE : _FLAC_RATE + 3], "big") >> 4
    return (0, rate) if rate else None
