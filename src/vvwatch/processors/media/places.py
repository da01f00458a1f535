"""Reads one track: its packets in order, with the times they are shown or heard, and seeks ahead."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from av.packet import Packet

from vvwatch.processors.media.opening import (
    DECODER_FAILURES,
    Bounds,
    Medium,
    check_not_storage,
    check_readable,
)
from vvwatch.processors.media.reading import Reader

_INDEXED: Final = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mxf"})
"""Formats that find a place without reading up to it, and whose clock never restarts."""

_FAR_SECONDS: Final = 20.0
_BACK_SECONDS: Final = (1.0, 10.0, 60.0, math.inf)
"""How much before the target to seek, until the result is early enough."""


class Stamped(NamedTuple):
    """A packet, the time at which it is shown or heard, and a time before which no later packet is."""

    packet: Packet[Any]
    at: float
    reached: float


class TrackReader:
    """Reads the packets of one track in order, and seeks if that saves reading.

    Times are in seconds from the start of the media. `ended`: there are no more packets.
    """

    def __init__(self, medium: Medium, stream: Any, bounds: Bounds, report: Callable[[float], None]) -> None:
        self.stream = stream
        self.tick_seconds = float(stream.time_base or 0)
        self.ended = False
        self._medium = medium
        self._leaps = medium.container.format.name in _INDEXED and bool(self.tick_seconds)
        self._reader = Reader(medium, bounds, report)
        self._packets = iter(self._reader)
        self._put_back: Stamped | None = None
        self._reached = 0.0
        self._checked: int | None = None

    def seconds(self, stamp: int) -> float:
        """Return the time of a time stamp of the track."""
        return stamp * self.tick_seconds - self._medium.origin_seconds

    def read(self) -> Stamped | None:
        """Return the next packet of the track that has content; None at the end."""
        if self._put_back is not None:
            stamped, self._put_back = self._put_back, None
            return stamped
        for packet in self._packets:
            if packet.size and packet.stream.index == self.stream.index:
                return self._stamp(packet)
        self.ended = True
        return None

    def leap(self, seconds: float) -> bool:
        """Seek to a place before `seconds` if that saves reading; return False if nothing changes."""
        if not self._leaps or seconds - self._reached < _FAR_SECONDS:
            return False
        for back in _BACK_SECONDS:
            self._seek(max(0.0, seconds - back))
            landed = self.read()
            if landed is not None and landed.at <= seconds:
                self._put_back = landed
                break
        return True

    def check_readable(self) -> None:
        """Raise StorageUnavailable if the track ended because a disk or a network failed."""
        if self.ended and self._checked != self._reader.place:
            check_readable(self._medium.source, self._reader.place)
            self._checked = self._reader.place

    def _stamp(self, packet: Packet[Any]) -> Stamped:
        stamp = packet.dts if packet.pts is None else packet.pts
        at = self._reached if stamp is None else self.seconds(stamp)
        self._reached = at if packet.dts is None else self.seconds(packet.dts)
        return Stamped(packet, at, self._reached)

    def _seek(self, seconds: float) -> None:
        stamp = round((seconds + self._medium.origin_seconds) / self.tick_seconds)
        self.ended, self._put_back = False, None
        try:
            self._medium.container.seek(stamp, stream=self.stream)
        except MemoryError:
            raise
        except DECODER_FAILURES as error:
            check_not_storage(error)
        self._packets = iter(self._reader)
