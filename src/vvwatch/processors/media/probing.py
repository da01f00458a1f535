"""Probes an item by its container and as little decoding as possible."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from vvwatch.core.media import Probe
from vvwatch.processors.media.extents import probed_seconds
from vvwatch.processors.media.findings import Survey
from vvwatch.processors.media.hidden_captions import has_captions
from vvwatch.processors.media.holes import read_ogg_pages
from vvwatch.processors.media.opening import DECODER_FAILURES, Bounds, Medium, check_seconds, probe_container
from vvwatch.processors.media.structure import read_heif_picture
from vvwatch.processors.media.timing import is_rate_met
from vvwatch.processors.media.tracks import PictureTrack

_FIRST_PACKETS: Final = 200
_CAPTIONED_PACKETS: Final = 4
_WALKED_BYTES: Final = 256 << 20


def probe_medium(medium: Medium, bounds: Bounds, found: Survey | None) -> Probe:
    """Return the probe of `medium`: decode its first picture and, if necessary, read its last packets.

    `found` is the survey of a picture. Moves the container's position. Raises MediaLimit beyond `bounds`.
    """
    probe = probe_container(medium)
    if found is not None:
        return _with_display_size(medium, probe, found.rotation_degrees)
    track = _read_first_picture(medium, bounds)
    probe = _with_display_size(medium, probe, None if track is None else track.rotation_degrees)
    probe = _count_hidden(probe, has_captions=track is not None and track.has_captions)
    seconds = _probe_seconds(medium, probe.duration_seconds)
    check_seconds(seconds or 0, bounds)
    return replace(probe, duration_seconds=seconds)


def probe_from_survey(medium: Medium, found: Survey) -> Probe:
    """Return the probe of `medium` by its complete survey."""
    probe = _with_display_size(medium, probe_container(medium), found.rotation_degrees)
    if medium.media_type == "image":
        return probe
    sound: Any = found.sound.codec_context if found.sound else None
    if sound is not None:
        probe = replace(
            probe,
            audio_codec=sound.codec.canonical_name,
            sample_rate=sound.sample_rate or None,
            channels=sound.channels or None,
        )
    if not is_rate_met(probe.frame_rate_exact, found.picture_steps):
        probe = replace(probe, frame_rate_exact=None)
    probe = _count_hidden(probe, has_captions=found.has_captions)
    return replace(probe, duration_seconds=found.duration_seconds)


def _count_hidden(probe: Probe, *, has_captions: bool) -> Probe:
    """Return `probe` with the captions that the pictures carry counted as a track."""
    return replace(probe, caption_tracks=(probe.caption_tracks or 0) + has_captions)


def _with_display_size(medium: Medium, probe: Probe, rotation_degrees: int | None) -> Probe:
    """Return `probe` with its displayed size, which HEIF files state themselves."""
    width, height = probe.width, probe.height
    is_turned = rotation_degrees is not None and rotation_degrees % 180 == 90
    if is_turned and not (medium.media_type == "image" and read_heif_picture(medium.source)):
        width, height = height, width
    return replace(probe, width=width, height=height, rotation_degrees=rotation_degrees)


def _read_first_picture(medium: Medium, bounds: Bounds) -> PictureTrack | None:
    """Return the pictures as far as the first that can be decoded, and some that may carry captions."""
    if medium.pictures is None:
        return None
    track = PictureTrack(medium.pictures, 0, bounds, measured=False)
    try:
        for count, packet in enumerate(medium.container.demux(medium.pictures)):
            if track.rotation_degrees is None:
                track.feed(packet)
            else:
                track.has_captions = track.has_captions or has_captions(packet)
            is_looked_at = track.has_captions or count >= _CAPTIONED_PACKETS
            if (track.rotation_degrees is not None and is_looked_at) or count > _FIRST_PACKETS:
                break
    except MemoryError:
        raise
    except DECODER_FAILURES:
        return track
    return track


def _probe_seconds(medium: Medium, otherwise: float | None) -> float | None:
    if medium.container.format.name == "ogg" and medium.source.size <= _WALKED_BYTES:
        pages = read_ogg_pages(medium.source)
        if len(pages.links) > 1:
            # If pages are missing, as in an excerpt, so may be whole links.
            return None if pages.losses or pages.seconds is None else round(pages.seconds, 3)
    try:
        seconds = probed_seconds(medium.container, medium.source.size, otherwise)
    except MemoryError:
        raise
    except DECODER_FAILURES:
        return otherwise
    return None if seconds is None else round(seconds, 3)
