"""Where tracks begin and end by their packets: the header's duration is a guess."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

_PRIMING_SECONDS: Final = 0.2
"""Sound that begins up to this long before zero has samples that its decoder drops."""

_TOLERANCE_SECONDS: Final = 0.005
_ROOMY: Final = 1.05
_TAIL_PACKETS: Final = 20_000
_SMALL_BYTES: Final = 8 << 20
_TAIL_BYTES: Final = 3 << 20
"""The most bytes after the last packet: less than an excerpt of the end, before which there are only zeros."""

_PACKET_TIMED: Final = frozenset({"matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "avi", "mpeg", "mpegts"})
"""Containers whose tracks may state no duration, or a wrong one."""

COVERS: Final = Disposition.attached_pic | Disposition.timed_thumbnails


_HEADS: Final = (
    *(b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN"),
    *(b"\x80theora", b"\x81theora", b"\x82theora", b"\x01vorbis", b"\x03vorbis", b"\x05vorbis"),
    *(b"OpusHead", b"OpusTags", b"\x7fFLAC", b"Speex   ", b"OVP80"),
)
"""Headers that look like packets: of joined MP3 files, or of the next Ogg link."""


def is_head(packet: Packet[Any]) -> bool:
    """Return whether `packet` holds no media but describes what follows."""
    return bytes(packet).startswith(_HEADS)


def playable_streams(container: InputContainer) -> list[Stream]:
    """Return the streams of moving pictures and of sound, decodable or not."""
    pictures = (stream for stream in container.streams.video if not stream.disposition & COVERS)
    return [*pictures, *container.streams.audio]


class Extent:
    """The times that one track's packets cover, in seconds of the container's clock."""

    def __init__(self, stream: Stream) -> None:
        self._tick = float(stream.time_base or 0)
        self._declared = _declared_end(stream)
        self._step = 0.0
        self._first: float | None = None
        self._count = 0
        self._reordered = False
        self._previous: float | None = None
        self._nearest = math.inf
        self.last: float | None = None

    def add(self, packet: Packet[Any]) -> None:
        """Add one packet; those that an edit list leaves out do not count."""
        if packet.pts is None or packet.is_discard:
            return
        at = packet.pts * self._tick
        self._count += 1
        if self._previous is not None and at != self._previous:
            self._nearest = min(self._nearest, abs(at - self._previous))
        self._previous = at
        self._reordered = self._reordered or packet.pts != packet.dts
        if self._first is None or at < self._first:
            self._first = at
        if self.last is None or at >= self.last:
            self.last, self._step = at, (packet.duration or 0) * self._tick

    def end(self) -> float | None:
        """Return when the last picture or sound ends; None if there was none.

        In a track with reordered pictures, a packet's duration is the distance to the next one in the file: the last
        picture then counts as long as the shortest.
        """
        if self.last is None:
            return None
        usual = self.usual_step()
        declared = self._declared
        if declared is not None and 0 < declared - self.last <= self._longest(usual):
            return declared
        if self._reordered and usual:
            return self.last + min(self._step, usual, self._nearest)
        return self.last + (self._step or usual)

    def usual_step(self) -> float:
        """Return the mean time between packets."""
        if self._first is None or self.last is None or self._count < 2:
            return 0.0
        return (self.last - self._first) / (self._count - 1)

    def _longest(self, usual: float) -> float:
        return max(self._step, usual) * _ROOMY + _TOLERANCE_SECONDS


def declared_start(stream: Stream) -> float | None:
    """Return when `stream` begins by its header, on the container's clock; None if it states nothing."""
    return None if stream.start_time is None else stream.start_time * float(stream.time_base or 0)


def start_seconds(container: InputContainer) -> float:
    """Return when the first picture or sound of `container` begins; other tracks may begin earlier."""
    starts = [
        start for stream in playable_streams(container) if (start := declared_start(stream)) is not None
    ]
    first = min(starts, default=max(0, container.start_time or 0) / 1e6)
    return 0.0 if -_PRIMING_SECONDS < first < 0 else first


def declared_seconds(container: InputContainer) -> float | None:
    """Return the duration by all tracks, else by the header; None if neither states one."""
    ends = [_declared_end(stream) for stream in playable_streams(container)]
    known = [end for end in ends if end is not None]
    if known and len(known) == len(ends):
        return max(0.0, max(known) - start_seconds(container))
    return container.duration / 1e6 if container.duration and container.duration > 0 else None


def last_end(extents: Iterable[Extent]) -> float | None:
    """Return when the last of all pictures and sounds ends."""
    return max((end for extent in extents if (end := extent.end()) is not None), default=None)


def probed_seconds(container: InputContainer, size: int, stated: float | None) -> float | None:
    """Return the duration, from the last packets if they are cheap to read; None if unknown.

    `stated` is the fallback. Moves the container's position. `size` is that of the file.
    """
    name = container.format.name
    is_seekable, is_small = name in _PACKET_TIMED, size <= _SMALL_BYTES
    if not is_seekable and (stated is not None or not is_small):
        return stated
    extents = _read_tail(container, size, seeks=is_seekable)
    end = None if extents is None else last_end(extents)
    if end is not None:
        return max(0.0, end - start_seconds(container))
    is_fragmented = name.startswith("mov") and not all(_is_indexed(s) for s in playable_streams(container))
    return None if is_fragmented else stated


def _read_tail(container: InputContainer, size: int, *, seeks: bool) -> list[Extent] | None:
    """Return the extents from near the end of the file, or from the current position; None if that is too far."""
    streams = playable_streams(container)
    extents = {stream.index: Extent(stream) for stream in streams}
    if container.duration and seeks:
        container.seek(container.duration + max(0, container.start_time or 0))
    place = 0
    for count, packet in enumerate(container.demux(*streams)):
        if count > _TAIL_PACKETS:
            return None
        place = max(place, (packet.pos or 0) + packet.size)
        extents[packet.stream.index].add(packet)
    return list(extents.values()) if size - place < _TAIL_BYTES else None


def _is_indexed(stream: Stream) -> bool:
    return bool(stream.frames) and stream.duration is not None


def _declared_end(stream: Stream) -> float | None:
    start = declared_start(stream)
    if stream.duration is None or start is None:
        return None
    return start + stream.duration * float(stream.time_base or 0)
