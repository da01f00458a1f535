"""Matroska and WebM: nested elements. Live recordings leave the outer lengths open."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Final, NamedTuple

from vvwatch.processors.media.structure.source import (
    SOUND,
    ByteSource,
    Structure,
    judge_end,
    report_cut_within,
    report_truncated,
)

_EBML_HEADER: Final = 0x1A45DFA3
_SEGMENT: Final = 0x18538067
_CLUSTER: Final = 0x1F43B675
_CLUSTER_MARK: Final = struct.pack(">I", _CLUSTER)
_TOP: Final = frozenset({0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1043A770, 0x1C53BB6B, 0x1941A469, 0x1254C367})
_IN_CLUSTER: Final = frozenset({0xE7, 0xA3, 0xA0, 0xA7, 0xAB, 0x5854, 0xAF, 0xA1})
_PADS: Final = frozenset({0xEC, 0xBF})
_TRACKS: Final = 0x1654AE6B
_TRACK_ENTRY: Final = 0xAE
_TRACK_TYPE: Final = 0x83
_CODINGS: Final = 0x6D80
_CODING: Final = 0x6240
_CODING_TYPE: Final = 0x5033
_ENCRYPTION: Final = 0x5035
_KINDS: Final = {1: "pictures", 2: "sound"}
_MOST_TAIL_BYTES: Final = 64 << 20
_MOST_ELEMENTS: Final = 200_000
_MOST_TRACK_ELEMENTS: Final = 1000
_MOST_TRIES: Final = 16


class Element(NamedTuple):
    """One element: its identifier, where its content begins, and where that ends, None if it does not say."""

    identifier: int
    content: int
    end: int | None


def is_matroska(head: bytes) -> bool:
    """Return whether a file with these first bytes is Matroska or WebM."""
    return head[:4] == struct.pack(">I", _EBML_HEADER)


def examine_matroska(source: ByteSource) -> Structure:
    """Check the segment against the file, or the last cluster if the segment's length is open."""
    place = 0
    while (element := _read_element(source, place)) is not None:
        if element.identifier == _SEGMENT:
            return _judge_segment(source, element)
        if element.end is None:
            break
        place = element.end
    if element is None and place > source.size:
        return report_truncated("the head of the Matroska file", place, source.size)
    return SOUND


def _judge_segment(source: ByteSource, segment: Element) -> Structure:
    ended = _judge_open_end(source) if segment.end is None else _judge_closed_end(source, segment.end)
    if ended.damage:
        return ended
    secret = _find_encryption(source, segment)
    return replace(ended, encrypted=secret)


def _judge_closed_end(source: ByteSource, end: int) -> Structure:
    if end > source.size:
        return report_truncated("the Matroska segment", end, source.size)
    return judge_end("the Matroska segment", end, source)


def _judge_open_end(source: ByteSource) -> Structure:
    """Walk from the last cluster to the end; skip false cluster marks within a block."""
    before: int | None = None
    for _ in range(_MOST_TRIES):
        start = source.last(_CLUSTER_MARK, _MOST_TAIL_BYTES, before)
        if start < 0:
            return SOUND
        first = _read_element(source, start)
        inner = _read_element(source, first.content) if first else None
        if first and inner and inner.identifier in _IN_CLUSTER | _PADS:
            return _walk_elements(source, first)
        if source.size - start < 24:
            return report_cut_within("the head of a Matroska cluster")
        before = start + 3
    return SOUND


def _walk_elements(source: ByteSource, cluster: Element) -> Structure:
    """Judge the elements from the start of `cluster` to the end of the file."""
    if cluster.end is not None and cluster.end > source.size:
        return report_truncated("the last Matroska cluster", cluster.end, source.size)
    place = cluster.content
    for _ in range(_MOST_ELEMENTS):
        if place >= source.size:
            return SOUND
        element = _read_element(source, place)
        if element is None or element.identifier not in _IN_CLUSTER | _PADS | _TOP:
            is_within = cluster.end is not None and place < cluster.end
            return SOUND if is_within else _judge_unknown(source, place)
        if element.end is None:
            return SOUND
        if element.end > source.size:
            return report_truncated("the last Matroska block", element.end, source.size)
        place = element.end
    return SOUND


def _judge_unknown(source: ByteSource, place: int) -> Structure:
    """Judge bytes that are no element: one cut in its head, or bytes after the end."""
    rest = source.at(place, 12)
    is_last = len(rest) < 12
    if is_last and (rest[0] in _IN_CLUSTER or rest[:4] == _CLUSTER_MARK[: len(rest[:4])]):
        return report_cut_within("the head of a Matroska block")
    return judge_end("the last Matroska block", place, source, hide=True)


def _read_element(source: ByteSource, offset: int) -> Element | None:
    head = source.at(offset, 12)
    id_length = _vint_length(head[:1])
    size_length = _vint_length(head[id_length : id_length + 1])
    if not id_length or not size_length or len(head) < id_length + size_length:
        return None
    identifier = int.from_bytes(head[:id_length], "big")
    mask = (1 << 7 * size_length) - 1
    length = int.from_bytes(head[id_length : id_length + size_length], "big") & mask
    content = offset + id_length + size_length
    return Element(identifier, content, None if length == mask else content + length)


def _vint_length(first: bytes) -> int:
    return 9 - first[0].bit_length() if first and first[0] else 0


def _find_encryption(source: ByteSource, segment: Element) -> str | None:
    found = set[str]()
    for tracks in _find_children(source, segment, _TRACKS):
        for track in _find_children(source, tracks, _TRACK_ENTRY):
            if _has_key(source, track):
                kinds = [
                    source.number(kind.content, 1) for kind in _find_children(source, track, _TRACK_TYPE)
                ]
                found.add(_KINDS.get(kinds[0] if kinds else 0, "a track"))
    return f"{' and '.join(sorted(found))} (Matroska encryption)" if found else None


def _has_key(source: ByteSource, track: Element) -> bool:
    return any(
        True
        for codings in _find_children(source, track, _CODINGS)
        for coding in _find_children(source, codings, _CODING)
        if any(True for _ in _find_children(source, coding, _ENCRYPTION))
        or any(source.number(kind.content, 1) == 1 for kind in _find_children(source, coding, _CODING_TYPE))
    )


def _find_children(source: ByteSource, parent: Element, identifier: int) -> list[Element]:
    """Return the elements of this kind in `parent`, up to the first cluster."""
    found: list[Element] = []
    place, end = parent.content, source.size if parent.end is None else min(parent.end, source.size)
    for _ in range(_MOST_TRACK_ELEMENTS):
        element = _read_element(source, place) if place < end else None
        if element is None or element.identifier == _CLUSTER or element.end is None:
            break
        if element.identifier == identifier:
            found.append(element)
        place = element.end
    return found
