"""The picture that a HEIF file shows: often a grid of tiles, turned and mirrored on display."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from vvwatch.processors.media.structure.boxes import Box, iter_boxes
from vvwatch.processors.media.structure.source import ByteSource

_EXTENT: Final = re.compile(rb"(?<=\0\0\0\x14ispe)\0{4}.{8}", re.DOTALL)
_MOST_META_BYTES: Final = 4 << 20
_MOST_ITEMS: Final = 65_536


@dataclass(frozen=True, slots=True)
class HeifPicture:
    """The primary picture of a HEIF file.

    `width` and `height` are the displayed size, after turning. `rotation_degrees` is the clockwise turn, `mirror` is
    "", "horizontal" (left and right swap) or "vertical". `tiles` are the item identifiers of a grid, row by row, with
    `columns` in each row; empty for a single picture.
    """

    width: int
    height: int
    rotation_degrees: int = 0
    mirror: str = ""
    columns: int = 1
    tiles: tuple[int, ...] = ()


@dataclass(slots=True)
class _Meta:
    """The content of the `meta` boxes, by item."""

    primary: int = 0
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    owned: dict[int, list[int]] = field(default_factory=dict)
    derived: dict[int, tuple[int, ...]] = field(default_factory=dict)


def read_heif_size(source: ByteSource) -> tuple[int, int]:
    """Return (width, height) of the displayed picture, (0, 0) if none is described."""
    picture = read_heif_picture(source)
    if picture is not None:
        return picture.width, picture.height
    extents = (_read_extent(match[0]) for match in _EXTENT.finditer(source.at(0, 1 << 20)))
    return max(extents, key=lambda extent: extent[0] * extent[1], default=(0, 0))


def read_heif_picture(source: ByteSource) -> HeifPicture | None:
    """Return the primary picture of a HEIF file, or the largest if none is marked; None if there is none."""
    for box in iter_boxes(source, 0, source.size):
        if box.kind == b"meta" and box.end <= source.size and box.end - box.start <= _MOST_META_BYTES:
            try:
                return _build_picture(_read_meta(source, box))
            except (struct.error, IndexError):
                return None
    return None


def _build_picture(meta: _Meta) -> HeifPicture | None:
    owned = [meta.properties[index] for index in meta.owned.get(meta.primary, ())]
    extents = [_read_extent(content) for kind, content in owned or meta.properties if kind == b"ispe"]
    if not extents:
        return None
    width, height = max(extents, key=lambda extent: extent[0] * extent[1])
    width, height = _crop_size(owned, (width, height))
    quarters = sum(content[0] & 3 for kind, content in owned if kind == b"irot") % 4
    if quarters % 2:
        width, height = height, width
    mirrors = [("vertical", "horizontal")[content[0] & 1] for kind, content in owned if kind == b"imir"]
    tiles = meta.derived.get(meta.primary, ())
    columns = _count_columns(meta, len(tiles), extents[0])
    return HeifPicture(width, height, -90 * quarters % 360, mirrors[0] if mirrors else "", columns, tiles)


def _crop_size(owned: Sequence[tuple[bytes, bytes]], whole: tuple[int, int]) -> tuple[int, int]:
    """Return what a clean aperture leaves of `whole`."""
    for kind, content in owned:
        if kind == b"clap":
            wide, over, high, under = struct.unpack_from(">4I", content)
            if over and under and wide and high:
                return min(whole[0], wide // over), min(whole[1], high // under)
    return whole


def _count_columns(meta: _Meta, tiles: int, whole: tuple[int, int]) -> int:
    """Return the tiles in a row, by the width of the first tile."""
    first = meta.derived.get(meta.primary, (0,))[0]
    owned = (meta.properties[index] for index in meta.owned.get(first, ()))
    width = next((_read_extent(content)[0] for kind, content in owned if kind == b"ispe"), 0)
    return min(max(tiles, 1), -(-whole[0] // width)) if tiles and width else 1


def _read_extent(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", content[4:12])
    return width, height


def _read_meta(source: ByteSource, box: Box) -> _Meta:
    meta = _Meta()
    for child in iter_boxes(source, box.content + 4, box.end):
        content = source.at(child.content, min(child.end, box.end) - child.content)
        if child.kind == b"pitm":
            meta.primary = int.from_bytes(content[4 : 6 if content[0] == 0 else 8], "big")
        elif child.kind == b"iref":
            meta.derived.update(_iter_references(content))
        elif child.kind == b"iprp":
            _read_properties(meta, content)
    return meta


def _iter_parts(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, content) of the boxes in `content`."""
    place = 0
    while place + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        if length < 8:
            return
        yield kind, content[place + 8 : place + length]
        place += length


def _read_properties(meta: _Meta, content: bytes) -> None:
    for kind, inner in _iter_parts(content):
        if kind == b"ipco":
            meta.properties = list(_iter_parts(inner))
        elif kind == b"ipma":
            meta.owned.update(_iter_associations(inner))


def _iter_references(content: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield (item, its source items) of each derived picture."""
    form = "H" if content[0] == 0 else "I"
    width = struct.calcsize(form)
    for kind, inner in _iter_parts(content[4:]):
        if kind == b"dimg":
            item, count = struct.unpack_from(f">{form}H", inner)
            yield item, struct.unpack_from(f">{count}{form}", inner, width + 2)


def _iter_associations(content: bytes) -> Iterator[tuple[int, list[int]]]:
    """Yield (item, indexes of its properties from 0) of each item that has any."""
    id_bytes = 2 if content[0] == 0 else 4
    index_bytes = 2 if content[3] & 1 else 1
    mask = (1 << 8 * index_bytes - 1) - 1
    count, place = struct.unpack_from(">I", content, 4)[0], 8
    for _ in range(min(count, _MOST_ITEMS)):
        item = int.from_bytes(content[place : place + id_bytes], "big")
        owned = content[place + id_bytes]
        place += id_bytes + 1
        indexes = range(place, place + owned * index_bytes, index_bytes)
        values = [int.from_bytes(content[at : at + index_bytes], "big") & mask for at in indexes]
        yield item, [value - 1 for value in values if value]
        place += owned * index_bytes
