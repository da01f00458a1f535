"""ASF, the container of WMV and WMA: objects with lengths, one of them full of packets of one size."""

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

_HEADER: Final = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_FILE: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_DATA: Final = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_INDEXES: Final = (
    bytes.fromhex("90080033b1e5cf1189f400a0c90349cb"),
    bytes.fromhex("d329e2d6da35d111903400a0c90349be"),
    bytes.fromhex("f803b1fead12644c840f2a1d2f7ad48c"),
)
_ENCRYPTION: Final = (
    bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"),
    bytes.fromhex("14e68a292622174cb935dae07ee9289c"),
    bytes.fromhex("338505438169e6499b74ad12cb86d58c"),
)
_LIVE: Final = 1
_HEAD_BYTES: Final = 1 << 20
_DATA_HEAD_BYTES: Final = 50
_OBJECT_BYTES: Final = 24
_MOST_OBJECTS: Final = 100


def is_asf(head: bytes) -> bool:
    """Return whether a file with these first bytes is ASF."""
    return head == _HEADER


def examine_asf(source: ByteSource) -> Structure:
    """Check the objects against the file; a recording that was never closed, against its packets."""
    end = source.number(16, 8, "little")
    if end > source.size:
        return report_truncated("the head of the ASF", end, source.size)
    head = source.at(0, min(end, _HEAD_BYTES))
    if any(mark in head for mark in _ENCRYPTION):
        return Structure(encrypted="pictures and sound (Windows Media)")
    place = end
    for _ in range(_MOST_OBJECTS):
        kind, length = source.at(place, 16), source.number(place + 16, 8, "little")
        following = place + length
        if kind == _DATA and _is_open(head, length, fits=following <= source.size):
            return _examine_open_file(source, place + _DATA_HEAD_BYTES, _packet_bytes(head))
        if length < _OBJECT_BYTES or kind not in (_DATA, *_INDEXES):
            return judge_end("the ASF", place, source, hide=True) if place > end else SOUND
        if following > source.size:
            what = "data" if kind == _DATA else "index"
            return report_truncated(f"the {what} of the ASF", following, source.size)
        place = following
    return SOUND


def _is_open(head: bytes, length: int, *, fits: bool) -> bool:
    """Return whether the length of the data is the placeholder of a live recording."""
    described = head.find(_FILE)
    is_live = 0 <= described <= len(head) - 92 and head[described + 88] & _LIVE
    return length <= _DATA_HEAD_BYTES or (bool(is_live) and not fits)


def _packet_bytes(head: bytes) -> int:
    described = head.find(_FILE)
    if not 0 <= described <= len(head) - 100:
        return 0
    shortest, longest = struct.unpack_from("<II", head, described + 92)
    return longest if shortest == longest else 0


def _examine_open_file(source: ByteSource, start: int, packet: int) -> Structure:
    rest = (source.size - start) % packet if packet and source.size > start else 0
    # A packet begins with its error correction flags.
    if rest and source.at(source.size - rest, 1) == source.at(start, 1):
        return report_cut_within("a packet of the ASF")
    return SOUND
