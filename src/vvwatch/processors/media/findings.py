"""The findings of a pass over media: the series of measurements, and the damage in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from av.stream import Stream

from vvwatch.processors.media.extents import declared_seconds
from vvwatch.processors.media.holes import OggPages, find_broken_tail, find_matroska_holes
from vvwatch.processors.media.measurements import Pictures, Sounds
from vvwatch.processors.media.opening import Medium
from vvwatch.processors.media.reading import Reader
from vvwatch.processors.media.tracks import STILL_SECONDS, SoundTrack, Track

_STATES_SECONDS: Final = frozenset({"flv", "asf"})
"""Containers whose writers state the duration at the end, and that show a loss in no other way."""

_STALLED_SECONDS: Final = 1.0
_SAMPLES_SLACK_SECONDS: Final = 0.05
_KEPT_GAPS: Final = 10
_FEW_PACKETS: Final = 2


@dataclass(frozen=True, slots=True)
class Survey:
    """The findings of one pass over the media; `damage` is empty if all of it could be read and decoded.

    `sound` is the stream measured for `sounds`, `tracks` describes each stream and its state, `rotation_degrees` is
    the clockwise turn of the pictures for display, `picture_steps` is how many steps lie between the first
    and the last picture, and how many seconds; None where bytes are missing. `has_captions`: the
    first pictures carry captions.
    """

    duration_seconds: float
    pictures: Pictures | None
    sounds: Sounds | None
    damage: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    rotation_degrees: int | None = None
    sound: Stream | None = None
    tracks: tuple[Mapping[str, Any], ...] = ()
    picture_steps: tuple[int, float] | None = None
    has_captions: bool = False


def find_damage(medium: Medium, reader: Reader, tracks: Sequence[Track], pages: OggPages) -> Iterator[str]:
    """Yield certain damage: missing bytes, and what a decoder refused."""
    if reader.stopped and len(pages.links) < 2:
        yield f"reading stopped after {_format_clock(reader.reached)}: {reader.stopped}"
    if reader.skipped:
        yield f"damaged: bytes that belong to no track were skipped {reader.skipped} times"
    if reader.unsplit:
        yield f"corrupt: {reader.unsplit} packets do not hold what their lengths say"
    yield from _find_shortfall(medium, reader, tracks)
    for track in tracks:
        yield from _find_trouble(track, len([other for other in tracks if other.kind == track.kind]) > 1)
    yield from _find_holes(medium, reader)
    yield from pages.losses
    if medium.container.format.name == "avi":
        yield from _find_unindexed(tracks)


def find_warnings(medium: Medium, reader: Reader, tracks: Sequence[Track], pages: OggPages) -> Iterator[str]:
    """Yield oddities that prove nothing, and what could not be checked."""
    if len(pages.links) > 1:
        what = "; only the first was measured" if reader.stopped else ""
        yield f"chained: {len(pages.links)} recordings follow one another{what}"
    elif reader.joints:
        yield f"the clock restarts {reader.joints} times: recordings were joined"
    short = _unmet_duration(medium, reader)
    if short is not None:
        ends = _format_clock(reader.duration_seconds)
        yield f"the header says {_format_clock(short)}, the pictures and the sound end after {ends}"
    for track in tracks:
        if track.unmeasured:
            yield f"the {track.kind}s could not be measured: {track.unmeasured}"
        yield from _find_gaps(track)


def describe_track(track: Track, measured: Collection[Track]) -> dict[str, Any]:
    """Return the description of one track by the technical prompt's schema."""
    context: Any = track.stream.codec_context
    return {
        "track": track.stream.index + 1,
        "kind": track.kind,
        "codec": context.codec.canonical_name,
        "language": track.stream.language,
        "packets": track.packets,
        "measured": track in measured,
        "damaged": bool(track.failed or track.damaged),
    }


def _find_shortfall(medium: Medium, reader: Reader, tracks: Sequence[Track]) -> Iterator[str]:
    """Yield the shortfall; the header's duration proves it only if it counts samples or bytes are missing."""
    declared, name = medium.duration_seconds, medium.container.format.name
    if declared is None:
        return
    counted = next((t.seconds for t in tracks if isinstance(t, SoundTrack)), 0.0)
    lost = declared - counted if name == "flac" else 0.0
    proven = medium.damage or name in _STATES_SECONDS
    if lost > _SAMPLES_SLACK_SECONDS:
        missing, counts = _format_clock(lost), _format_clock(declared)
        yield f"truncated: {missing} of the sound are missing, of the {counts} that its header counts"
    elif proven and _unmet_duration(medium, reader) is not None:
        ends = f"the media ends after {_format_clock(reader.duration_seconds)}"
        yield f"truncated: {ends} but its header says {_format_clock(declared)}"


def _unmet_duration(medium: Medium, reader: Reader) -> float | None:
    """Return the duration by the header if the packets end well before it."""
    declared = declared_seconds(medium.container)
    found = max(reader.duration_seconds, reader.reached)
    # Muxers count from zero or from the first picture: the lead of media that begins late may look longer.
    if declared is None or found + max(0.0, medium.origin_seconds) >= declared - 0.5 - declared * 0.01:
        return None
    return declared


def _find_trouble(track: Track, is_one_of_several: bool) -> Iterator[str]:
    of_track = f" of track {track.stream.index + 1}" if is_one_of_several else ""
    at = f"the first near {_format_clock(track.first_trouble or 0.0)}"
    if track.failed:
        yield f"corrupt: {track.failed} {track.kind} packets{of_track} could not be decoded, {at}"
    if track.damaged:
        yield f"corrupt: {track.damaged} {track.kind} packets or frames{of_track} are damaged, {at}"
    if not track.failed:
        return
    if track.last_frame is None:
        yield f"corrupt: no {track.kind}{of_track} could be decoded"
    elif track.last_frame < track.last_packet - _STALLED_SECONDS:
        yield f"corrupt: no {track.kind}{of_track} could be decoded after {_format_clock(track.last_frame)}"


def _find_holes(medium: Medium, reader: Reader) -> Iterator[str]:
    if medium.container.format.name != "matroska,webm":
        return
    for hole in find_matroska_holes(medium.source, reader.jumps):
        where = f"between {_format_clock(hole.from_seconds)} and {_format_clock(hole.to_seconds)}"
        yield f"damaged: bytes {hole.start:,} to {hole.end:,} are not Matroska, {where}"
    tail = find_broken_tail(medium.source, reader.tail)
    if tail is not None:
        after = f"after {_format_clock(tail.from_seconds)}"
        yield f"damaged: bytes {tail.start:,} to {tail.end:,} are not Matroska, {after}"


def _find_unindexed(tracks: Sequence[Track]) -> Iterator[str]:
    """Yield the pictures that the index of an AVI file lists at places where there are none."""
    for track in tracks:
        listed = sum(entry.size > 0 for entry in track.stream.index_entries)
        lost = listed - track.packets
        if track.kind == "picture" and lost > _FEW_PACKETS + listed * 0.01:
            yield f"damaged: {lost} of {listed} pictures that the index lists are not in their place"


def _find_gaps(track: Track) -> Iterator[str]:
    if len(track.gaps) > _KEPT_GAPS:
        yield f"{len(track.gaps)} times no {track.kind} for more than {_format_clock(STILL_SECONDS)}"
        return
    for gap in track.gaps:
        yield f"no {track.kind} between {_format_clock(gap.start_time)} and {_format_clock(gap.end_time)}"


def _format_clock(seconds: float) -> str:
    return f"{seconds:.1f} s"
