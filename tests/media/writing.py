"""Writes small media with PyAV: what is seen and heard, and the habits of the recorder that wrote it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition
from av.video.frame import PictureType

from tests.media.recipe import Truth
from vvwatch.processors.media.sample_clips import generate_pattern

FAST: Mapping[str, Mapping[str, str]] = {
    "libx264": {"preset": "ultrafast"},
    "libx264rgb": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:frame-threads=1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "vorbis": {"strict": "experimental"},
    "truehd": {"strict": "experimental"},
    "dca": {"strict": "experimental"},
}


FRAME_SAMPLES: Mapping[str, int] = {
    "flac": 4608,
    "alac": 4096,
    "tta": 50000,
    "wavpack": 48000,
    "ac3": 1536,
    "eac3": 1536,
    "libmp3lame": 1152,
    "mp2": 1152,
    "wmav1": 2048,
    "wmav2": 2048,
    "adpcm_ms": 2048,
    "libopencore_amrnb": 160,
}
"""Samples of one frame, where they are more than the 1024 of most codecs."""

TELLS_PADDING = frozenset(
    {"mp4", "mov", "m4a", "m4b", "m4v", "mkv", "mka", "webm", "ogg", "opus", "oga", "mp3", "3gp", "caf"}
)
"""Containers that say how much an encoder put before the sound."""


def always(_: float) -> bool:
    return True


@dataclass(frozen=True)
class See:
    """A track of pictures. `keep` tells which moments have a picture, `stamp` when picture n is shown."""

    codec: str = "libx264"
    seconds: float = 2.0
    rate: Fraction | int = 25
    size: tuple[int, int] = (160, 90)
    pixels: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    keep: Callable[[float], bool] = always
    stamp: Callable[[int], int] | None = None
    base: Fraction | None = None
    rotation: int = 0
    colours: Mapping[str, int] = field(default_factory=dict)
    aspect: Fraction | None = None
    interlaced: bool = False
    cover: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    tag: str | None = None
    pattern: str = "testsrc2"


@dataclass(frozen=True)
class Hear:
    """A track of sound; `keep` tells which stretches of 20 ms have any."""

    codec: str = "aac"
    seconds: float = 2.0
    rate: int = 48000
    layout: str = "stereo"
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    keep: Callable[[float], bool] = always
    start: float = 0.0
    language: str | None = None
    silent: bool = False
    default: bool | None = None


@dataclass(frozen=True)
class Extra:
    """A track that is neither seen nor heard, for instance `mov_text` or `bin_data`: packets with times."""

    codec: str
    packets: Sequence[tuple[float, float, bytes]]
    handler: str = ""
    tag: str | None = None


class Pipe:
    """A file that cannot be sought in, as a recorder sees that writes to a pipe or a socket."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


_Item = tuple[float, int, Any, Any]


def write(
    path: Path,
    *tracks: See | Hear | Extra,
    format: str | None = None,  # noqa: A002
    options: Mapping[str, str] | None = None,
    pipe: bool = False,
    metadata: Mapping[str, str] | None = None,
    chapters: Sequence[tuple[float, float, str]] = (),
    attachment: bytes = b"",
) -> Truth:
    """Write `tracks` to `path` and return what is true of the file."""
    sink: Any = Pipe() if pipe else str(path)
    with av.open(sink, "w", format=format, options={"fflags": "+bitexact", **(options or {})}) as out:
        out.metadata.update(metadata or {})
        if chapters:
            out.set_chapters([_chapter(n, *chapter) for n, chapter in enumerate(chapters)])
        opened = [_open(out, track, index) for index, track in enumerate(tracks)]
        if attachment:
            out.add_attachment("font.ttf", "font/ttf", attachment)
        _mux(out, tracks, opened)
    if pipe:
        path.write_bytes(bytes(sink.data))
    return truth_of(tracks, path.suffix[1:])


def _mux(out: Any, tracks: Sequence[See | Hear | Extra], opened: Sequence[Iterator[_Item]]) -> None:
    """Encode all frames in the order of their times, then what the encoders still hold."""
    streams: list[Any] = [stream for stream in out.streams if stream.type != "attachment"]
    for _, _, stream, frame in heapq.merge(*opened, key=lambda item: item[:2]):
        if isinstance(frame, av.Packet):
            frame.stream = stream
            out.mux(frame)
        else:
            out.mux(stream.encode(frame))
    for stream, track in zip(streams, tracks, strict=True):
        if not isinstance(track, Extra):
            out.mux(stream.encode(None))


def _chapter(number: int, start: float, end: float, title: str) -> Any:
    milli = Fraction(1, 1000)
    return {
        "id": number,
        "start": int(start * 1000),
        "end": int(end * 1000),
        "time_base": milli,
        "metadata": {"title": title},
    }


def frame_seconds(track: See | Hear) -> float:
    """The length of one frame of `track`."""
    if isinstance(track, See):
        return float(1 / Fraction(track.rate))
    return FRAME_SAMPLES.get(track.codec, 1024) / track.rate


def truth_of(tracks: Sequence[See | Hear | Extra], extension: str) -> Truth:
    """What is true of a file with these tracks, all of them written from zero on."""
    seen = [t for t in tracks if isinstance(t, See) and not t.cover]
    heard = [t for t in tracks if isinstance(t, Hear)]
    timed: list[See | Hear] = [*seen, *heard]
    seconds = max(end_of(t) for t in timed)
    shown = max(seen, key=lambda t: t.size[0] * t.size[1], default=None)
    width, height = shown.size if shown else (None, None)
    if shown and shown.rotation % 180:
        width, height = height, width
    if shown and shown.aspect:
        width = height = None
    slack = max(frame_seconds(t) for t in timed)
    lossy = [t for t in heard if not t.codec.startswith("pcm")]
    padding = 0.0 if extension in TELLS_PADDING else max((2 * frame_seconds(t) for t in lossy), default=0.0)
    return Truth(seconds, slack, padding, width, height, shown.rotation % 360 if shown else 0)


def end_of(track: See | Hear) -> float:
    """When the last picture or sound that `track` keeps is over."""
    if isinstance(track, Hear):
        kept = [n * 0.02 for n in range(round(track.seconds * 50)) if track.keep(n * 0.02)]
        return track.start + (kept[-1] + 0.02 if kept else 0)
    rate = Fraction(track.rate)
    numbers = [n for n in range(round(track.seconds * rate)) if track.keep(float(n / rate))]
    if track.stamp is not None and track.base is not None:
        return float((track.stamp(numbers[-1]) + 1 / rate / track.base) * track.base)
    return float((numbers[-1] + 1) / rate) if numbers else 0.0


def _open(out: Any, track: See | Hear | Extra, index: int) -> Iterator[_Item]:
    if isinstance(track, See):
        return _see(out, track, index)
    if isinstance(track, Hear):
        return _hear(out, track, index)
    return _extra(out, track, index)


def _extra(out: Any, track: Extra, index: int) -> Iterator[_Item]:
    stream = out.add_data_stream(track.codec) if track.codec == "bin_data" else out.add_stream(track.codec)
    if track.codec == "mov_text":
        stream.codec_context.subtitle_header = STYLES
    if track.handler:
        stream.metadata["handler_name"] = track.handler

    def packets() -> Iterator[_Item]:
        for at, length, content in track.packets:
            packet = av.Packet(content)
            packet.pts = packet.dts = int(at * 1000)
            packet.duration, packet.time_base = int(length * 1000), Fraction(1, 1000)
            yield at, index, stream, packet

    return packets()


def _see(out: Any, track: See, index: int) -> Iterator[_Item]:
    options = {**FAST.get(track.codec, {}), **track.options}
    stream = out.add_stream(track.codec, rate=track.rate, options=options)
    context = stream.codec_context
    stream.width, stream.height = track.size
    stream.pix_fmt = track.pixels
    context.thread_count = 1
    if track.base is not None:
        context.time_base = track.base
    _describe(stream, track)

    def frames() -> Iterator[_Item]:
        base = track.base or 1 / Fraction(track.rate)
        rate = Fraction(track.rate)
        for n, frame in enumerate(
            pictures(track.pattern, track.size, track.pixels, round(track.seconds * rate))
        ):
            if not track.keep(float(n / rate)):
                continue
            frame.pts = track.stamp(n) if track.stamp else n
            frame.time_base = base if track.stamp else 1 / rate
            frame.pict_type = PictureType.NONE
            for name in ("colorspace", "color_range"):
                if name in track.colours:
                    setattr(frame, name, track.colours[name])
            yield float(frame.pts * frame.time_base), index, stream, frame

    return frames()


def _describe(stream: Any, track: See) -> None:
    """Everything about a track that is no coding."""
    context = stream.codec_context
    for name, value in track.colours.items():
        setattr(context, name, value)
    if track.aspect:
        context.sample_aspect_ratio = track.aspect
    if track.rotation:
        stream.set_display_rotation(-track.rotation)  # FFmpeg counts the other way round
    if track.cover:
        stream.disposition = Disposition.attached_pic
    if track.tag:
        context.codec_tag = track.tag
    stream.metadata.update(track.metadata)


def pictures(pattern: str, size: tuple[int, int], pixels: str, count: int) -> Iterator[Any]:
    """The first `count` pictures of a test pattern."""
    return itertools.islice(generate_pattern(pattern, size, 25, pixels), count)


def _hear(out: Any, track: Hear, index: int) -> Iterator[_Item]:
    options = {**FAST.get(track.codec, {}), **track.options}
    stream = out.add_stream(track.codec, rate=track.rate, layout=track.layout, options=options)
    if track.format:
        stream.codec_context.format = track.format
    if track.language:
        stream.metadata["language"] = track.language
    if track.default is not None:
        stream.disposition = Disposition.default if track.default else Disposition(0)

    def frames() -> Iterator[_Item]:
        part = track.rate // 50
        channels = stream.codec_context.layout.nb_channels
        for n in range(round(track.seconds * 50)):
            if not track.keep(n / 50):
                continue
            frame = av.AudioFrame(format="s16", layout=track.layout, samples=part)
            piece = bytes(2 * part * channels) if track.silent else tone(track.rate, channels, n % 50)
            frame.planes[0].update(piece.ljust(frame.planes[0].buffer_size, b"\0"))
            frame.sample_rate, frame.time_base = track.rate, Fraction(1, track.rate)
            frame.pts = n * part + round(track.start * track.rate)
            yield float(frame.pts / track.rate), index, stream, frame

    return frames()


@cache
def tone(rate: int, channels: int, piece: int) -> bytes:
    """20 ms of a tone of 440 Hz, the piece with that number within a second."""
    import array
    import math

    part = rate // 50
    samples = array.array("h")
    for i in range(piece * part, (piece + 1) * part):
        samples.extend([int(6000 * math.sin(2 * math.pi * 440 * i / rate))] * channels)
    return samples.tobytes()


STYLES = b"""[Script Info]
ScriptType: v4.00+
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
