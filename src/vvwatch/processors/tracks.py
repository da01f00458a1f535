"""One decoded stream each: packets go in, frames pass a filter graph, and the series and troubles add up."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.filter import Graph
from av.filter.context import FilterContext
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vvwatch.core.segments import Boundary, Silence
from vvwatch.processors.measurements import SHIFT_LAG_SECONDS, Pictures, Sounds
from vvwatch.processors.opening import DECODER_FAILURES, Bounds, check_pixels

_WIDTH: Final = 160
_HEIGHT: Final = 90
_PLANES: Final = ((_WIDTH, _HEIGHT), (_WIDTH // 2, _HEIGHT // 2), (_WIDTH // 2, _HEIGHT // 2))
_Filters = tuple[tuple[str, str], ...]
_PICTURE_FILTERS: Final[_Filters] = (
    ("scale", f"{_WIDTH}:{_HEIGHT}:flags=fast_bilinear"),
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
_SPARSE_SECONDS: Final = 1.0
_SAMPLE_SECONDS: Final = 0.25
_BINS: Final = 16
_TO_BIN: Final = bytes(value * _BINS // 256 for value in range(256))
_DARK_BINS: Final = 2
_WINDOW_LEAD_SECONDS: Final = 0.3
_GAP_SECONDS: Final = 0.1
_KEPT_GAPS: Final = 1000


class _Chain(NamedTuple):
    """Filters in a row. The graph is kept because its filters do not keep it, and die with it."""

    graph: Graph
    source: FilterContext
    sink: FilterContext


class Track:
    """What both kinds of stream have in common: timing, and counts of what could not be decoded.

    `failed` counts packets that the decoder refused, `damaged` those and frames that it marked as corrupt,
    `first_trouble` is the time of the first of either. Times are in seconds from the start of the media.
    """

    kind = ""

    def __init__(self, stream: VideoStream | AudioStream, origin_seconds: float) -> None:
        self._stream = stream
        self._origin = origin_seconds
        self._tick_seconds = float(stream.time_base or 0)
        self._chain: _Chain | None = None
        self._shape: object = None
        self.failed = 0
        self.damaged = 0
        self.first_trouble: float | None = None
        self.last_packet = 0.0
        self.last_frame: float | None = None
        # Filters and decoders gain nothing from threads here: items run side by side, in a process each.
        stream.codec_context.thread_count = 1

    def feed(self, packet: Packet[Any]) -> None:
        """Decode one packet and take in its frames; trouble is counted, only a lack of memory is raised."""
        if packet.pts is not None:
            self.last_packet = max(self.last_packet, packet.pts * self._tick_seconds - self._origin)
        self.damaged += self._trouble(packet.is_corrupt)
        self._attempt(lambda: self._decode(packet))

    def finish(self) -> None:
        """Take in what the filters still hold; no packet may follow."""
        self._attempt(self._drain)

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except MemoryError:
            raise
        except DECODER_FAILURES:
            self.failed += self._trouble(True)

    def _decode(self, packet: Packet[Any]) -> None:
        for frame in packet.decode():
            self.damaged += self._trouble(frame.is_corrupt)
            self._take(frame)

    def _drain(self) -> None:
        if self._chain is not None:
            self._push(None)
            self._chain = None

    def _trouble(self, met: bool) -> bool:
        if met and self.first_trouble is None:
            self.first_trouble = self.last_packet
        return met

    def _take(self, frame: Any) -> None:
        shape = self._shape_of(frame)
        if shape != self._shape:
            self._drain()
            self._chain, self._shape = self._build(frame), shape
        self._push(frame)

    def _push(self, frame: Any) -> None:
        if self._chain is not None:
            self._chain.source.push(frame)
            for passed in _drained(self._chain.sink):
                self._see(passed)

    def _time(self, frame: Any) -> float:
        """The moment of `frame`; a frame without one comes right after the last."""
        known = frame.time
        return max(0.0, (self.last_frame or 0.0) if known is None else known - self._origin)

    def _shape_of(self, frame: Any) -> object:
        raise NotImplementedError

    def _build(self, frame: Any) -> _Chain:
        raise NotImplementedError

    def _see(self, frame: Any) -> None:
        raise NotImplementedError


class PictureTrack(Track):
    """The pictures of a video, or a picture: differences from one to the next, and samples of their colours."""

    kind = "picture"

    def __init__(self, stream: VideoStream, origin_seconds: float, bounds: Bounds) -> None:
        super().__init__(stream, origin_seconds)
        self._bounds = bounds
        self._next_sample = 0.0
        self._past: deque[tuple[float, Sequence[int]]] = deque()
        self.series = Pictures()

    def skim(self) -> None:
        """Leave out what no other picture depends on, and the smoothing of blocks: half the work, same cuts."""
        context = self._stream.codec_context
        context.skip_frame = "NONREF"
        context.options = {"skip_loop_filter": "all"}

    def feed(self, packet: Packet[Any]) -> None:
        """As of every track; where hardly any picture is needed by another, all are looked at after all."""
        super().feed(packet)
        if self.last_packet - (self.last_frame or 0.0) > _SPARSE_SECONDS:
            self._stream.codec_context.skip_frame = "DEFAULT"

    def insist(self) -> None:
        """Refuse a picture with any fault: the JPEG decoder else fills up with grey what is missing."""
        if self._stream.codec_context.name == "mjpeg":
            self._stream.codec_context.options = {"err_detect": "explode"}

    def _shape_of(self, frame: VideoFrame) -> object:
        return frame.width, frame.height, frame.format.name

    def _build(self, frame: VideoFrame) -> _Chain:
        check_pixels(frame.width, frame.height, self._bounds)
        graph = _single_threaded()
        base = frame.time_base or self._stream.time_base
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
        return _configured(graph, source, _PICTURE_FILTERS)

    def _see(self, frame: VideoFrame) -> None:
        at = self.last_frame = self._time(frame)
        found = frame.metadata
        self.series.times.append(at)
        self.series.motion.append(float(found.get("lavfi.scd.mafd", 0)))
        if "lavfi.scd.time" in found:
            self.series.cuts.append(Boundary(at, "cut", float(found.get("lavfi.scd.score", 0))))
        if at >= self._next_sample:
            self._next_sample = at - at % _SAMPLE_SECONDS + _SAMPLE_SECONDS
            self._sample(at, frame)

    def _sample(self, at: float, frame: VideoFrame) -> None:
        planes = [
            _every_other_row(memoryview(plane), plane.line_size, *size) for plane, size in _shaped(frame)
        ]
        colours = [count for plane in planes for count in _histogram(plane)]
        luma = planes[0]
        self.series.sample_times.append(at)
        self.series.luma.append(sum(luma) / len(luma))
        self.series.dark.append(sum(colours[:_DARK_BINS]) / len(luma))
        self.series.shift.append(self._shift(at, colours, sum(map(len, planes))))

    def _shift(self, at: float, colours: Sequence[int], pixels: int) -> float:
        past = self._past
        past.append((at, colours))
        while len(past) > 1 and past[1][0] <= at - SHIFT_LAG_SECONDS:
            past.popleft()
        differences = (abs(now - then) for now, then in zip(colours, past[0][1], strict=True))
        return sum(differences) / (2 * pixels)


class SoundTrack(Track):
    """The sound of a stream: its loudness ten times a second, its silences, and gaps in its timing."""

    kind = "sound"

    def __init__(self, stream: AudioStream, origin_seconds: float) -> None:
        super().__init__(stream, origin_seconds)
        self._silent_since: float | None = None
        self.series = Sounds()

    def finish(self) -> None:
        """As of every track; a silence that lasts to the end ends there."""
        super().finish()
        if self._silent_since is not None and self.last_frame is not None:
            self._end_silence(self.last_frame)

    def _shape_of(self, frame: AudioFrame) -> object:
        return frame.sample_rate, frame.layout.name, frame.format.name

    def _build(self, frame: AudioFrame) -> _Chain:
        graph = _single_threaded()
        source = graph.add_abuffer(
            sample_rate=frame.sample_rate, format=frame.format, layout=frame.layout, time_base=frame.time_base
        )
        return _configured(graph, source, _SOUND_FILTERS)

    def _push(self, frame: AudioFrame | None) -> None:
        if frame is not None:
            self._note_timing(frame)
        super()._push(frame)

    def _note_timing(self, frame: AudioFrame) -> None:
        at = self._time(frame)
        last = at if self.last_frame is None else self.last_frame
        if at - last > _GAP_SECONDS and len(self.series.gaps) < _KEPT_GAPS:
            self.series.gaps.append(Silence(last, at))
        self.last_frame = at + frame.samples / frame.sample_rate

    def _see(self, frame: AudioFrame) -> None:
        found, series = frame.metadata, self.series
        if "lavfi.r128.M" in found:
            series.times.append(self._time(frame) - _WINDOW_LEAD_SECONDS)
            series.momentary.append(_finite(found["lavfi.r128.M"], -math.inf))
            series.range_lu = round(_finite(found.get("lavfi.r128.LRA", "0"), 0.0), 1)
            series.peak = max(series.peak, _finite(found.get("lavfi.r128.true_peak", "0"), 0.0))
        if "lavfi.silence_start" in found:
            self._silent_since = float(found["lavfi.silence_start"]) - self._origin
        if "lavfi.silence_end" in found:
            self._end_silence(float(found["lavfi.silence_end"]) - self._origin)

    def _end_silence(self, end: float) -> None:
        start = max(0.0, self._silent_since or 0.0)
        self._silent_since = None
        if end > start:
            self.series.silences.append(Silence(start, end))


def _single_threaded() -> Graph:
    graph = Graph()
    graph.threads = 1
    return graph


def _configured(graph: Graph, source: FilterContext, filters: _Filters) -> _Chain:
    chain = [source, *(graph.add(name, arguments or None) for name, arguments in filters)]
    graph.link_nodes(*chain)
    graph.configure(auto_buffer=False)
    return _Chain(graph, source, chain[-1])


def _drained(sink: FilterContext) -> Iterator[Any]:
    while True:
        try:
            frame = sink.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        yield frame


def _shaped(frame: VideoFrame) -> Iterator[tuple[Any, tuple[int, int]]]:
    return zip(frame.planes, _PLANES, strict=True)


def _every_other_row(plane: memoryview, stride: int, width: int, height: int) -> bytes:
    return b"".join(plane[row * stride : row * stride + width] for row in range(0, height, 2))


def _histogram(plane: bytes) -> list[int]:
    binned = plane.translate(_TO_BIN)
    return [binned.count(value) for value in range(_BINS)]


def _finite(text: str, otherwise: float) -> float:
    value = float(text)
    return value if math.isfinite(value) else otherwise
