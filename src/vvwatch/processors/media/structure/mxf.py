"""MXF, the format of broadcast studios and cameras: a row of keys with lengths, in partitions."""

from __future__ import annotations

from typing import Final, NamedTuple

from vvwatch.processors.media.structure.source import (
    SOUND,
    ByteSource,
    Structure,
    judge_end,
    report_cut_within,
    report_truncated,
)

_LABEL: Final = b"\x06\x0e\x2b\x34"
_PARTITION: Final = bytes.fromhex("060e2b34020501010d01020101")
_RANDOM_INDEX: Final = bytes.fromhex("060e2b34020501010d0102010111")
_ENCRYPTED: Final = bytes.fromhex("060e2b34040101070d010301020b01")
_HEAD_BYTES: Final = 1 << 20
_MOST_ITEMS: Final = 100_000
_LONGEST_RUN_IN: Final = 64 << 10
_FOOTER_PLACE: Final = 24


class Item(NamedTuple):
    """One key with its content."""

    key: bytes
    content: int
    end: int


def is_mxf(head: bytes) -> bool:
    """Return whether a file with these first bytes is MXF; a run-in is left to the demuxer."""
    return head[:13] == _PARTITION


def examine_mxf(source: ByteSource) -> Structure:
    """Check the footer that the head names and the last item against the end of the file."""
    head = _read_item(source, 0)
    if head is None:
        return report_cut_within("the head of the MXF")
    if _ENCRYPTED in source.at(0, _HEAD_BYTES):
        return Structure(encrypted="the media (MXF)")
    footer = source.number(head.content + _FOOTER_PLACE, 8)
    if footer:
        return _judge_footer(source, footer)
    if source.last(_RANDOM_INDEX, _LONGEST_RUN_IN) >= 0:
        return SOUND
    return _walk_items(source, 0, is_closed=False)


def _judge_footer(source: ByteSource, footer: int) -> Structure:
    if footer + 16 > source.size:
        return report_truncated("the body of the MXF", footer, source.size)
    if source.at(footer, 13) != _PARTITION:
        return Structure(damage=f"truncated: the MXF has no footer at byte {footer:,}, where its head says")
    return _walk_items(source, footer, is_closed=True)


def _walk_items(source: ByteSource, place: int, *, is_closed: bool) -> Structure:
    """Judge the items from `place` to the end of the file, as many as are cheap to walk."""
    for _ in range(_MOST_ITEMS):
        if place >= source.size:
            return SOUND if is_closed else _report_never_closed()
        item = _read_item(source, place)
        if item is None:
            rest = source.at(place, 16)
            if (len(rest) < 16 and rest[:4] == _LABEL[: len(rest[:4])]) or rest[:4] == _LABEL:
                return report_cut_within("the head of an MXF item")
            return judge_end("the MXF", place, source, hide=True)
        if item.end > source.size:
            return report_truncated("the last MXF item", item.end, source.size)
        place = item.end
    return SOUND


def _report_never_closed() -> Structure:
    return Structure(warnings=("the MXF was never closed: it has no footer",))


def _read_item(source: ByteSource, place: int) -> Item | None:
    head = source.at(place, 25)
    if len(head) < 17 or head[:4] != _LABEL:
        return None
    width = head[16] & 0x7F if head[16] & 0x80 else 0
    if width > 8 or len(head) < 17 + width:
        return None
    length = int.from_bytes(head[17 : 17 + width], "big") if width else head[16]
    return Item(head[:16], place + 17 + width, place + 17 + width + length)
