"""The decode pass: reads media once from start to end, and records measurements and damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from av.packet import Packet

from vvwatch.errors import MediaUnreadable
from vvwatch.processors.media.candidates import Candidates, take_cover
from vvwatch.processors.media.extents import COVERS
from vvwatch.processors.media.findings import Survey, describe_track, find_damage, find_warnings
from vvwatch.processors.media.holes import OggPages, read_ogg_pages
from vvwatch.processors.media.opening import (
    Bounds,
    Medium,
    check_all_readable,
    check_readable,
    check_seconds,
    is_decodable,
)
from vvwatch.processors.media.reading import Reader
from vvwatch.processors.media.tracks import PictureTrack, SoundTrack, Track

_SILENT_PEAK: Final = 0.001
_MEASURED_SOUNDS: Final = 8


def survey_medium(
    medium: Medium, bounds: Bounds, report: Callable[[float], None], candidates: Candidates | None = None
) -> Survey:
    """Decode the whole of a video or sound; call `report` with the fraction done after each packet.

    Decodes only a part of the pictures that no other needs, and of further video tracks only key frames; `candidates`
    take some of the main pictures, of a sound file its cover. Raises
    MediaUnreadable when nothing could be decoded, MediaLimit beyond `bounds`, StorageUnavailable when the file cannot
    be read.
    """
    if (
        medium.container.format.name != "matroska,webm"
    ):  # whose duration is that of a subtitle if there is no other
        check_seconds(medium.duration_seconds or 0, bounds)
    if candidates is not None:
        candidates.expect(medium.duration_seconds or 0)
    tracks = _make_tracks(medium, bounds, candidates)
    reader = Reader(medium, bounds, report)
    for packet in reader:
        # The empty packets that drain the decoders at the end all have `stream_index` 0.
        if packet.stream.index in tracks:
            track = tracks[packet.stream.index]
            if reader.at_joint:
                track.forgive()
            track.feed(packet)
        elif candidates is not None and _is_cover(medium, packet):
            take_cover(candidates, packet, bounds)
    for track in tracks.values():
        track.finish()
    return _build_survey(medium, reader, tracks, bounds, report)


def _is_cover(medium: Medium, packet: Packet[Any]) -> bool:
    stream = packet.stream
    is_covering = medium.pictures is None and stream.type == "video" and bool(packet.size)
    return is_covering and bool(stream.disposition & COVERS) and is_decodable(stream)


def _make_tracks(medium: Medium, bounds: Bounds, candidates: Candidates | None) -> dict[int, Track]:
    tracks: dict[int, Track] = {}
    for pictures in _moving_streams(medium):
        is_main = pictures is medium.pictures
        track = PictureTrack(pictures, medium.origin_seconds, bounds, measured=is_main)
        if is_main:
            track.skim()
            track.candidates = candidates
        else:
            track.glance()
        tracks[pictures.index] = track
    for number, sounds in enumerate(s for s in medium.container.streams.audio if is_decodable(s)):
        measured = number < _MEASURED_SOUNDS or sounds is medium.sounds
        tracks[sounds.index] = SoundTrack(sounds, medium.origin_seconds, measured=measured)
    return tracks


def _moving_streams(medium: Medium) -> Iterator[Any]:
    for stream in medium.container.streams.video:
        if is_decodable(stream) and not stream.disposition & COVERS and medium.pictures is not None:
            yield stream


def _build_survey(
    medium: Medium,
    reader: Reader,
    tracks: Mapping[int, Track],
    bounds: Bounds,
    report: Callable[[float], None],
) -> Survey:
    pages = read_ogg_pages(medium.source) if medium.container.format.name == "ogg" else OggPages()
    every = list(tracks.values())
    damage = (*medium.damage, *find_damage(medium, reader, every, pages))
    if damage:
        check_all_readable(medium.source, report)
    else:
        check_readable(medium.source, reader.place)  # some demuxers take a failed read for the end
    if all(track.last_frame is None for track in every):
        what = (
            "nothing in it could be decoded"
            if any(t.packets for t in every)
            else "no picture and no sound in it"
        )
        raise MediaUnreadable("; ".join((what, *damage)), "Upload the file again.")
    pictures, sounds = _main_pictures(medium, tracks), _main_sounds(medium, tracks)
    duration = _survey_duration(reader, every, damage, pages)
    check_seconds(duration, bounds)
    measured = [track for track in (pictures, sounds) if track is not None]
    return Survey(
        duration,
        pictures.series if pictures else None,
        sounds.series if sounds else None,
        damage,
        tuple(find_warnings(medium, reader, measured, pages)),
        pictures.rotation_degrees if pictures else None,
        sounds.stream if sounds else None,
        tuple(describe_track(track, measured) for track in every),
        None if pictures is None or damage else pictures.count_steps(),
        pictures is not None and pictures.has_captions,
    )


def _main_pictures(medium: Medium, tracks: Mapping[int, Track]) -> PictureTrack | None:
    track = tracks.get(medium.pictures.index) if medium.pictures else None
    return track if isinstance(track, PictureTrack) else None


def _main_sounds(medium: Medium, tracks: Mapping[int, Track]) -> SoundTrack | None:
    """Return the container's preferred sound, unless it is silent and another one is not."""
    sounds = [track for track in tracks.values() if isinstance(track, SoundTrack)]
    preferred = next((t for t in sounds if t.stream is medium.sounds), sounds[0] if sounds else None)
    if preferred is None or preferred.series.peak > _SILENT_PEAK:
        return preferred
    return next((track for track in sounds if track.series.peak > _SILENT_PEAK), preferred)


def _survey_duration(
    reader: Reader, tracks: Sequence[Track], damage: Sequence[str], pages: OggPages
) -> float:
    """Return the time to the end of the last packet; of damaged media to that of the last decoded one."""
    decoded = max(track.last_frame or 0.0 for track in tracks)
    if reader.stopped and len(pages.links) > 1 and pages.seconds is not None:
        return round(pages.seconds, 3)
    found = min(reader.duration_seconds, decoded + reader.usual_step()) if damage else reader.duration_seconds
    return round(found or decoded, 3)
