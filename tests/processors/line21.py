"""Captions of EIA-608 for tests: written as Scenarist's SCC has them, and put into the pictures of a film."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.packet import Packet

PADDING = (0x80, 0x80)
RESUME, BACKSPACE, ROLL_UP_2, PAINT, CLEAR, NEW_LINE, CLEAR_HIDDEN, SHOW = (
    (0x14, code) for code in (0x20, 0x21, 0x25, 0x29, 0x2C, 0x2D, 0x2E, 0x2F)
)
ROW_14, ROW_15 = (0x14, 0x40), (0x14, 0x60)
Codes = list[tuple[int, int]]


def with_parity(value: int) -> int:
    return value | 0x80 if value.bit_count() % 2 == 0 else value


def twice(*codes: tuple[int, int]) -> Codes:
    """Control codes as they are sent."""
    return [code for each in codes for code in (each, each)]


def letters(text: str) -> Codes:
    coded = text.encode("ascii") + b"\0" * (len(text) % 2)
    return list(zip(coded[::2], coded[1::2], strict=True))


def pop_on(text: str) -> Codes:
    """What prepares a caption; `SHOW` shows it."""
    upper, _, lower = text.rpartition("\n")
    rows = [*twice(ROW_14), *letters(upper)] if upper else []
    return [*twice(RESUME, CLEAR_HIDDEN), *rows, *twice(ROW_15), *letters(lower)]


def spread(at_frames: Mapping[int, Codes]) -> dict[int, tuple[int, int]]:
    """Return the pair of each frame, when the codes begin at these frames."""
    sent: dict[int, tuple[int, int]] = {}
    for first, codes in at_frames.items():
        for frame, code in enumerate(codes, first):
            assert frame not in sent, f"frame {frame} has two pairs"
            sent[frame] = code
    return sent


def to_triplets(pair: tuple[int, int], field: int = 0) -> bytes:
    return bytes((0xFC | field, *map(with_parity, pair)))


def hide_captions(
    film: Path, path: Path, sent: Mapping[int, tuple[int, int]], field: int = 0, *, most: int = 1 << 30
) -> Path:
    """`film` (H.264) with these pairs in its pictures, by the order in which they are shown; others carry padding."""
    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        pictures = source.streams.video[0]
        stamps = sorted(p.pts for p in source.demux(pictures) if p.pts is not None)
        source.seek(0)
        for packet in source.demux():
            if packet.dts is None:
                continue
            stream, sending = packet.stream, packet
            if stream.index == pictures.index and packet.pts is not None:
                frame = stamps.index(packet.pts)
                triplets = to_triplets(sent.get(frame, PADDING), field) + b"\xfa\0\0" * 2
                if frame < most:
                    sending = _carry(packet, triplets, bytes(pictures.codec_context.extradata or b""))
            sending.stream = streams[stream.index]
            out.mux(sending)
    return path


def _carry(packet: Packet[Any], triplets: bytes, extradata: bytes) -> Packet[Any]:
    """Return a packet of H.264 with `cc_data` before its picture."""
    said = b"\xb5\x00\x31GA94\x03" + bytes((0x40 | len(triplets) // 3, 0xFF)) + triplets + b"\xff"
    unit = b"\x06\x04" + bytes((len(said),)) + said + b"\x80"
    head = len(unit).to_bytes(4, "big") if extradata[:1] == b"\x01" else b"\0\0\0\1"
    carried: Packet[Any] = av.Packet(head + unit + bytes(packet))
    carried.pts, carried.dts, carried.duration = packet.pts, packet.dts, packet.duration
    carried.time_base, carried.is_keyframe = packet.time_base, packet.is_keyframe
    return carried


def caption_track(path: Path, sent: Mapping[int, tuple[int, int]], film: Path) -> Path:
    """`film` in QuickTime with a track of captions, one sample a frame of 1001/30000 s."""
    scc = path.with_suffix(".scc")
    scc.write_text("Scenarist_SCC V1.0\n\n00:00:00:00\t9420\n\n")
    last = max(sent) + 2
    with av.open(str(film)) as source, av.open(str(scc)) as like, av.open(str(path), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        track = out.add_stream_from_template(like.streams[0])
        track.time_base = Fraction(1, 30000)
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
        for frame in range(last):
            sample: Packet[Any] = av.Packet(to_triplets(sent.get(frame, PADDING)))
            sample.stream, sample.time_base = track, Fraction(1, 30000)
            sample.pts = sample.dts = frame * 1001
            sample.duration = 1001
            out.mux(sample)
    return path
