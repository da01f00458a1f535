"""The decode pass: media is read once from start to end, and what is seen, heard and broken is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from av.packet import Packet
from av.stream import Stream

from vvwatch.errors import MediaUnreadable
from vvwatch.processors.measurements import Pictures, Sounds, holes
from vvwatch.processors.opening import (
    DECODER_FAILURES,
    Bounds,
    Medium,
    check_readable,
    check_seconds,
    decodable,
    reason,
)
from vvwatch.processors.tracks import PictureTrack, SoundTrack, Track

_DECLARES_DURATION: Final = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flac", "ogg"})
"""Containers that state their duration, instead of having it computed from what is left of them."""

_SKIPS_HOLES: Final = frozenset({"matroska,webm", "flac", "ogg"})
"""Containers whose demuxer jumps without a word over bytes that it does not understand."""

_STALLED_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over the media found; `damage` is empty when all of it could be read and decoded."""

    duration_seconds: float
    pictures: Pictures | None
    sounds: Sounds | None
    damage: tuple[str, ...]


def look(medium: Medium, bounds: Bounds) -> Survey:
    """Decode a picture, every tile of it when it has tiles; of an animation the first picture.

    Raises MediaUnreadable when it does not decode completely, MediaLimit for too many pixels, ProcessorCrashed
    when the file cannot be read.
    """
    parts = filter(decodable, medium.container.streams.video)
    tracks = {part.index: PictureTrack(part, 0, bounds) for part in parts}
    for track in tracks.values():
        track.insist()
    waiting = set(tracks)
    for packet in _Reader(medium, lambda _: None):
        if packet.stream.index in waiting:
            tracks[packet.stream.index].feed(packet)
        waiting = {index for index in waiting if tracks[index].last_frame is None}
        if not waiting:
            break
    if waiting or any(track.failed or track.damaged for track in tracks.values()):
        check_readable(medium.source, 0)
        raise MediaUnreadable(
            _said("the picture is cut short or damaged", medium.damage), "Upload the file again."
        )
    main = tracks[medium.pictures.index] if medium.pictures else next(iter(tracks.values()))
    return Survey(0.0, main.series, None, medium.damage)


def survey(medium: Medium, bounds: Bounds, report: Callable[[float], None]) -> Survey:
    """Decode the whole of a video or sound; calls `report` with the fraction done after each packet.

    Raises MediaUnreadable when nothing of it could be decoded, MediaLimit beyond `bounds`, ProcessorCrashed when
    the file cannot be read.
    """
    tracks = _tracks(medium, bounds)
    reader = _Reader(medium, report)
    for packet in reader:
        # The empty packets that drain the decoders at the end all claim to be of stream 0 in `stream_index`.
        if packet.stream.index in tracks:
            tracks[packet.stream.index].feed(packet)
    for track in tracks.values():
        track.finish()
    return _findings(medium, reader, tracks, bounds)


def _tracks(medium: Medium, bounds: Bounds) -> dict[int, Track]:
    tracks: dict[int, Track] = {}
    if medium.pictures is not None:
        pictures = PictureTrack(medium.pictures, medium.origin_seconds, bounds)
        pictures.skim()
        tracks[medium.pictures.index] = pictures
    if medium.sounds is not None:
        tracks[medium.sounds.index] = SoundTrack(medium.sounds, medium.origin_seconds)
    return tracks


class _Reader:
    """The packets of all streams, up to the end or to where reading fails.

    `reached` is the end of the latest packet in seconds, `place` the furthest in bytes, `stopped` what went wrong.
    """

    def __init__(self, medium: Medium, report: Callable[[float], None]) -> None:
        self._medium = medium
        self._report = report
        self._ticks: dict[int, float] = {}
        self.place = 0
        self.reached = 0.0
        self.stopped = ""

    def __iter__(self) -> Iterator[Packet[Any]]:
        packets = iter(self._medium.container.demux())
        while (packet := self._next(packets)) is not None:
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * self._tick_seconds(packet.stream)
                self.reached = max(self.reached, end - self._medium.origin_seconds)
            self.place = max(self.place, packet.pos or 0)
            yield packet
            self._report(self._fraction())

    def _tick_seconds(self, stream: Stream) -> float:
        # Remembered as a float: arithmetic with fractions, once per packet, is felt.
        if stream.index not in self._ticks:
            self._ticks[stream.index] = float(stream.time_base or 0)
        return self._ticks[stream.index]

    def _next(self, packets: Iterator[Packet[Any]]) -> Packet[Any] | None:
        try:
            return next(packets, None)
        except MemoryError:
            raise
        except DECODER_FAILURES as error:
            self.stopped = reason(error)
            return None

    def _fraction(self) -> float:
        if self._medium.duration_seconds:
            return min(1.0, self.reached / self._medium.duration_seconds)
        return min(1.0, self.place / max(1, self._medium.source.size))


def _findings(medium: Medium, reader: _Reader, tracks: Mapping[int, Track], bounds: Bounds) -> Survey:
    pictures = next((t.series for t in tracks.values() if isinstance(t, PictureTrack)), None)
    sounds = next((t.series for t in tracks.values() if isinstance(t, SoundTrack)), None)
    damage = (*medium.damage, *_damage(medium, reader, list(tracks.values())))
    if medium.container.format.name in _SKIPS_HOLES:
        damage += tuple(
            f"nothing between {_clock(start)} and {_clock(end)}" for start, end in holes(pictures, sounds)
        )
    if damage:
        check_readable(medium.source, reader.place)
    if all(track.last_frame is None for track in tracks.values()):
        raise MediaUnreadable(_said("nothing in it could be decoded", damage), "Upload the file again.")
    duration = _duration(medium, max(t.last_frame or 0.0 for t in tracks.values()), reader.reached, damage)
    check_seconds(duration, bounds)
    return Survey(duration, pictures, sounds, damage)


def _damage(medium: Medium, reader: _Reader, tracks: Sequence[Track]) -> Iterator[str]:
    if reader.stopped:
        yield f"reading stopped after {_clock(reader.reached)}: {reader.stopped}"
    if medium.container.format.name in _DECLARES_DURATION and _falls_short(medium, reader.reached):
        declared = _clock(medium.duration_seconds or 0)
        yield f"truncated: the media ends after {_clock(reader.reached)} but its header says {declared}"
    for track in tracks:
        yield from _trouble(track)


def _trouble(track: Track) -> Iterator[str]:
    at = f"the first near {_clock(track.first_trouble or 0.0)}"
    if track.failed:
        yield f"corrupt: {track.failed} {track.kind} packets could not be decoded, {at}"
    if track.damaged:
        yield f"corrupt: {track.damaged} {track.kind} packets or frames are damaged, {at}"
    if track.last_frame is None:
        yield f"corrupt: not one {track.kind} could be decoded"
    elif track.last_frame < track.last_packet - _STALLED_SECONDS:
        yield f"corrupt: no {track.kind} could be decoded after {_clock(track.last_frame)}"


def _falls_short(medium: Medium, reached: float) -> bool:
    # Some muxers count from zero, some from the first picture: media that begins late may pass for its lead longer.
    declared = medium.duration_seconds
    return declared is not None and reached + medium.origin_seconds < declared - _slack(medium, declared)


def _slack(medium: Medium, declared: float) -> float:
    return 0.1 if medium.container.format.name == "flac" else 0.5 + declared * 0.01


def _duration(medium: Medium, decoded: float, reached: float, damage: Sequence[str]) -> float:
    """The header's word where the media bears it out, else what was found."""
    found = decoded if damage else max(decoded, reached)
    declared = medium.duration_seconds
    if declared is not None and abs(declared - found) <= _slack(medium, declared):
        return declared
    return round(found, 3)


def _said(what: str, damage: Sequence[str]) -> str:
    return "; ".join((what, *damage))


def _clock(seconds: float) -> str:
    return f"{seconds:.1f} s"
