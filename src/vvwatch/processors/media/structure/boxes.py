"""MP4, QuickTime and related formats: nested boxes, each with its length in front."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from vvwatch.processors.media.structure.source import (
    SOUND,
    ByteSource,
    Structure,
    judge_end,
    report_cut_within,
    report_truncated,
)

_TOP: Final = frozenset(
    b"ftyp moov mdat moof mfra free skip wide uuid meta sidx ssix styp pnot udta pdin emsg prft junk PICT".split()
)
_FRAGMENTS: Final = (b"moof", b"mdat")
_MOST_BOXES: Final = 1 << 20
_NAME: Final = re.compile(rb"[A-Za-z0-9 _\xa9-]{4}")
_PROTECTED: Final = {
    b"encv": "pictures",
    b"enca": "sound",
    b"enct": "text",
    b"encs": "data",
    b"drmi": "pictures",
    b"drms": "sound",
    b"aavd": "sound",
}
_SCHEMES: Final = {b"drmi": "FairPlay", b"drms": "FairPlay", b"aavd": "Audible"}
_STANDARD: Final = "Common Encryption"


class Box(NamedTuple):
    """One box: its kind, where it and its content begin, and where it claims to end."""

    kind: bytes
    start: int
    content: int
    end: int


def is_mp4(head: bytes) -> bool:
    """Return whether a file with these first bytes is made of boxes."""
    # A text that begins with "The free" is likelier than a first box of half a gigabyte.
    return head[4:8] in _TOP and head[0] < 0x20


def examine_mp4(source: ByteSource) -> Structure:
    """Walk the outermost boxes to the end; look for encrypted tracks in the index."""
    ended = _walk_boxes(source)
    if ended.damage:
        return ended
    secret = _find_encryption(source)
    return Structure(warnings=ended.warnings, encrypted=secret) if secret else ended


def has_index(source: ByteSource) -> bool:
    """Return whether a `moov` or `meta` box exists, without which nothing can be decoded."""
    return any(box.kind in (b"moov", b"meta") for box in iter_boxes(source, 0, source.size))


def iter_boxes(source: ByteSource, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes from `start` to `end`; the last may end beyond it. Stop at bytes that are no box."""
    for _ in range(_MOST_BOXES):
        box = _read_box(source, start, end)
        if box is None:
            return
        yield box
        start = box.end


def _read_box(source: ByteSource, start: int, end: int) -> Box | None:
    if start + 8 > end:
        return None
    head = source.at(start, 16)
    length, kind = struct.unpack(">I4s", head[:8].ljust(8, b"\0"))
    content = start + 8
    if length == 1 and len(head) == 16:
        length, content = struct.unpack(">Q", head[8:])[0], start + 16
    elif length == 0 and kind in _TOP:
        length = end - start  # it extends to the end of the file
    return Box(kind, start, content, start + length) if start + length >= content else None


def _walk_boxes(source: ByteSource) -> Structure:
    reached, seen = 0, set[bytes]()
    for box in iter_boxes(source, 0, source.size):
        if box.end > source.size:
            return _judge_long_box(box, seen, source)
        if box.kind not in _TOP and not _NAME.fullmatch(box.kind):
            break
        seen.add(box.kind)
        reached = box.end
    return _judge_rest(reached, seen, source)


def _judge_long_box(box: Box, seen: set[bytes], source: ByteSource) -> Structure:
    if box.kind in _TOP:
        return report_truncated(f"mp4 box '{box.kind.decode()}'", box.end, source.size)
    return _judge_rest(box.start, seen, source)


def _judge_rest(end: int, seen: set[bytes], source: ByteSource) -> Structure:
    """Judge the bytes after the last whole box: the rest of another box, or bytes that do not matter."""
    index = seen & {b"moov", b"meta"}
    is_complete = b"mdat" in seen and bool(index) and b"moof" not in seen
    if _begins_a_box(source.at(end, 8), is_complete=is_complete):
        return report_cut_within("the header of an mp4 box")
    if b"mdat" in seen and not index and b"moof" not in seen and end >= source.size:
        return Structure(damage="truncated: the index of the mp4, box 'moov', is missing")
    return judge_end("the mp4", end, source) if seen else SOUND


def _begins_a_box(rest: bytes, *, is_complete: bool) -> bool:
    """Return whether fewer than eight bytes can begin a box: a length below 16 MiB, then its kind.

    After a complete file, only the kind of a box with pictures or sound is evidence.
    """
    if len(rest) >= 8 or not rest.strip(b"\0") or rest[0] or len(rest) < 2:
        return False
    kinds = _FRAGMENTS if is_complete else _TOP
    return (len(rest) > 4 or not is_complete) and any(kind.startswith(rest[4:]) for kind in kinds)


def _find_encryption(source: ByteSource) -> str | None:
    found: dict[str, str] = {}
    for entry in iter_sample_entries(source):
        what = _PROTECTED.get(entry.kind)
        if what:
            found[what] = _SCHEMES.get(entry.kind) or _read_scheme(source, entry)
    if not found:
        return None
    return f"{' and '.join(sorted(found))} ({', '.join(sorted(set(found.values())))})"


def iter_sample_entries(source: ByteSource) -> Iterator[Box]:
    """Yield the sample descriptions of all tracks."""
    paths = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"]
    found = [Box(b"", 0, 0, source.size)]
    for name in paths:
        found = [child for parent in found for child in _iter_children(source, parent) if child.kind == name]
    for description in found:
        yield from iter_boxes(source, description.content + 8, min(description.end, source.size))


def _iter_children(source: ByteSource, parent: Box) -> Iterator[Box]:
    return iter_boxes(source, parent.content, min(parent.end, source.size))


def _read_scheme(source: ByteSource, entry: Box) -> str:
    """Return the scheme of a protected sample entry, from its `schm` box."""
    content = source.at(entry.content, min(entry.end - entry.content, 1 << 16))
    place = content.find(b"schm")
    name = content[place + 8 : place + 12] if place >= 0 else b""
    if name in (b"cenc", b"cbcs", b"cbc1", b"cens"):
        return f"{_STANDARD}, {name.decode()}"
    return "FairPlay" if name == b"itun" else _STANDARD
