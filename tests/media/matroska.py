"""A small writer of Matroska, for what FFmpeg's own never writes: lacing, stripped headers, unknown lengths."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from tests.media.recipe import Truth

_UNKNOWN = b"\x01\xff\xff\xff\xff\xff\xff\xff"
_CODECS = {
    "h264": "V_MPEG4/ISO/AVC",
    "hevc": "V_MPEGH/ISO/HEVC",
    "vp8": "V_VP8",
    "aac": "A_AAC",
    "opus": "A_OPUS",
    "mp3": "A_MPEG/L3",
}


def size(length: int) -> bytes:
    """A length of 8 bytes."""
    return struct.pack(">Q", 1 << 56 | length)


def element(identifier: int, content: bytes | float | str) -> bytes:
    """An element with its identifier and its length."""
    if isinstance(content, bool | int):
        content = content.to_bytes(8, "big").lstrip(b"\0") or b"\0"
    elif isinstance(content, float):
        content = struct.pack(">d", content)
    elif isinstance(content, str):
        content = content.encode()
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big") + size(len(content)) + content


@dataclass(frozen=True)
class Habit:
    """How a recorder writes Matroska."""

    segment_unknown: bool = False
    cluster_unknown: bool = False
    duration: float | None = None
    lacing: str = ""
    strip: bool = False
    groups: bool = False
    void: int = 0
    cluster_seconds: float = 1.0
    crc: bool = False
    start_seconds: float = 0.0
    doctype: str = "matroska"


def remux(source: Path, path: Path, habit: Habit, keep: Callable[[Any], bool] = lambda _: True) -> None:
    """Write the packets of `source` to `path` as `habit` tells."""
    with av.open(str(source)) as media:
        streams = [s for s in media.streams if s.type in ("video", "audio")]
        packets = [p for p in media.demux(*streams) if p.size and keep(p)]
        packets.sort(key=lambda p: float((p.dts or 0) * p.time_base))
        header = element(
            0x1A45DFA3,
            b"".join(
                (
                    element(0x4286, 1),
                    element(0x42F7, 1),
                    element(0x42F2, 4),
                    element(0x42F3, 8),
                    element(0x4282, habit.doctype),
                    element(0x4287, 4),
                    element(0x4285, 2),
                )
            ),
        )
        info = element(0x2AD7B1, 1_000_000) + element(0x4D80, "corpus") + element(0x5741, "corpus")
        if habit.duration is not None:
            info += element(0x4489, habit.duration * 1000)
        tracks = b"".join(element(0xAE, _track(stream, n + 1, habit)) for n, stream in enumerate(streams))
        parts = [element(0x1549A966, info), element(0x1654AE6B, tracks)]
        if habit.void:
            parts.append(element(0xEC, bytes(habit.void)))
        numbers = {stream.index: n + 1 for n, stream in enumerate(streams)}
        parts += _clusters(packets, numbers, habit)
        body = b"".join(parts)
    length = _UNKNOWN if habit.segment_unknown else size(len(body))
    path.write_bytes(header + b"\x18\x53\x80\x67" + length + body)


def _track(stream: Any, number: int, habit: Habit) -> bytes:
    context = stream.codec_context
    codec = _CODECS[context.codec.canonical_name]
    content = element(0xD7, number) + element(0x73C5, number) + element(0x86, codec)
    content += element(0x83, 1 if stream.type == "video" else 2) + element(0x9C, 1 if habit.lacing else 0)
    if context.extradata:
        content += element(0x63A2, bytes(context.extradata))
    if stream.type == "video":
        content += element(0xE0, element(0xB0, context.width) + element(0xBA, context.height))
    else:
        content += element(0xE1, element(0xB5, float(context.sample_rate)) + element(0x9F, context.channels))
        content += element(0x23E383, round(1e9 * (context.frame_size or 960) / context.sample_rate))
    if habit.strip and stream.type == "video":
        # Three zeros of each length of a slice are left out, as mkvmerge does by default for some codecs.
        compression = element(0x4254, 3) + element(0x4255, b"\0")
        content += element(0x6D80, element(0x6240, element(0x5034, compression)))
    return content


def _clusters(packets: Sequence[Any], numbers: dict[int, int], habit: Habit) -> list[bytes]:
    out: list[bytes] = []
    blocks: list[bytes] = []
    waiting: list[Any] = []
    begin = None
    for packet in packets:
        at = _milliseconds(packet, habit)
        if begin is not None and at - begin >= habit.cluster_seconds * 1000:
            blocks += _laced(waiting, numbers, begin, habit)
            waiting = []
            out.append(_cluster(begin, blocks, habit))
            begin, blocks = None, []
        begin = at if begin is None else begin
        if habit.lacing and packet.stream.type == "audio":
            waiting.append(packet)
            if len(waiting) == 4:
                blocks += _laced(waiting, numbers, begin, habit)
                waiting = []
        else:
            blocks.append(_block(packet, numbers, begin, habit))
    blocks += _laced(waiting, numbers, begin or 0, habit)
    return [*out, _cluster(begin or 0, blocks, habit)]


def _milliseconds(packet: Any, habit: Habit) -> int:
    return max(0, round(1000 * float((packet.pts or 0) * packet.time_base) + 1000 * habit.start_seconds))


def _cluster(begin: int, blocks: Sequence[bytes], habit: Habit) -> bytes:
    content = element(0xE7, begin) + b"".join(blocks)
    if habit.crc:
        import zlib

        content = element(0xBF, zlib.crc32(content).to_bytes(4, "little")) + content
    return b"\x1f\x43\xb6\x75" + (_UNKNOWN if habit.cluster_unknown else size(len(content))) + content


def _block(packet: Any, numbers: dict[int, int], begin: int, habit: Habit) -> bytes:
    data = bytes(packet)
    if habit.strip and packet.stream.type == "video":
        data = data[1:]  # the encoder's slices are shorter than 16 MiB
    head = bytes([0x80 | numbers[packet.stream.index]]) + struct.pack(
        ">h", _milliseconds(packet, habit) - begin
    )
    if habit.groups:
        content = element(0xA1, head + b"\0" + data)
        if packet.duration:
            content += element(0x9B, max(1, round(1000 * float(packet.duration * packet.time_base))))
        if not packet.is_keyframe:
            content += element(0xFB, b"\xff")
        return element(0xA0, content)
    return element(0xA3, head + (b"\x80" if packet.is_keyframe else b"\0") + data)


def _laced(waiting: Sequence[Any], numbers: dict[int, int], begin: int, habit: Habit) -> list[bytes]:
    if not waiting:
        return []
    first = waiting[0]
    head = bytes([0x80 | numbers[first.stream.index]]) + struct.pack(
        ">h", _milliseconds(first, habit) - begin
    )
    frames = [bytes(packet) for packet in waiting]
    if habit.lacing == "xiph":
        lengths = b"".join(b"\xff" * (len(f) // 255) + bytes([len(f) % 255]) for f in frames[:-1])
        return [element(0xA3, head + b"\x82" + bytes([len(frames) - 1]) + lengths + b"".join(frames))]
    lengths = (0x4000 | len(frames[0])).to_bytes(2, "big")
    for before, now in pairwise(frames[:-1]):
        lengths += (0x4000 | (len(now) - len(before) + 0x1FFF)).to_bytes(2, "big")
    lengths = lengths if len(frames) > 1 else b""
    return [element(0xA3, head + b"\x86" + bytes([len(frames) - 1]) + lengths + b"".join(frames))]


def truth(seconds: float, slack: float = 0.04) -> Truth:
    """Of the usual clip that is written anew here."""
    return Truth(seconds, slack, 0.05, 160, 90)
