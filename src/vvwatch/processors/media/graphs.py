"""Filter graphs that measure decoded frames; what they cannot take says nothing about the media."""

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
# In the other order ebur128 would cut the frames anew and drop what silencedetect has written on them.
_SOUND_FILTERS: Final[_Filters] = (
    ("ebur128", "metadata=1:peak=true"),
    ("silencedetect", "noise=-40dB:duration=0.7"),
    ("abuffersink", ""),
)


class Chain(NamedTuple):
    """Filters in a row. The graph is kept because its filters do not keep it, and die with it."""

    graph: Graph
    source: FilterContext
    sink: FilterContext

    def passed(self, frame: Any) -> Iterator[Any]:
        """Push `frame`, or None for the end, and yield what comes out by then."""
        self.source.push(frame)
        while True:
            try:
                passed = self.sink.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            yield passed


def build_picture_chain(frame: VideoFrame, time_base: Any, crop: tuple[int, int] | None = None) -> Chain:
    """Filters that scale frames like `frame` to WIDTH by HEIGHT and mark cuts; `crop` keeps the top left of it."""
    graph = _new_graph()
    base = frame.time_base or time_base
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
    cropping = () if crop is None else (("crop", f"{crop[0]}:{crop[1]}:0:0:exact=1"),)
    # Where pictures do not shrink, fast_bilinear writes machine code, which neither the sandbox nor the unit lets run.
    way = "fast_bilinear" if (crop or (frame.width,))[0] > WIDTH else "bilinear"
    scaling = ("scale", f"{WIDTH}:{HEIGHT}:flags={way}:out_range=tv")
    return _configure_graph(graph, source, (*cropping, scaling, *_PICTURE_FILTERS))


def build_sound_chain(frame: AudioFrame) -> Chain:
    """Filters that measure the loudness of frames like `frame` and mark silences."""
    graph = _new_graph()
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate, format=frame.format, layout=frame.layout, time_base=frame.time_base
    )
    return _configure_graph(graph, source, _SOUND_FILTERS)


def forget_colours(frame: VideoFrame) -> None:
    """Drop the tags of colour from `frame`, but for its range.

    The scaler refuses matrices and transfers that it does not know, and converts those that it does. Brightness
    and motion are of the values as they are stored.
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
