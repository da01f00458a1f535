"""Generates small media of test patterns and tones, for the demo and the tests."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import av
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import PictureType

_SCENES: Final = ("testsrc2", "smptebars", "mandelbrot", "rgbtestsrc", "gradients=seed=3", "yuvtestsrc")


@dataclass(frozen=True, slots=True)
class Clip:
    """The content of a sample; times in seconds from its start, one scene between two cuts."""

    seconds: float
    cuts: tuple[float, ...] = ()
    pauses: tuple[tuple[float, float], ...] = ()
    size: tuple[int, int] = (320, 180)
    frame_rate: int = 25
    video_codec: str | None = "libx264"
    audio_codec: str | None = "aac"
    container_options: Mapping[str, str] = field(default_factory=dict)
    container: str | None = None
    """The muxer's name if the extension does not imply it."""
    video_options: Mapping[str, str] = field(default_factory=lambda: {"preset": "ultrafast"})
    audio_options: Mapping[str, str] = field(default_factory=dict)


def make_demo_clips(folder: Path) -> list[Path]:
    """Write four samples into `folder`, unless all are there already; return their paths.

    A clip with three cuts and a pause in its tone, a sound file with two pauses, a picture, and the first half of the
    clip, like an interrupted upload.
    """
    names = ("three-cuts.mp4", "two-pauses.mp3", "picture.jpg", "cut-short.mp4")
    whole, sound_file, picture, part = paths = [folder / name for name in names]
    if all(path.exists() for path in paths):
        return paths
    index_first = {"movflags": "+faststart"}
    clip = Clip(seconds=12, cuts=(3, 6, 9), pauses=((5, 7),), container_options=index_first)
    sound = Clip(seconds=10, pauses=((3, 4.5), (7, 8)), video_codec=None, audio_codec="libmp3lame")
    write_clip(whole, clip)
    write_clip(sound_file, sound)
    write_picture(picture)
    write_part(whole, part, 0.5)
    return paths


def write_clip(path: Path, clip: Clip) -> Path:
    """Write `clip` to `path`, in the container that the extension names; return `path`."""
    with av.open(str(path), "w", clip.container, options=dict(clip.container_options)) as container:
        tracks = [
            track for track in (_add_video(container, clip), _add_audio(container, clip)) if track is not None
        ]
        for _, stream, frame in heapq.merge(*tracks, key=lambda item: item[0] or 0):
            container.mux(stream.encode(frame))
        streams: list[Any] = list(container.streams)
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def write_picture(path: Path, size: tuple[int, int] = (320, 180), codec: str = "mjpeg") -> Path:
    """Write one test picture to `path` as the bare output of the encoder `codec`; return `path`."""
    width, height = size
    context: Any = av.CodecContext.create(codec, "w")
    pixel_format = str(context.codec.video_formats[0].name)
    frame = next(generate_pattern(_SCENES[0], size, 25, pixel_format))
    context.width, context.height, context.pix_fmt, context.time_base = (
        width,
        height,
        pixel_format,
        frame.time_base,
    )
    packets = [*context.encode(frame), *context.encode(None)]
    path.write_bytes(b"".join(bytes(packet) for packet in packets))
    return path


def write_part(source: Path, path: Path, fraction: float) -> Path:
    """Write the first `fraction` of the bytes of `source` to `path`, like an interrupted upload; return `path`."""
    content = source.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    return path


def generate_pattern(
    pattern: str, size: tuple[int, int], rate: int, pixel_format: str = "yuv420p"
) -> Iterator[av.VideoFrame]:
    """Yield endless frames of one test pattern, a video source of FFmpeg with its arguments."""
    name, _, arguments = pattern.partition("=")
    graph = Graph()
    source = graph.add(name, f"s={size[0]}x{size[1]}:r={rate}" + (f":{arguments}" if arguments else ""))
    yield from _pull_frames(graph, source, graph.add("format", pixel_format), graph.add("buffersink"))


def generate_tone(
    pauses: Iterable[tuple[float, float]], sample_rate: int = 48_000
) -> Iterator[av.AudioFrame]:
    """Yield endless frames of a stereo tone that is silent within `pauses`."""
    gates = "".join(f"*not(between(t\\,{start}\\,{end}))" for start, end in pauses)
    graph = Graph()
    source = graph.add("aevalsrc", f"0.25*sin(440*2*PI*t){gates}:s={sample_rate}:c=stereo")
    yield from _pull_frames(graph, source, graph.add("abuffersink"))


def _pull_frames(graph: Graph, *chain: FilterContext) -> Iterator[Any]:
    graph.link_nodes(*chain)
    graph.configure(auto_buffer=False)
    while True:
        yield chain[-1].pull()


_Track = Iterator[tuple[float | None, Any, Any]]


def _add_video(container: Any, clip: Clip) -> _Track | None:
    if clip.video_codec is None:
        return None
    stream = container.add_stream(clip.video_codec, rate=clip.frame_rate, options=dict(clip.video_options))
    stream.width, stream.height = clip.size
    stream.pix_fmt = "yuv420p"
    return ((frame.time, stream, frame) for frame in _generate_pictures(clip))


def _generate_pictures(clip: Clip) -> Iterator[av.VideoFrame]:
    edges = [round(at * clip.frame_rate) for at in (0, *clip.cuts, clip.seconds)]
    for scene, (first, last) in enumerate(pairwise(edges)):
        frames = generate_pattern(_SCENES[scene % len(_SCENES)], clip.size, clip.frame_rate)
        for index, frame in zip(range(first, last), frames, strict=False):
            # A source marks its frames as key frames; the encoder would obey.
            frame.pts, frame.pict_type = index, PictureType.NONE
            yield frame


def _add_audio(container: Any, clip: Clip) -> _Track | None:
    if clip.audio_codec is None:
        return None
    stream = container.add_stream(
        clip.audio_codec, rate=48_000, options=dict(clip.audio_options), layout="stereo"
    )
    return ((frame.time, stream, frame) for frame in _generate_tones(clip))


def _generate_tones(clip: Clip) -> Iterator[av.AudioFrame]:
    for frame in generate_tone(clip.pauses):
        if frame.time is None or frame.time >= clip.seconds:
            return
        yield frame
