"""Finds single pictures of a video: decodes little, and always finds the same picture.

Packets are read in order and kept. Decoding begins at the last key frame before the wanted picture and skips pictures
that no other needs. Time stamps show which picture is wanted before anything is decoded, so the result depends
neither on earlier requests nor on seeks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from av.packet import Packet
from av.video.frame import VideoFrame

from vvwatch.processors.media.opening import DECODER_FAILURES, Bounds, Medium, check_pixels
from vvwatch.processors.media.places import Stamped, TrackReader

_KEPT_BACK_PACKETS: Final = 2000
_KEPT_BACK_BYTES: Final = 64 << 20
_FED_BEYOND_PACKETS: Final = 40
_ROUNDING_SECONDS: Final = 0.0005
_LASTING_SECONDS: Final = 0.5
"""The least time that the last picture is shown beyond its packet's duration."""


class ShownPicture(NamedTuple):
    """A picture and the time at which it appears."""

    at: float
    frame: VideoFrame


class PictureReader:
    """The pictures of a video by the times at which they are shown, requested in rising order."""

    def __init__(self, medium: Medium, bounds: Bounds, report: Callable[[float], None]) -> None:
        self._place = TrackReader(medium, medium.pictures, bounds, report)
        self._bounds = bounds
        self._context: Any = self._place.stream.codec_context
        self._context.thread_count = 1
        self._back: deque[Stamped] = deque()
        self._back_bytes = 0
        self._inside: set[float] = set()
        self._ready: deque[ShownPicture] = deque()
        self._last: ShownPicture | None = None
        self._reached = -math.inf
        self._end = 0.0

    def shown_at(self, seconds: float, until: float) -> ShownPicture | None:
        """Return the picture shown at `seconds`.

        If it cannot be decoded, return the next one that can and appears before `until`, or else the one before it.
        None if there is none, and after the last picture.
        """
        seconds += _ROUNDING_SECONDS
        self._read_up_to(seconds)
        wanted = self._find_appearance(seconds)
        if wanted is None or wanted >= until:
            return None
        return self._decode_until(wanted, until)

    def check_readable(self) -> None:
        """Raise StorageUnavailable if the pictures ended because a disk or a network failed."""
        self._place.check_readable()

    def _read_up_to(self, seconds: float) -> None:
        """Read until nothing shown by `seconds` can follow; keep what must be decoded for it."""
        if self._place.leap(seconds):
            self._start_over()
        while self._reached <= seconds and (stamped := self._read()) is not None:
            if stamped.packet.is_keyframe and not stamped.packet.is_discard and stamped.at <= seconds:
                self._start_over()
            self._keep_back(stamped)

    def _read(self) -> Stamped | None:
        stamped = self._place.read()
        if stamped is not None:
            self._reached = stamped.reached
            lasts = (stamped.packet.duration or 0) * self._place.tick_seconds
            self._end = max(self._end, stamped.at + lasts)
        return stamped

    def _start_over(self) -> None:
        self._back.clear()
        self._back_bytes = 0
        self._inside.clear()
        self._ready.clear()
        self._last = None
        self._reached = -math.inf
        self._context.flush_buffers()

    def _keep_back(self, stamped: Stamped) -> None:
        self._back.append(stamped)
        self._back_bytes += stamped.packet.size
        while len(self._back) > _KEPT_BACK_PACKETS or self._back_bytes > _KEPT_BACK_BYTES:
            self._feed(self._next_back(), is_needed=True)
            while len(self._ready) > 1:
                self._last = self._ready.popleft()

    def _next_back(self) -> Stamped:
        stamped = self._back.popleft()
        self._back_bytes -= stamped.packet.size
        return stamped

    def _find_appearance(self, seconds: float) -> float | None:
        """Return when the picture shown at `seconds`, or the first one, appears; None after the last."""
        if self._place.ended and seconds >= self._end + _LASTING_SECONDS:
            return None
        known = {stamped.at for stamped in self._back if not stamped.packet.is_discard}
        known |= self._inside | {shown.at for shown in self._ready}
        if self._last is not None:
            known.add(self._last.at)
        return max((at for at in known if at <= seconds), default=min(known, default=None))

    def _decode_until(self, wanted: float, until: float) -> ShownPicture | None:
        """Decode up to the picture at `wanted`, or the first intact one after it."""
        if self._last is not None and self._last.at >= wanted:
            return self._last
        for found in self._coming(wanted, until):
            if found.at > wanted and found.at >= until:
                self._ready.appendleft(found)
                break
            if not found.frame.is_corrupt or self._last is None:
                self._last = found
            if found.at >= wanted and not found.frame.is_corrupt:
                break
        return self._last

    def _coming(self, wanted: float, until: float) -> Iterator[ShownPicture]:
        """Yield the decoder's next output; after the wanted picture read on only for a while."""
        beyond = 0
        while True:
            while self._ready:
                yield self._ready.popleft()
            if not self._back:
                beyond += 1
                if beyond > _FED_BEYOND_PACKETS and self._reached > until:
                    return
            stamped = self._next_back() if self._back else self._read()
            if stamped is not None:
                self._feed(stamped, is_needed=stamped.at >= wanted)
            elif not self._drain():
                return

    def _feed(self, stamped: Stamped, *, is_needed: bool) -> None:
        self._context.skip_frame = "DEFAULT" if is_needed else "NONREF"
        if not stamped.packet.is_discard:
            self._inside.add(stamped.at)
        self._take(stamped.packet)

    def _drain(self) -> bool:
        """Take the decoder's remaining output; return False if there is none."""
        if not self._inside:
            return False
        self._take(None)
        self._inside.clear()
        return bool(self._ready)

    def _take(self, packet: Packet[Any] | None) -> None:
        try:
            frames: list[VideoFrame] = self._context.decode(packet)
        except MemoryError:
            raise
        except DECODER_FAILURES:
            return
        for frame in frames:
            check_pixels(frame.width, frame.height, self._bounds)
            at = min(self._inside, default=0.0) if frame.pts is None else self._place.seconds(frame.pts)
            self._inside = {other for other in self._inside if other > at}
            self._ready.append(ShownPicture(at, frame))
