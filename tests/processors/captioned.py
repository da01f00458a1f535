"""Media with captions in them, made by PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

NO_DISPOSITION = Disposition(0)
HEADER = b"[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, End, Text\n"


@dataclass(frozen=True)
class Track:
    """A caption track: its codec, and (start, end, text) each, as its packets hold them."""

    codec: str
    cues: Sequence[tuple[float, float | None, str]]
    language: str = ""
    disposition: Disposition = NO_DISPOSITION
    title: str = ""


def add_captions(film: Path, path: Path, *tracks: Track) -> Path:
    """`film` with these tracks, in the container that the name of `path` says."""
    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        added = [_add_stream(out, track) for track in tracks]
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
        for track, stream in zip(tracks, added, strict=True):
            for number, cue in enumerate(track.cues):
                out.mux(_make_packet(track.codec, stream, number, *cue))
    return path


def _add_stream(out: Any, track: Track) -> Any:
    stream = out.add_stream(track.codec)
    stream.codec_context.subtitle_header = HEADER
    stream.disposition = track.disposition
    stream.metadata.update({"language": track.language} if track.language else {})
    stream.metadata.update({"title": track.title} if track.title else {})
    return stream


def _make_packet(codec: str, stream: Any, number: int, start: float, end: float | None, text: str) -> Any:
    content = text.encode()
    if codec == "mov_text":
        content = len(content).to_bytes(2, "big") + content
    if codec == "ass":
        content = f"{number},0,Default,,0,0,0,,".encode() + content
    packet: Any = av.Packet(content)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = round(start * 1000)
    packet.duration = 0 if end is None else round((end - start) * 1000)
    return packet
