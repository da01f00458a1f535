"""Changes to the boxes of an MP4 file that PyAV cannot write by itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_PARENTS = frozenset(b"moov trak mdia minf stbl edts moof traf mvex dinf udta".split())


def box(kind: bytes, *content: bytes) -> bytes:
    """A box with its header."""
    whole = b"".join(content)
    return struct.pack(">I", 8 + len(whole)) + kind + whole


def full_box(kind: bytes, version: int, flags: int, *content: bytes) -> bytes:
    """A box that begins with a version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *content)


def walk(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """(kind, offset of the header, end) of each box, a parent before its children."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        length = struct.unpack(">I", data[start : start + 4])[0]
        kind = bytes(data[start + 4 : start + 8])
        header = 8
        if length == 1:
            length, header = struct.unpack(">Q", data[start + 8 : start + 16])[0], 16
        length = length or end - start
        if length < 8:
            return
        yield kind, start, start + length
        if kind in _PARENTS:
            yield from walk(data, start + header, start + length)
        start += length


def top(data: bytes) -> list[bytes]:
    """The boxes on the top floor, each with its header."""
    found, place = [], 0
    for _, start, end in walk(data):
        if start == place:
            found.append(bytes(data[start:end]))
            place = end
    return found


def all_of(data: bytes, kind: bytes) -> list[int]:
    """Where the contents of all boxes of that kind begin."""
    return [start + 8 for found, start, _ in walk(data) if found == kind]


def set_duration(data: bytes, seconds: float) -> bytes:
    """The same file, shown for `seconds` only: its edit lists and headers say so, its samples stay."""
    out = bytearray(data)
    place = all_of(data, b"mvhd")[0]
    scale = struct.unpack(">I", data[place + 12 : place + 16])[0]
    shown = struct.pack(">I", round(seconds * scale))
    out[place + 16 : place + 20] = shown
    for header in all_of(data, b"tkhd"):
        out[header + 20 : header + 24] = shown
    for edits in all_of(data, b"elst"):
        out[edits + 8 : edits + 12] = shown
    return bytes(out)


def set_movie_length(data: bytes, ticks: int) -> bytes:
    """The length in the header of the movie replaced; those of the tracks stay."""
    place = all_of(data, b"mvhd")[0]
    return data[: place + 16] + struct.pack(">I", ticks) + data[place + 20 :]


def set_edits(data: bytes, edits: list[tuple[float, float, int]], track: int = 0) -> bytes:
    """The edit list of one track replaced: (seconds, media seconds or -1, rate) each; the moov must be last."""
    trak = [(start, end) for kind, start, end in walk(data) if kind == b"trak"][track]
    place = all_of(data, b"mvhd")[0]
    scale = struct.unpack(">I", data[place + 12 : place + 16])[0]
    media = next(start + 8 for kind, start, _ in walk(data, *trak) if kind == b"mdhd")
    ticks = struct.unpack(">I", data[media + 12 : media + 16])[0]
    entries = b"".join(
        struct.pack(">IiHH", round(length * scale), -1 if at < 0 else round(at * ticks), rate, 0)
        for length, at, rate in edits
    )
    new = box(b"edts", full_box(b"elst", 0, 0, struct.pack(">I", len(edits)), entries))
    start, end = next(
        ((s, e) for kind, s, e in walk(data, *trak) if kind == b"edts"), (media - 16, media - 16)
    )
    if start == end:
        start = end = next(s for kind, s, _ in walk(data, *trak) if kind == b"mdia")
    out = bytearray(data)
    out[start:end] = new
    grown = len(new) - (end - start)
    for kind, at, until in walk(data):
        if kind in (b"moov", b"trak") and at < start and until >= end:
            out[at : at + 4] = struct.pack(">I", until - at + grown)
    shown = struct.pack(">I", round(sum(length for length, _, _ in edits) * scale))
    out[place + 16 : place + 20] = shown
    header = next(s + 8 for kind, s, _ in walk(bytes(out), trak[0], trak[1] + grown) if kind == b"tkhd")
    out[header + 20 : header + 24] = shown
    return bytes(out)


def with_large_mdat(data: bytes) -> bytes:
    """The mdat with a length of 64 bits; offsets are moved, so the file must have its moov last."""
    parts = top(data)
    out = []
    for part in parts:
        if part[4:8] == b"mdat":
            out.append(struct.pack(">I4sQ", 1, b"mdat", len(part) + 8) + part[8:])
        else:
            out.append(part)
    return move_chunks(b"".join(out), 8)


def move_chunks(data: bytes, by: int) -> bytes:
    """Chunk offsets moved by so many bytes."""
    out = bytearray(data)
    for place in all_of(data, b"stco"):
        count = struct.unpack(">I", data[place + 4 : place + 8])[0]
        offsets = struct.unpack(f">{count}I", data[place + 8 : place + 8 + 4 * count])
        out[place + 8 : place + 8 + 4 * count] = struct.pack(
            f">{count}I", *(offset + by for offset in offsets)
        )
    return bytes(out)
