"""MPEG formats: transport, program and elementary streams, and MP3. None states its length."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from vvwatch.processors.media.structure.source import (
    SOUND,
    ByteSource,
    Structure,
    judge_end,
    report_cut_within,
    report_truncated,
)

_SYNC: Final = 0x47
_PACKET: Final = 188
_STRIDES: Final = ((188, 0), (192, 4), (204, 0))
"""The distance of packets and the bytes before each: plain, with a camera's time stamps, with parity."""

_CHECKED_PACKETS: Final = 8
_FEWEST_PACKETS: Final = 2
_SAMPLED_BYTES: Final = 1 << 20
_TAIL_BYTES: Final = 1 << 20
_SYSTEM_PIDS: Final = 32
_START: Final = b"\0\0\1"
_PACK: Final = b"\0\0\1\xba"
_PROGRAM_END: Final = 0xB9
_SEQUENCE_END: Final = b"\0\0\1\xb7"
_FIRST_STREAM: Final = 0xBB
_ELEMENTARY: Final = (b"\0\0\1\xb3", b"\0\0\1\xb0", b"\0\0\1\xb5")


class _Grid(NamedTuple):
    """The position of packets in a transport stream."""

    offset: int
    stride: int
    lead: int


def is_transport(head: bytes, source: ByteSource) -> bool:
    """Return whether a file is a transport stream: packets of one size, each with a sync byte."""
    return bool(head) and _find_grid(source) is not None


def examine_transport(source: ByteSource) -> Structure:
    """Check that the file ends with a whole packet, and whether its packets are scrambled."""
    grid = _find_grid(source)
    if grid is None:
        return SOUND
    if _is_scrambled(source, grid):
        return Structure(encrypted="pictures and sound (scrambled transport stream)")
    filled = _find_filling(source, grid)
    if filled is not None:
        return judge_end("the last packet", filled, source, hide=True)
    whole = grid.offset + (source.size - grid.offset) // grid.stride * grid.stride
    rest = source.at(whole, grid.stride)
    last = source.at(whole - grid.stride + grid.lead, 1)
    if rest and last == bytes([_SYNC]) and rest[grid.lead : grid.lead + 1] == last:
        return report_cut_within("a packet of the transport stream")
    return judge_end("the last packet", whole, source) if rest.strip(b"\0") else SOUND


def _find_grid(source: ByteSource) -> _Grid | None:
    head = source.at(0, 204 * (_CHECKED_PACKETS + 2))
    for stride, lead in _STRIDES:
        for offset in range(stride):
            places = range(offset + lead, len(head), stride)[:_CHECKED_PACKETS]
            enough = len(places) == _CHECKED_PACKETS or (offset == 0 and len(places) > _FEWEST_PACKETS)
            if enough and all(head[place] == _SYNC for place in places):
                return _Grid(offset, stride, lead)
    return None


def _find_filling(source: ByteSource, grid: _Grid) -> int | None:
    """Return where packets end and one value fills the space that a recorder reserved; None without filling.

    A demuxer that searches the filling for a packet gives up as if reading had failed.
    """
    end = source.filled_from()
    end = grid.offset + -(-(end - grid.offset) // grid.stride) * grid.stride
    return end if end > grid.offset and source.size - end > grid.stride else None


def _is_scrambled(source: ByteSource, grid: _Grid) -> bool:
    """Return whether most packets with content other than tables are marked as scrambled."""
    content = source.at(grid.offset, _SAMPLED_BYTES)
    filled = scrambled = 0
    for place in range(grid.lead, len(content) - _PACKET, grid.stride):
        pid = int.from_bytes(content[place + 1 : place + 3], "big") & 0x1FFF
        if content[place] == _SYNC and _SYSTEM_PIDS <= pid < 0x1FFF and content[place + 3] & 0x10:
            filled += 1
            scrambled += content[place + 3] >= 0x80
    return scrambled * 2 > filled


def is_program(head: bytes) -> bool:
    """Return whether a file with these first bytes is a program stream."""
    return head[:4] == _PACK


def examine_program(source: ByteSource) -> Structure:
    """Walk the packets of the last stretch to the end, and check for a disc's scrambling."""
    if _is_disc_scrambled(source):
        return Structure(encrypted="pictures (Content Scramble System)")
    start = max(0, source.size - _TAIL_BYTES)
    tail = source.at(start, _TAIL_BYTES)
    place = tail.find(_PACK)
    while 0 <= place < len(tail):
        following = _find_packet_end(tail, place)
        if following is None:
            return _judge_program_end(source, tail, start + place)
        if following > len(tail):
            return report_truncated("a packet of the program stream", start + following, source.size)
        place = following
    return SOUND


def _find_packet_end(tail: bytes, place: int) -> int | None:
    """Return where the packet at `place` ends; None if none begins there."""
    if tail[place : place + 3] != _START or place + 4 > len(tail):
        return None
    kind = tail[place + 3]
    if kind == _PROGRAM_END:
        return place + 4
    if kind == 0xBA:
        return _find_pack_end(tail, place)
    if kind < _FIRST_STREAM:
        return None
    if place + 6 > len(tail):
        return place + 6
    return place + 6 + int.from_bytes(tail[place + 4 : place + 6], "big")


def _find_pack_end(tail: bytes, place: int) -> int:
    if tail[place + 4 : place + 5] and tail[place + 4] >> 6 == 1:  # of MPEG-2, with stuffing
        return place + 14 + (tail[place + 13] & 7 if place + 13 < len(tail) else 0)
    return place + 12


def _judge_program_end(source: ByteSource, tail: bytes, end: int) -> Structure:
    rest = tail[end - source.size :]
    if len(rest) < 4 and rest.strip(b"\0") and _PACK.startswith(rest):
        return report_cut_within("a packet of the program stream")
    return judge_end("the program stream", end, source) if rest.strip(b"\0") and _START not in rest else SOUND


def _is_disc_scrambled(source: ByteSource) -> bool:
    content = source.at(0, _SAMPLED_BYTES)
    heads = [
        match.start() for match in re.finditer(rb"\x00\x00\x01[\xe0-\xef]..[\x80-\xbf]", content, re.DOTALL)
    ]
    scrambled = sum(content[place + 6] & 0x30 != 0 for place in heads)
    return scrambled > 2 and scrambled * 3 > len(heads)


def is_elementary(head: bytes) -> bool:
    """Return whether a file with these first bytes is bare MPEG video."""
    return head[:4] in _ELEMENTARY


def examine_elementary(source: ByteSource) -> Structure:
    """Hide what follows the end mark, if there is one."""
    place = source.last(_SEQUENCE_END, _TAIL_BYTES)
    if place < 0 or _START in source.at(place + 4, _TAIL_BYTES):
        return SOUND
    return judge_end("the stream", place + 4, source, hide=True)


_BIT_RATES: Final = (
    (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_SAMPLE_RATES: Final = (44_100, 48_000, 32_000)
_FRAME_WINDOW: Final = 32 << 10
_LONGEST_LYRICS: Final = 1 << 20
_LONGEST_FRAME: Final = 2881
_LONGEST_ADTS_FRAME: Final = 8191
_CHAIN: Final = 3


def is_mp3(head: bytes) -> bool:
    """Return whether a file with these first bytes is MPEG audio, with or without a tag before it."""
    return head[:3] == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE6 in (0xE2, 0xE4))


def examine_mp3(source: ByteSource) -> Structure:
    """Check the byte count in the first frame's header; hide what follows the last frame."""
    stated = _read_stated_end(source, _find_sound_start(source))
    if stated is not None and stated > source.size:
        return report_truncated("the MP3 stream", stated, source.size)
    return _judge_frames_end(source, measure_mpeg_frame, _LONGEST_FRAME, stated)


def _judge_frames_end(
    source: ByteSource, measure: Callable[[bytes], int], longest: int, stated: int | None = None
) -> Structure:
    """Judge what follows the last whole frame: part of one, tags, or filling; `stated` is where the sound ends."""
    tags = _find_tags_start(source)
    end = min(tags, source.filled_from() + longest)  # frames may end in zeros
    chain = _find_last_frame_end(source, end, measure)
    if chain is None or chain[0] >= end:
        return Structure(end=tags) if tags < source.size else SOUND
    last, mark = chain
    rest = source.at(last, min(2, end - last))
    if rest[:1] == mark[:1] and (len(rest) < 2 or (rest[1] ^ mark[1]) & 0xFE == 0):
        return report_cut_within(f"an {_NAMES[measure]} frame")
    if stated is not None and last + longest < stated:
        return Structure(
            damage=f"truncated: the last MP3 frame ends at byte {last:,}, which should be {stated:,}"
        )
    return judge_end("the last frame", last, source, hide=True)


def is_adts(head: bytes) -> bool:
    """Return whether a file with these first bytes is AAC in ADTS frames."""
    return measure_adts_frame(head[:7]) > 0


def examine_adts(source: ByteSource) -> Structure:
    """Hide what follows the last frame."""
    return _judge_frames_end(source, measure_adts_frame, _LONGEST_ADTS_FRAME)


def _find_sound_start(source: ByteSource) -> int:
    head = source.at(0, 10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))


def _read_stated_end(source: ByteSource, start: int) -> int | None:
    """Return where the stream ends by its Xing, Info or VBRI header; None without one."""
    frame = source.at(start, 64)
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    if place >= 0 and len(frame) >= place + 16:
        flags, first, second = struct.unpack(">III", frame[place + 4 : place + 16])
        return start + (second if flags & 1 else first) if flags & 2 else None
    if frame[36:40] == b"VBRI" and len(frame) >= 50:
        return start + int(struct.unpack(">I", frame[46:50])[0])
    return None


def _find_tags_start(source: ByteSource) -> int:
    """Return where the tags after the sound begin: ID3v1, Lyrics3 and APE, in any order."""
    end = source.size
    for _ in range(4):
        length = _measure_tag(source, end)
        if not 0 < length <= end:
            break
        end -= length
    return end


def _measure_tag(source: ByteSource, end: int) -> int:
    """Return the length of the tag that ends at `end`, 0 if none does."""
    foot = source.at(max(0, end - 128), min(end, 128))
    if foot[:3] == b"TAG" and len(foot) == 128:
        return 128
    if foot[-32:-24] == b"APETAGEX":
        return int.from_bytes(foot[-20:-16], "little") + (32 if foot[-9] & 0x80 else 0)
    if foot.endswith((b"LYRICS200", b"LYRICSEND")):
        return end - max(0, source.last(b"LYRICSBEGIN", _LONGEST_LYRICS, end))
    return 0


def _find_last_frame_end(
    source: ByteSource, end: int, measure: Callable[[bytes], int]
) -> tuple[int, bytes] | None:
    """Return where the last whole frame before `end` ends, and how frames begin; None without a chain of frames."""
    start = max(0, end - _FRAME_WINDOW)
    tail = source.at(start, end - start)
    found, place = None, tail.find(b"\xff", 0, -3)
    while place >= 0:
        reached = _find_chain_end(tail, place, measure)
        if reached is not None:  # another may follow if files were joined
            found = start + reached, tail[place : place + 2]
        place = tail.find(b"\xff", place + 1 if reached is None else reached, -3)
    return found


def _find_chain_end(tail: bytes, place: int, measure: Callable[[bytes], int]) -> int | None:
    """Return where a chain of at least three frames of one kind from `place` ends, within `tail`."""
    kind, count = tail[place + 1] & 0xFE, 0
    while (length := measure(tail[place : place + 7])) and place + length <= len(tail):
        if tail[place + 1] & 0xFE != kind:
            break
        place, count = place + length, count + 1
    return place if count >= _CHAIN else None


def measure_mpeg_frame(head: bytes) -> int:
    """Return the length of the MPEG audio frame with these first four bytes, 0 if it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate, frequency, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or rate in (0, 15) or frequency == 3:
        return 0
    is_first = version == 3
    column = layer - 1 if is_first else (3 if layer == 1 else 4)
    bits = _BIT_RATES[column][rate - 1] * 1000
    hertz = _SAMPLE_RATES[frequency] >> (0 if is_first else 2 - (version >> 1))
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    return (72 if layer == 3 and not is_first else 144) * bits // hertz + padding


def measure_adts_frame(head: bytes) -> int:
    """Return the length of the ADTS frame with these first seven bytes, 0 if it is none."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > _LAST_AAC_RATE:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else 0


_LAST_AAC_RATE: Final = 12
_NAMES: Final[Mapping[Callable[[bytes], int], str]] = {measure_mpeg_frame: "MP3", measure_adts_frame: "ADTS"}
