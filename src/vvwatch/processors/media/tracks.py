"""One decoded stream each: packets go in, frames pass a filter graph, and series and error counts come out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vvwatch.core.segments import Boundary, Silence
from vvwatch.processors.media.candidates import Candidates
from vvwatch.processors.media.complaints import COMPLAINTS
from vvwatch.processors.media.extents import is_head
from vvwatch.processors.media.graphs import (
    HEIGHT,
    WIDTH,
    Chain,
    build_picture_chain,
    build_sound_chain,
    forget_colours,
)
from vvwatch.processors.media.hidden_captions import LOOKED_AT, has_captions
from vvwatch.processors.media.measurements import SHIFT_LAG_SECONDS, Pictures, Sounds
from vvwatch.processors.media.opening import DECODER_FAILURES, Bounds, check_pixels, error_reason

_PLANES: Final = ((WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2), (WIDTH // 2, HEIGHT // 2))
_SPARSE_SECONDS: Final = 1.0
_SPARSE_PACKETS: Final = 4
_SAMPLE_SECONDS: Final = 0.25
_LOOKED_AT_EACH: Final = 23
"""Of pictures that no other needs, one in this many is decoded: a prime, because patterns are powers of two."""

_HOLLOW: Final = (bytes(16), b"\xff" * 32)
"""No coded picture has this many equal bytes in a row, but a hole has."""

_JOINED_MIDWAY: Final = frozenset({"mpegts", "mpeg"})
"""Broadcast formats, whose recordings start anywhere."""

_MARKED_AHEAD: Final = 3
"""Parsers return a picture when they see the next, and mark the one that they hold then."""

_BINS: Final = 16
_TO_BIN: Final = bytes(value * _BINS // 256 for value in range(256))
_DARK_BINS: Final = 2
_WINDOW_LEAD_SECONDS: Final = 0.3
STILL_SECONDS: Final = 2.0
"""A longer gap is reported; it proves nothing, because still screens are recorded like that."""


class Track:
    """The common part of both kinds of stream: timing, and counts of decoding failures.

    `packets` counts those with content to be shown, `failed` those that the decoder refused, `damaged` those and
    frames marked as corrupt, `first_trouble` is the time of the first of either. `unmeasured` says why decoded frames
    could not be measured, `gaps` where nothing is shown or heard for long, `has_captions` whether the first pictures
    carry captions. Times are in seconds from the start of the
    media.
    """

    kind = ""

    def __init__(
        self, stream: VideoStream | AudioStream, origin_seconds: float, *, measured: bool = True
    ) -> None:
        self.stream = stream
        self._origin = origin_seconds
        self._tick_seconds = float(stream.time_base or 0)
        self._measured = measured
        self._chain: Chain | None = None
        self._shape: object = None
        self._key_pts: int | None = None
        self._joins_midway = stream.container.format.name in _JOINED_MIDWAY
        self._early = 0
        self._marked_at: int | None = None
        self.packets = 0
        self.has_captions = False
        self.failed = 0
        self.damaged = 0
        self.unmeasured = ""
        self.gaps: list[Silence] = []
        self.first_trouble: float | None = None
        self._first_packet: float | None = None
        self.last_packet = 0.0
        self.last_frame: float | None = None
        # Filters and decoders gain nothing from threads here: items run in parallel processes.
        stream.codec_context.thread_count = 1

    def feed(self, packet: Packet[Any]) -> None:
        """Decode one packet and take its frames; count failures, raise only a lack of memory."""
        if packet.size:
            self._note_packet(packet)
        if self._trouble(packet.is_corrupt, packet.pts):
            self.damaged += 1
            self._marked_at = self.packets
        heard = COMPLAINTS.count
        try:
            frames = packet.decode()
        except MemoryError:
            raise
        except DECODER_FAILURES:
            self.failed += self._trouble(not is_head(packet), packet.pts)
            return
        if COMPLAINTS.count > heard and not any(frame.is_corrupt for frame in frames):
            self.damaged += self._trouble(True, packet.pts)
        for frame in frames:
            self.damaged += self._trouble(frame.is_corrupt, frame.pts)
            self._note_frame(frame)
            self._attempt(partial(self._take, frame))

    def forgive(self) -> None:
        """Ignore the next skips: at a joint a demuxer misses packets that never existed; the decoder reports losses."""
        if self._marked_at is not None and self.packets - self._marked_at < _MARKED_AHEAD:
            self.damaged -= 1
        self._marked_at = None

    def count_steps(self) -> tuple[int, float]:
        """Return how many steps lie between the first and the last packet with content, and how many seconds."""
        return self.packets - 1, self.last_packet - (self._first_packet or 0.0)

    def stop_measuring(self) -> None:
        """Decode the rest only to find damage."""
        self._attempt(self._drain)
        self._measured = False

    def finish(self) -> None:
        """Take the filters' remaining output; no packet may follow."""
        self._attempt(self._drain)
        if self.last_frame is None:
            self.failed += self._early

    def _note_packet(self, packet: Packet[Any]) -> None:
        if self._key_pts is None and packet.is_keyframe:
            self._key_pts = packet.pts or 0
        if packet.is_discard:
            return
        self.packets += 1
        if self.packets <= LOOKED_AT and not self.has_captions:
            self.has_captions = has_captions(packet)
        if packet.pts is not None:
            at = packet.pts * self._tick_seconds - self._origin
            if at - self.last_packet > STILL_SECONDS:
                self.gaps.append(Silence(self.last_packet, at))
            self.last_packet = max(self.last_packet, at)
            self._first_packet = at if self._first_packet is None else min(self._first_packet, at)

    def _trouble(self, met: bool, pts: int | None) -> bool:
        """Return whether it counts: pictures before the first key frame need data that never existed."""
        if not met:
            return False
        if self._is_lead(pts):
            self._early += 1
            return False
        if self.first_trouble is None:
            self.first_trouble = self.last_packet
        return True

    def _is_lead(self, pts: int | None) -> bool:
        if self._key_pts is None:
            return self._joins_midway
        return pts is not None and pts < self._key_pts

    def _attempt(self, step: Callable[[], None]) -> None:
        """Measure; a failure of our own filters is no damage of the media."""
        if not self._measured:
            return
        try:
            step()
        except MemoryError:
            raise
        except DECODER_FAILURES as error:
            self.unmeasured = error_reason(error)
            self._measured, self._chain = False, None

    def _take(self, frame: Any) -> None:
        shape = self._shape_of(frame)
        if shape != self._shape:
            self._drain()
            self._chain, self._shape = self._build(frame), shape
        self._push(frame)

    def _drain(self) -> None:
        if self._chain is not None:
            self._push(None)
            self._chain = None

    def _push(self, frame: Any) -> None:
        if self._chain is not None:
            for passed in self._chain.push(frame):
                self._see(passed)

    def _time(self, frame: Any) -> float:
        """Return the time of `frame`; one without a time follows the last."""
        known = frame.time
        return max(0.0, (self.last_frame or 0.0) if known is None else known - self._origin)

    def _note_frame(self, frame: Any) -> None:
        raise NotImplementedError

    def _shape_of(self, frame: Any) -> object:
        raise NotImplementedError

    def _build(self, frame: Any) -> Chain:
        raise NotImplementedError

    def _see(self, frame: Any) -> None:
        raise NotImplementedError


class PictureTrack(Track):
    """The pictures of a video, or a picture: differences between successive ones, and samples of their colours.

    `rotation_degrees` is the clockwise turn of the pictures for display; None before the first one. `candidates` take
    some of the pictures.
    """

    kind = "picture"

    def __init__(
        self,
        stream: VideoStream,
        origin_seconds: float,
        bounds: Bounds,
        *,
        measured: bool = True,
        crop: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(stream, origin_seconds, measured=measured)
        self._context = stream.codec_context
        self._bounds = bounds
        self._crop = crop
        self._skimming = False
        self._since_frame = 0
        self._next_sample = 0.0
        self._past: deque[tuple[float, Sequence[int]]] = deque()
        self.rotation_degrees: int | None = None
        self.candidates: Candidates | None = None
        self.series = Pictures()

    def skim(self) -> None:
        """Skip pictures that no other needs, except samples, and skip deblocking: the cuts stay the same."""
        self._skimming = True
        self._context.skip_frame = "NONREF"
        self._context.options = {"skip_loop_filter": "all"}

    def glance(self) -> None:
        """Decode only the key frames."""
        self._context.skip_frame = "NONKEY"
        self._context.options = {"skip_loop_filter": "all"}

    def insist(self) -> None:
        """Refuse a picture with any fault: otherwise the JPEG decoder fills missing parts with grey."""
        if self._context.name == "mjpeg":
            self._context.options = {"err_detect": "explode"}

    def feed(self, packet: Packet[Any]) -> None:
        """Decode as any track; if hardly any picture is needed by another, examine all of them."""
        if self._skimming:
            self._context.skip_frame = "DEFAULT" if self._is_looked_at(packet) else "NONREF"
        super().feed(packet)
        self._since_frame += 1
        if self._skimming and self._since_frame > _SPARSE_PACKETS:
            self._skimming = self.last_packet - (self.last_frame or 0.0) <= _SPARSE_SECONDS
            if not self._skimming:
                self._context.skip_frame = "DEFAULT"

    def _is_looked_at(self, packet: Packet[Any]) -> bool:
        content = bytes(packet)
        return self.packets % _LOOKED_AT_EACH == 0 or any(run in content for run in _HOLLOW)

    def _note_frame(self, frame: VideoFrame) -> None:
        self._since_frame = 0
        self.last_frame = self._time(frame)
        if self.rotation_degrees is None:
            check_pixels(frame.width, frame.height, self._bounds)
            self.rotation_degrees = -frame.rotation % 360
        if self.candidates is not None and self.last_frame >= self.candidates.due:
            self._offer(self.candidates, frame)

    def _offer(self, candidates: Candidates, frame: VideoFrame) -> None:
        check_pixels(frame.width, frame.height, self._bounds)
        candidates.aspect = self._context.sample_aspect_ratio
        candidates.offer(self.last_frame or 0.0, frame)

    def _shape_of(self, frame: VideoFrame) -> object:
        return frame.width, frame.height, frame.format.name

    def _build(self, frame: VideoFrame) -> Chain:
        check_pixels(frame.width, frame.height, self._bounds)
        return build_picture_chain(frame, self.stream.time_base, self._crop)

    def _push(self, frame: VideoFrame | None) -> None:
        if frame is not None:
            forget_colours(frame)
        super()._push(frame)

    def _see(self, frame: VideoFrame) -> None:
        at = self._time(frame)
        found = frame.metadata
        self.series.times.append(at)
        self.series.motion.append(float(found.get("lavfi.scd.mafd", 0)))
        if "lavfi.scd.time" in found:
            self.series.cuts.append(Boundary(at, "cut", float(found.get("lavfi.scd.score", 0))))
            if self.candidates is not None:
                self.candidates.hasten(at)
        if at >= self._next_sample:
            self._next_sample = at - at % _SAMPLE_SECONDS + _SAMPLE_SECONDS
            self._sample(at, frame)

    def _sample(self, at: float, frame: VideoFrame) -> None:
        planes = [
            _every_other_row(memoryview(plane), plane.line_size, *size)
            for plane, size in _shape_planes(frame)
        ]
        colours = [count for plane in planes for count in _count_bins(plane)]
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
    """The sound of a stream: its loudness ten times a second, its silences, and the seconds decoded."""

    kind = "sound"

    def __init__(self, stream: AudioStream, origin_seconds: float, *, measured: bool = True) -> None:
        super().__init__(stream, origin_seconds, measured=measured)
        self._silent_since: float | None = None
        self.seconds = 0.0
        self.series = Sounds()

    def finish(self) -> None:
        """Finish as any track; a silence that lasts to the end ends there."""
        super().finish()
        if self._silent_since is not None and self.last_frame is not None:
            self._end_silence(self.last_frame)

    def _shape_of(self, frame: AudioFrame) -> object:
        return frame.sample_rate, frame.layout.name, frame.format.name

    def _build(self, frame: AudioFrame) -> Chain:
        return build_sound_chain(frame)

    def _note_frame(self, frame: AudioFrame) -> None:
        seconds = frame.samples / frame.sample_rate
        self.seconds += seconds
        self.last_frame = self._time(frame) + seconds

    def _see(self, frame: AudioFrame) -> None:
        found, series = frame.metadata, self.series
        if "lavfi.r128.M" in found:
            series.times.append(self._time(frame) - _WINDOW_LEAD_SECONDS)
            series.momentary.append(_parse_finite(found["lavfi.r128.M"], -math.inf))
            series.range_lu = round(_parse_finite(found.get("lavfi.r128.LRA", "0"), 0.0), 1)
            series.peak = max(series.peak, _parse_finite(found.get("lavfi.r128.true_peak", "0"), 0.0))
        if "lavfi.silence_start" in found:
            self._silent_since = float(found["lavfi.silence_start"]) - self._origin
        if "lavfi.silence_end" in found:
            self._end_silence(float(found["lavfi.silence_end"]) - self._origin)

    def _end_silence(self, end: float) -> None:
        start = max(0.0, self._silent_since or 0.0)
        self._silent_since = None
        if end > start:
            self.series.silences.append(Silence(start, end))


def _shape_planes(frame: VideoFrame) -> Iterator[tuple[Any, tuple[int, int]]]:
    return zip(frame.planes, _PLANES, strict=True)


def _every_other_row(plane: memoryview, stride: int, width: int, height: int) -> bytes:
    return b"".join(plane[row * stride : row * stride + width] for row in range(0, height, 2))


def _count_bins(plane: bytes) -> list[int]:
    binned = plane.translate(_TO_BIN)
    return [binned.count(value) for value in range(_BINS)]


def _parse_finite(text: str, otherwise: float) -> float:
    value = float(text)
    return value if math.isfinite(value) else otherwise
