"""Reads the packets of all streams in order, with a clock that never jumps, until the end or a read error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from av.packet import Packet
from av.stream import Stream

from vvwatch.processors.media.complaints import COMPLAINTS
from vvwatch.processors.media.extents import Extent, is_head, last_end, playable_streams
from vvwatch.processors.media.opening import (
    DECODER_FAILURES,
    Bounds,
    Medium,
    check_not_storage,
    check_seconds,
    error_reason,
)

_REPEATS_CLOCK: Final = frozenset({"mpegts", "mpeg", "ogg"})
"""Formats whose time stamps may restart within a file, where recordings were joined."""

_BACK_SECONDS: Final = 0.5
_AHEAD_SECONDS: Final = 3600.0
_JUMP_BYTES: Final = 4096
_KEPT_JUMPS: Final = 1000


class Jump(NamedTuple):
    """A stretch of bytes that gave no packet: the positions and times of the packets around it."""

    start: int
    end: int
    from_seconds: float
    to_seconds: float


class Reader:
    """Iterates over the packets and records how far they reach.

    `reached` is the latest time of any stream in seconds, `place` the furthest byte, `stopped` the error that ended
    reading, `skipped` how often bytes of no track were skipped, `unsplit` how many packets do not match their
    lengths, `joints` how often the clock restarted, `at_joint` whether it just did, `jumps` the unusually large
    stretches between packets. Raises MediaLimit beyond the bounds.
    """

    def __init__(self, medium: Medium, bounds: Bounds, report: Callable[[float], None]) -> None:
        self._medium = medium
        self._bounds = bounds
        self._report = report
        self._rebases = medium.container.format.name in _REPEATS_CLOCK
        self._is_chained = medium.container.format.name == "ogg"  # heads of its links have time stamps
        self._ticks: dict[int, float] = {}
        self._stamps: dict[int, float] = {}
        self._joined: dict[int, int] = {}
        self._shifts = [0.0]
        self._keeps_jumps = medium.container.format.name == "matroska,webm"
        self._last = Jump(0, 0, 0.0, 0.0)
        self._at = 0.0
        self.extents = {stream.index: Extent(stream) for stream in playable_streams(medium.container)}
        self.jumps: list[Jump] = []
        self.place = 0
        self.reached = 0.0
        self.stopped = ""
        self.skipped = int(COMPLAINTS.take_skips() > 0)  # during opening
        self.unsplit = 0
        self.at_joint = False

    def __iter__(self) -> Iterator[Packet[Any]]:
        packets = iter(self._medium.container.demux())
        while (packet := self._next(packets)) is not None:
            joints = self._joined.get(packet.stream.index, 0)
            if packet.pts is not None and not (self._is_chained and is_head(packet)):
                self._note_time(packet)
            self.at_joint = self._joined.get(packet.stream.index, 0) > joints
            if packet.pos is not None and packet.size:
                self._note_place(packet.pos, packet.size)
            yield packet
            self._report(self._fraction())

    @property
    def duration_seconds(self) -> float:
        """Return the time from the first picture or sound to the end of the last, by the packets."""
        end = last_end(self.extents.values())
        return 0.0 if end is None else max(0.0, end - self._medium.origin_seconds)

    def usual_step(self) -> float:
        """Return the longest of the tracks' mean times between packets."""
        return max((extent.usual_step() for extent in self.extents.values()), default=0.0)

    @property
    def tail(self) -> Jump:
        """Return the jump from the last packet to the end of the file."""
        return Jump(self._last.start, self._medium.source.size, self._at, self._at)

    @property
    def joints(self) -> int:
        """Return how often the clock restarted."""
        return len(self._shifts) - 1

    def _note_time(self, packet: Packet[Any]) -> None:
        extent = self.extents.get(packet.stream.index)
        if extent is None:
            return
        tick = self._tick_seconds(packet.stream)
        if self._rebases:
            self._rebase(packet, tick)
        extent.add(packet)
        self._at = (packet.pts or 0) * tick - self._medium.origin_seconds
        if self._at > self.reached and not packet.is_discard:
            self.reached = self._at
            check_seconds(self._at, self._bounds)

    def _rebase(self, packet: Packet[Any], tick: float) -> None:
        """Keep time continuous when a track's clock falls back or jumps, with the same shift for all tracks."""
        index = packet.stream.index
        shown = (packet.pts or 0) * tick - self._medium.origin_seconds
        now = shown if packet.dts is None else packet.dts * tick - self._medium.origin_seconds
        if not -_BACK_SECONDS < now - self._stamps.get(index, now) < _AHEAD_SECONDS:
            self._join(index, shown)
        self._stamps[index] = now
        shift = self._shifts[self._joined.get(index, 0)]
        if shift:
            packet.pts = None if packet.pts is None else packet.pts + round(shift / tick)
            packet.dts = None if packet.dts is None else packet.dts + round(shift / tick)

    def _join(self, index: int, begun: float) -> None:
        number = self._joined.get(index, 0) + 1
        if number == len(self._shifts):
            self._shifts.append(self.duration_seconds - begun)
        self._joined[index] = number

    def _note_place(self, place: int, size: int) -> None:
        self.place = max(self.place, place + size)
        last = self._last
        if self._keeps_jumps and place - last.end > _JUMP_BYTES and len(self.jumps) < _KEPT_JUMPS:
            self.jumps.append(Jump(last.start, place, last.to_seconds, self._at))
        self._last = Jump(place, place + size, self._at, self._at)

    def _tick_seconds(self, stream: Stream) -> float:
        # Kept as a float: fraction arithmetic for every packet is slow.
        if stream.index not in self._ticks:
            self._ticks[stream.index] = float(stream.time_base or 0)
        return self._ticks[stream.index]

    def _next(self, packets: Iterator[Packet[Any]]) -> Packet[Any] | None:
        heard, skips = COMPLAINTS.count, COMPLAINTS.skips
        try:
            return next(packets, None)
        except MemoryError:
            raise
        except DECODER_FAILURES as error:
            check_not_storage(error)
            self.stopped = error_reason(error)
            return None
        finally:
            self.skipped += COMPLAINTS.skips > skips
            self.unsplit += COMPLAINTS.count > heard

    def _fraction(self) -> float:
        if self._medium.duration_seconds:
            return min(1.0, self.reached / self._medium.duration_seconds)
        return min(1.0, self.place / max(1, self._medium.source.size))
