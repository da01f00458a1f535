"""Filter graphs that measure decoded frames; a frame that they refuse says nothing about the media."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import av
from av.audio.frame import AudioFrame
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

WIDTH: Final = 160
HEIGHT: Final = 90
_UNSPECIFIED: Final = 2
_Filters = tuple[tuple[str, str], ...]
_PICTURE_FILTERS: Final[_Filters] = (
    ("format", "yuv420p"),
    ("scdet", "threshold=10"),
    ("buffersink", ""),
)
# In the other order ebur128 would resize the frames and drop the marks of silencedetect.
_SOUND_FILTERS: Final[_Filters] = (
    ("ebur128", "metadata=1:peak=true"),
    ("silencedetect", "noise=-40dB:duration=0.7"),
    ("abuffersink", ""),
)


class Chain(NamedTuple):
    """Filters in a row. Keep a reference to the graph: its filters do not, and fail without it."""

    graph: Graph
    source: FilterContext
    sink: FilterContext

    def push(self, frame: Any) -> Iterator[Any]:
        """Push `frame`, or None for the end, and yield the available output."""
        self.source.push(frame)
        while True:
            try:
                passed = self.sink.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            yield passed


def build_picture_chain(frame: VideoFrame, time_base: Any, crop: tuple[int, int] | None = None) -> Chain:
    """Return filters that scale frames like `frame` to WIDTH by HEIGHT and mark cuts; `crop` keeps the top left."""
    graph = _new_graph()
    base = frame.time_base or time_base
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
    cropping = () if crop is None else (("crop", f"{crop[0]}:{crop[1]}:0:0:exact=1"),)
    # Unless pictures shrink, fast_bilinear writes machine code, which the sandbox and the unit forbid.
    way = "fast_bilinear" if (crop or (frame.width,))[0] > WIDTH else "bilinear"
    scaling = ("scale", f"{WIDTH}:{HEIGHT}:flags={way}:out_range=tv")
    return _configure_graph(graph, source, (*cropping, scaling, *_PICTURE_FILTERS))


def build_sound_chain(frame: AudioFrame) -> Chain:
    """Return filters that measure the loudness of frames like `frame` and mark silences."""
    graph = _new_graph()
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate, format=frame.format, layout=frame.layout, time_base=frame.time_base
    )
    return _configure_graph(graph, source, _SOUND_FILTERS)


def forget_colours(frame: VideoFrame) -> None:
    """Drop the colour tags of `frame` except its range.

    The scaler refuses unknown matrices and transfers, and converts known ones. Brightness and motion are measured on
    the stored values.
    """
    frame.colorspace = frame.color_trc = frame.color_primaries = _UNSPECIFIED


def _new_graph() -> Graph:
    graph = Graph()
    graph.threads = 1
    return graph


def _configure_graph(graph: Graph, source: FilterContext, filters: _Filters) -> Chain:
    chain = [source, *(graph.add(name, arguments or None) for name, arguments in filters)]
    graph.link_nodes(*chain)
    graph.configure(auto_buffer=False)
    return Chain(graph, source, chain[-1])
