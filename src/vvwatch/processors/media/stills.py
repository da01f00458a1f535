"""The decode pass over one picture, whole or in tiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from av.packet import Packet
from av.stream import Stream

from vvwatch.errors import MediaError
from vvwatch.processors.media.candidates import Candidates
from vvwatch.processors.media.findings import Survey
from vvwatch.processors.media.measurements import Pictures
from vvwatch.processors.media.mosaics import merge_tiles, read_photograph, visible_parts
from vvwatch.processors.media.opening import (
    DECODER_FAILURES,
    Bounds,
    Medium,
    is_decodable,
    picture_failure,
)
from vvwatch.processors.media.reading import Reader
from vvwatch.processors.media.rendering import read_ends, read_still_turn
from vvwatch.processors.media.structure import read_heif_picture
from vvwatch.processors.media.tracks import PictureTrack

_ANIMATIONS: Final = frozenset({"gif", "apng"})
_LATER_PIXELS: Final = 20_000_000
"""How many pixels of an animation are decoded after its first picture, only to find damage."""


def survey_picture(medium: Medium, bounds: Bounds, candidates: Candidates | None = None) -> Survey:
    """Decode a picture and all its tiles; of an animation, measure the first picture. `candidates` take the whole.

    Raises MediaUnreadable when it does not decode completely, MediaLimit for too many pixels, StorageUnavailable when
    the file cannot be read.
    """
    tracks = _make_tracks(medium, bounds)
    if candidates is not None:
        _show_to(candidates, medium, tracks)
    waiting = set(tracks)
    packets = iter(Reader(medium, bounds, lambda _: None))
    for packet in packets:
        if packet.stream.index in waiting:
            tracks[packet.stream.index].feed(packet)
        waiting = {index for index in waiting if tracks[index].last_frame is None}
        if not waiting:
            break
    for track in tracks.values():
        track.finish()
    if waiting or any(track.failed or track.damaged for track in tracks.values()):
        raise picture_failure(medium)
    if candidates is not None:
        _take_photograph(candidates, medium, bounds)
        candidates.stop()
    damage = (*medium.damage, *_find_later_damage(medium, packets, tracks))
    main = tracks[medium.pictures.index] if medium.pictures else next(iter(tracks.values()))
    return Survey(
        0.0,
        _merge_pictures(medium, main, list(tracks.values())),
        None,
        damage,
        (f"the picture could not be measured: {main.unmeasured}",) if main.unmeasured else (),
        _find_rotation(medium, main),
    )


def _show_to(candidates: Candidates, medium: Medium, tracks: Mapping[int, PictureTrack]) -> None:
    """Let them take the main picture when it is decoded, turned as its file says; a HEIF file states that elsewhere."""
    if medium.pictures is None or read_heif_picture(medium.source) is not None:
        return
    ends = read_ends(medium.source)
    candidates.turn = lambda frame: read_still_turn(frame, ends)
    tracks[medium.pictures.index].candidates = candidates


def _take_photograph(candidates: Candidates, medium: Medium, bounds: Bounds) -> None:
    """Let them take the picture of a HEIF file, which may consist of tiles."""
    try:
        found = read_photograph(medium, bounds)
    except (MemoryError, MediaError, *DECODER_FAILURES):
        found = None
    if found is not None:
        frame, turn = found
        candidates.turn = lambda _: turn
        candidates.offer(0.0, frame)


def _find_later_damage(
    medium: Medium, packets: Iterator[Packet[Any]], tracks: Mapping[int, PictureTrack]
) -> Iterator[str]:
    """Yield the damage in an animation's later pictures, as far as they are decoded."""
    if medium.container.format.name not in _ANIMATIONS or medium.pictures is None:
        return
    track = tracks[medium.pictures.index]
    track.stop_measuring()
    pixels = medium.pictures.codec_context.width * medium.pictures.codec_context.height
    for packet in islice(packets, max(1, _LATER_PIXELS // max(1, pixels))):
        if packet.stream.index == track.stream.index:
            track.feed(packet)
    if track.failed or track.damaged:
        yield f"corrupt: {track.failed + track.damaged} of the later pictures of the animation are damaged"


def _make_tracks(medium: Medium, bounds: Bounds) -> dict[int, PictureTrack]:
    streams = [stream for stream in medium.container.streams.video if is_decodable(stream)]
    crops = dict(
        zip((stream.index for stream in _tile_streams(medium)), _visible_parts(medium), strict=False)
    )
    tracks = {
        stream.index: PictureTrack(stream, 0, bounds, crop=crops.get(stream.index)) for stream in streams
    }
    for track in tracks.values():
        track.insist()
    return tracks


def _tile_streams(medium: Medium) -> list[Stream]:
    """Return the picture's tile streams, row by row, or all streams as large as the main one."""
    if medium.pictures is None:
        return []
    picture = read_heif_picture(medium.source)
    streams = {s.id: s for s in medium.container.streams.video if is_decodable(s)}
    if picture is not None and picture.tiles and all(tile in streams for tile in picture.tiles):
        return [streams[tile] for tile in picture.tiles]
    size = _coded_size(medium.pictures)
    return [stream for stream in streams.values() if _coded_size(stream) == size]


def _visible_parts(medium: Medium) -> list[tuple[int, int]]:
    picture = read_heif_picture(medium.source)
    tiles = _tile_streams(medium)
    if picture is None or not tiles:
        return []
    whole = picture.width, picture.height
    if picture.rotation_degrees % 180:
        whole = picture.height, picture.width
    return visible_parts(whole, _coded_size(tiles[0]), len(tiles))


def _coded_size(stream: Any) -> tuple[int, int]:
    return stream.codec_context.width, stream.codec_context.height


def _merge_pictures(medium: Medium, main: PictureTrack, tracks: Sequence[PictureTrack]) -> Pictures:
    parts = _visible_parts(medium)
    indexes = {stream.index for stream in _tile_streams(medium)[: len(parts)]}
    tiles = [track.series for track in tracks if track.stream.index in indexes]
    if not parts or not all(tile.luma for tile in tiles):
        return main.series
    return merge_tiles(tiles, parts)


def _find_rotation(medium: Medium, main: PictureTrack) -> int | None:
    """Return the rotation of the whole; a HEIF file states it regardless of its parts."""
    picture = read_heif_picture(medium.source)
    return main.rotation_degrees if picture is None else picture.rotation_degrees
