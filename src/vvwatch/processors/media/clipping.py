"""Cuts a stretch out of media without coding it again, in the confined process: from a key frame on."""

from __future__ import annotations

import errno
import io
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import av
from av.packet import Packet

from vvwatch.errors import MediaLimit, MediaUnsupported
from vvwatch.processors.media.extents import playable_streams
from vvwatch.processors.media.opening import DECODER_FAILURES, Medium, check_not_storage, error_reason

_SLACK_SECONDS: Final = 0.001
_INDEXED: Final = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
_STEPS_BACK_SECONDS: Final = (0.0, 10.0, 60.0, math.inf)
"""How far before the start to look for a key frame. Where seeking guesses, all is read from the beginning."""

_FULL: Final = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT)
_ONE_SOUND: Final = frozenset({"mp3", "wav", "flac"})
_FLAC_TOTALS: Final = (21, 42)
"""Where a FLAC file states its number of samples (its last 36 bits) and their digest: those of the whole."""

_HINT: Final = "download the whole file, and use the segment's start_time and end_time in it"


def cut_clip(
    medium: Medium,
    fd: int,
    span: tuple[float, float],
    muxer: str,
    report: Callable[[float], None],
) -> Mapping[str, Any]:
    """Write the stretch into the empty file behind `fd`, in the container `muxer`.

    Raises MediaUnsupported if it cannot hold the stretch, or nothing can be cut there; MediaLimit when the file has no
    more room.
    """
    file = _Output(fd, "wb", closefd=False)
    try:
        start, end = _Clip(medium, span, report).write(file, muxer)
    except MediaUnsupported:
        raise
    except DECODER_FAILURES as error:
        check_not_storage(error)
        if file.is_full:
            raise MediaLimit("the segment is larger than the room for it", _HINT) from error
        reason = f"its packets cannot be cut into {muxer}: {error_reason(error)}"
        raise MediaUnsupported(reason, _HINT) from error
    if muxer == "flac":
        _forget_totals(fd)
    return {"muxer": muxer, "start_time": round(start, 3), "end_time": round(end, 3)}


class _Output(io.FileIO):
    """A file that is written whole or not; `is_full` when it had no more room, which PyAV does not pass on."""

    is_full = False

    def write(self, data: Any) -> int:
        """Write all of `data`. Raises OSError."""
        view = memoryview(data)
        size = view.nbytes
        try:
            while view:
                view = view[super().write(view) :]
        except OSError as error:
            self.is_full = error.errno in _FULL
            raise
        return size


class _Clip:
    """One try to write the clip."""

    def __init__(self, medium: Medium, span: tuple[float, float], report: Callable[[float], None]) -> None:
        self._medium = medium
        self._container = medium.container
        self._start, self._end = span
        self._report = report
        self._main: Any = medium.pictures or medium.sounds

    def write(self, file: _Output, muxer: str) -> tuple[float, float]:
        streams = self._choose_streams(muxer)
        with av.open(file, "w", format=muxer, options={"fflags": "+bitexact"}) as out:
            targets = {stream.index: out.add_stream_from_template(stream) for stream in streams}
            return self._copy(out, streams, targets)

    def _choose_streams(self, muxer: str) -> Sequence[Any]:
        return [self._main] if muxer in _ONE_SOUND else playable_streams(self._container)

    def _copy(self, out: Any, streams: Sequence[Any], targets: Mapping[int, Any]) -> tuple[float, float]:
        begun: float | None = None
        reached = 0.0
        for packet in self._packets(streams):
            at = self._time(packet)
            if begun is None:
                if packet.stream.index != self._main.index:
                    continue
                begun = at
            elif at < begun - _SLACK_SECONDS and packet.stream.index != self._main.index:
                continue
            reached = max(reached, at + self._length(packet))
            self._shift(packet, begun)
            packet.stream = targets[packet.stream.index]
            out.mux(packet)
        if begun is None or reached < self._start:
            raise MediaUnsupported("there is nothing to cut in this segment", _HINT)
        return begun, reached

    def _packets(self, streams: Sequence[Any]) -> Iterator[Packet[Any]]:
        """Yield the packets of the stretch, beginning with the key frame of the main stream."""
        key = self._find_key()
        is_begun, ended, furthest = False, set[int](), -math.inf
        for packet in self._container.demux(*streams):
            if not packet.size:
                continue
            self._check_timed(packet)
            is_main = packet.stream.index == self._main.index
            is_begun = is_begun or (is_main and packet.is_keyframe and self._time(packet) >= key)
            is_wanted = is_begun or (not is_main and self._time(packet) >= key)
            if self._order(packet) < self._end:
                furthest = max(furthest, self._time(packet)) if is_main else furthest
            else:
                # Pictures that are shown before one that was written may follow it.
                is_wanted = is_main and is_begun and self._time(packet) < furthest
                ended.add(packet.stream.index)
                if self._is_far(packet) or (len(ended) == len(streams) and not is_wanted):
                    return
            if is_wanted:
                yield packet
            self._report(0.0)

    def _find_key(self) -> float:
        """Return the time of the last key frame at or before the start, and seek before it; else of the first."""
        is_indexed = self._container.format.name in _INDEXED
        for back in _STEPS_BACK_SECONDS if is_indexed else _STEPS_BACK_SECONDS[-1:]:
            self._seek(self._start - back)
            found = first = None
            for packet in self._container.demux(self._main):
                if not packet.size:
                    continue
                self._check_timed(packet)
                at = self._time(packet)
                if packet.is_keyframe and at <= self._start + _SLACK_SECONDS:
                    found = at
                first = at if first is None and packet.is_keyframe else first
                if self._order(packet) > self._start + _SLACK_SECONDS:
                    break
                self._report(0.0)
            key = found if found is not None or back < math.inf else first
            if key is not None:
                self._seek(self._start - back)
                return key - _SLACK_SECONDS
        raise MediaUnsupported("it has no key frame", _HINT)

    def _seek(self, seconds: float) -> None:
        if seconds <= 0:
            lowest = self._container.start_time or 0
            self._container.seek(min(0, lowest), backward=True)
            return
        at = seconds + self._medium.origin_seconds
        self._container.seek(math.floor(at / self._main.time_base), stream=self._main, backward=True)

    def _check_timed(self, packet: Packet[Any]) -> None:
        """Give a packet without a presentation time that of its decoding; refuse where these differ."""
        if packet.pts is not None:
            return
        context: Any = packet.stream.codec_context
        if packet.dts is None or (packet.stream.type == "video" and context.has_b_frames):
            raise MediaUnsupported("its packets have no presentation times", _HINT)
        packet.pts = packet.dts

    def _time(self, packet: Packet[Any]) -> float:
        return float((packet.pts or 0) * packet.time_base) - self._medium.origin_seconds

    def _order(self, packet: Packet[Any]) -> float:
        ticks = packet.pts if packet.dts is None else packet.dts
        return float((ticks or 0) * packet.time_base) - self._medium.origin_seconds

    def _length(self, packet: Packet[Any]) -> float:
        rate = None if packet.duration or packet.stream.type != "video" else packet.stream.average_rate
        return float(1 / rate) if rate else float((packet.duration or 0) * packet.time_base)

    def _is_far(self, packet: Packet[Any]) -> bool:
        """Return whether nothing can still follow: tracks are interleaved within seconds."""
        return self._order(packet) > self._end + 10

    def _shift(self, packet: Packet[Any], begun: float) -> None:
        ticks = round((begun + self._medium.origin_seconds) / packet.time_base)
        packet.pts = (packet.pts or 0) - ticks
        if packet.dts is not None:
            packet.dts -= ticks


def _forget_totals(fd: int) -> None:
    """Mark the number of samples and their digest as unknown."""
    first, last = _FLAC_TOTALS
    with os.fdopen(os.dup(fd), "r+b") as file:
        file.seek(first)
        kept = file.read(1)
        if kept:
            file.seek(first)
            file.write(bytes([kept[0] & 0xF0]) + bytes(last - first - 1))
