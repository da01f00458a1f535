"""TIFF and BigTIFF: the coding of the picture by the first directory, and the position of its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from vvwatch.processors.media.structure.source import SOUND, ByteSource, Structure, report_truncated

_TYPES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
"""The size of a value by the number of its type; others are not needed here."""

_MOST_TAGS: Final = 1000
_MOST_VALUES: Final = 100_000
_BITS, _COMPRESSION, _COLOURS, _OFFSETS, _SAMPLES, _COUNTS = 258, 259, 262, 273, 277, 279
_PLANAR, _TILE_OFFSETS, _TILE_COUNTS, _FORMAT, _DNG = 284, 324, 325, 339, 50706
_WANTED: Final = frozenset(
    {_BITS, _COMPRESSION, _COLOURS, _OFFSETS, _SAMPLES, _COUNTS}
    | {_PLANAR, _TILE_OFFSETS, _TILE_COUNTS, _FORMAT, _DNG}
)
_COMPRESSIONS: Final = {
    1: "none", 2: "CCITT RLE", 3: "CCITT group 3", 4: "CCITT group 4", 5: "LZW", 6: "old JPEG", 7: "JPEG",
    8: "Deflate", 9: "JBIG", 32773: "PackBits", 32809: "ThunderScan", 32946: "Deflate", 33003: "JPEG 2000",
    33005: "JPEG 2000", 34661: "JBIG", 34676: "SGI LogLuv", 34677: "SGI LogLuv", 34712: "JPEG 2000",
    34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_SURE_COMPRESSIONS: Final = (1, 5, 8, 32773, 32946)
_FORMATS: Final = {1: "", 2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}
_COLOUR_MODELS: Final = {
    0: "grey",
    1: "grey",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    8: "Lab",
}
_SURE_COLOURS: Final = (0, 1, 2, 3)
_BIG: Final = (b"II+\0", b"MM\0+")
_CLASSIC: Final = (b"II*\0", b"MM\0*")
_Tags = Mapping[int, Sequence[int]]


def is_tiff(head: bytes) -> bool:
    """Return whether a file with these first bytes is a TIFF or a BigTIFF."""
    return head[:4] in _BIG + _CLASSIC


def examine_tiff(source: ByteSource) -> Structure:
    """Report parts of the picture beyond the end of the file, and a coding that may have no decoder.

    A classic TIFF counts as unsupported only if it fails to decode: see `describe_tiff`.
    """
    tags = _read_first_directory(source)
    if isinstance(tags, Structure):
        return tags
    end = _find_parts_end(tags)
    if end > source.size:
        return report_truncated("the picture of the TIFF", end, source.size)
    return Structure(unsupported="BigTIFF") if source.at(0, 4) in _BIG else SOUND


def describe_tiff(source: ByteSource) -> str | None:
    """Return the kind of TIFF if a decoder may lack it; None for the kinds that every decoder knows."""
    tags = _read_first_directory(source)
    if isinstance(tags, Structure):
        return None
    compression, colours = _first_value(tags, _COMPRESSION, 1), _first_value(tags, _COLOURS, 1)
    depth, form = _first_value(tags, _BITS, 1), _first_value(tags, _FORMAT, 1)
    is_even = len(set(tags.get(_BITS, (1,)))) == 1
    is_sure = compression in _SURE_COMPRESSIONS and colours in _SURE_COLOURS and depth in (1, 2, 4, 8, 16)
    if (
        is_sure
        and is_even
        and form == 1
        and _first_value(tags, _PLANAR, 1) == 1
        and _first_value(tags, _SAMPLES, 1) in (1, 3, 4)
    ):
        return None
    model = _COLOUR_MODELS.get(colours, f"colour model {colours}")
    packing = _COMPRESSIONS.get(compression, f"compression {compression}")
    raw = "raw " if _DNG in tags else ""
    return f"TIFF of {raw}{model}, {depth}-bit {_FORMATS.get(form, '')}samples, compression {packing}"


def _first_value(tags: _Tags, tag: int, otherwise: int) -> int:
    values = tags.get(tag)
    return values[0] if values else otherwise


def _read_first_directory(source: ByteSource) -> _Tags | Structure:
    """Return the tags of the first directory, or the damage if it cannot be read."""
    head = source.at(0, 16)
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    is_big = head[:4] in _BIG
    width = 8 if is_big else 4
    place = int.from_bytes(head[8:16] if is_big else head[4:8], order)
    if place + 2 > source.size:
        return report_truncated("the head of the directory of the TIFF", place + 2, source.size)
    count_bytes, entry_bytes = (8, 20) if is_big else (2, 12)
    count = int.from_bytes(source.at(place, count_bytes), order)
    start = place + count_bytes
    if count > _MOST_TAGS:
        return SOUND
    if start + count * entry_bytes > source.size:
        return report_truncated("the directory of the TIFF", start + count * entry_bytes, source.size)
    tags: dict[int, Sequence[int]] = {}
    for index in range(count):
        entry = source.at(start + index * entry_bytes, entry_bytes)
        tag = int.from_bytes(entry[:2], order)
        if tag in _WANTED and tag not in tags:
            tags[tag] = _read_values(source, entry, order, width)
    return tags


def _read_values(
    source: ByteSource, entry: bytes, order: Literal["little", "big"], width: int
) -> Sequence[int]:
    size = _TYPES.get(int.from_bytes(entry[2:4], order), 0)
    count = int.from_bytes(entry[4 : 4 + width], order)
    if not size or count > _MOST_VALUES:
        return ()
    content = entry[4 + width :]
    if size * count > width:
        content = source.at(int.from_bytes(content, order), size * count)
    usable = min(count, len(content) // size)
    return [int.from_bytes(content[at * size : at * size + size], order) for at in range(usable)]


def _find_parts_end(tags: _Tags) -> int:
    """Return where the last strip or tile of the picture ends."""
    pairs = ((_OFFSETS, _COUNTS), (_TILE_OFFSETS, _TILE_COUNTS))
    ends = (
        offset + length
        for offsets, counts in pairs
        for offset, length in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
    )
    return max(ends, default=0)
