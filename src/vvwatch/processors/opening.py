"""Opening untrusted media: only known formats, only this one file, nothing decoded before its size is known."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from vvwatch.core.media import Probe
from vvwatch.errors import MediaLimit, MediaUnreadable, ProcessorCrashed
from vvwatch.processors.structure import ByteSource, heif_size, likeness, missing_end

_IMAGE_FORMATS: Final = frozenset(
    {"jpeg_pipe", "png_pipe", "apng", "webp_pipe", "gif", "bmp_pipe", "tiff_pipe"}
)
_FORMATS: Final = ("mov", "matroska", "avi", "mp3", "wav", "flac", "ogg", "aac", *sorted(_IMAGE_FORMATS))
"""The demuxers behind `core.objects.MEDIA_TYPES`. None of them reads a list of further files."""

_OPTIONS: Final = {"protocol_whitelist": "file", "format_whitelist": ",".join(_FORMATS)}
_HEIF_BRANDS: Final = frozenset(
    {"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1", "avif", "avis"}
)
_NAMES: Final = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "matroska"}
_ESTIMATED: Final = frozenset({"aac"})
"""Formats without a header, whose duration FFmpeg guesses from their first frames."""

DECODER_FAILURES: Final = (av.FFmpegError, ValueError, IndexError, ArithmeticError, OSError)
"""What PyAV raises about bytes that it cannot make sense of."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be taken on: the pixels of one picture, the seconds of the whole."""

    max_pixels: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Medium:
    """An open container and the streams of it that are looked at; `damage` is what its structure shows."""

    container: InputContainer
    source: ByteSource
    media_type: str
    pictures: VideoStream | None
    sounds: AudioStream | None
    duration_seconds: float | None
    origin_seconds: float
    damage: tuple[str, ...]
    warnings: tuple[str, ...]


@contextmanager
def opened(fd: int, bounds: Bounds) -> Iterator[Medium]:
    """The media behind the descriptor `fd`, open for the life of the block.

    The file is opened by its descriptor, so it has neither an extension nor a folder with neighbours. Raises
    MediaUnreadable when nothing in it can be decoded, MediaLimit for too many pixels or too long a duration.
    """
    source = ByteSource(fd)
    with _container(fd, source) as container:
        medium = _medium(container, source)
        check_pixels(*_size(medium), bounds)
        check_seconds(medium.duration_seconds or 0, bounds)
        yield medium


def probe_of(medium: Medium) -> Probe:
    """What the container of `medium` says about itself, with what is wrong in its structure."""
    pictures, sounds = medium.pictures, medium.sounds
    width, height = _size(medium)
    rate = pictures.average_rate if pictures and medium.media_type == "video" else None
    return Probe(
        media_type=medium.media_type,
        container=_container_name(medium.container),
        duration_seconds=medium.duration_seconds,
        width=width or None,
        height=height or None,
        frame_rate=round(float(rate), 3) if rate else None,
        video_codec=pictures.codec_context.codec.canonical_name if pictures else None,
        audio_codec=sounds.codec_context.codec.canonical_name if sounds else None,
        sample_rate=sounds.codec_context.sample_rate or None if sounds else None,
        channels=sounds.codec_context.channels or None if sounds else None,
        bit_rate=medium.container.bit_rate or None,
        damage=medium.damage,
    )


def check_pixels(width: int, height: int, bounds: Bounds) -> None:
    """Raise MediaLimit for a picture with more pixels than `bounds` allow."""
    if width * height > bounds.max_pixels:
        raise MediaLimit(
            f"a picture of {width} by {height} pixels is larger than the limit of {bounds.max_pixels:,} pixels",
            "Raise max_pixels in [processing], and memory_bytes with it.",
        )


def check_seconds(seconds: float, bounds: Bounds) -> None:
    """Raise MediaLimit for media that lasts longer than `bounds` allow."""
    if seconds > bounds.max_seconds:
        raise MediaLimit(
            f"a duration of {seconds:,.0f} s is longer than the limit of {bounds.max_seconds:,.0f} s",
            "Cut the media into parts.",
        )


def check_readable(source: ByteSource, offset: int) -> None:
    """Raise ProcessorCrashed when it is the disk or the network that fails, near `offset` or at either end."""
    failure = source.failure_near(offset)
    if failure is not None:
        raise ProcessorCrashed(
            f"reading the media failed: {reason(failure)}", "Check the disk or the network share."
        )


def reason(error: BaseException) -> str:
    """What went wrong, without the path that FFmpeg appends."""
    return str(getattr(error, "strerror", None) or type(error).__name__).lower()


_DESCRIPTORS: Final = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"


@contextmanager
def _container(fd: int, source: ByteSource) -> Iterator[InputContainer]:
    os.lseek(fd, 0, os.SEEK_SET)  # where opening a descriptor's name does not begin at the beginning
    try:
        container = av.open(f"{_DESCRIPTORS}/{fd}", options=dict(_OPTIONS), metadata_errors="replace")
    except MemoryError:
        raise
    except DECODER_FAILURES as error:
        check_readable(source, 0)
        raise _unreadable(source) from error
    with container:
        yield container


def _unreadable(source: ByteSource) -> MediaUnreadable:
    lost = missing_end(source)
    return MediaUnreadable(
        f"not readable as media: {lost or f'this is {likeness(source)}'}",
        "Upload the file again." if lost or not source.size else "Check what wrote this file.",
    )


def _medium(container: InputContainer, source: ByteSource) -> Medium:
    pictures, sounds = _pictures(container), _sounds(container)
    warnings = tuple(f"no decoder for the {kind}" for kind in _undecodable(container))
    if pictures is None and sounds is None:
        raise MediaUnreadable(
            "; ".join(("nothing in it can be decoded", *warnings)), "Convert it to another codec."
        )
    if pictures is None and "no decoder for the video" in warnings:
        raise MediaUnreadable("the pictures of this video cannot be decoded", "Convert it to another codec.")
    media_type = _media_type(container, pictures)
    lost = missing_end(source)
    return Medium(
        container=container,
        source=source,
        media_type=media_type,
        pictures=pictures,
        sounds=None if media_type == "image" else sounds,
        duration_seconds=None if media_type == "image" else _duration(container),
        origin_seconds=max(0, container.start_time or 0) / 1e6,
        damage=(lost,) if lost else (),
        warnings=warnings,
    )


def _media_type(container: InputContainer, pictures: VideoStream | None) -> str:
    brand = container.metadata.get("major_brand", "")
    if container.format.name in _IMAGE_FORMATS or brand in _HEIF_BRANDS:
        return "image"
    return "audio" if pictures is None else "video"


def _duration(container: InputContainer) -> float | None:
    if not container.duration or container.duration < 0 or container.format.name in _ESTIMATED:
        return None
    return round(container.duration / 1e6, 3)


def _pictures(container: InputContainer) -> VideoStream | None:
    """The largest stream of pictures that has a decoder and is not cover art."""
    moving = [s for s in container.streams.video if decodable(s) and not _is_cover(s)]
    return max(moving, key=lambda s: s.codec_context.width * s.codec_context.height, default=None)


def _sounds(container: InputContainer) -> AudioStream | None:
    """The default stream of sound that has a decoder, else the first."""
    heard = [s for s in container.streams.audio if decodable(s)]
    return next((s for s in heard if s.disposition & Disposition.default), heard[0] if heard else None)


def _undecodable(container: InputContainer) -> list[str]:
    streams: list[Stream] = [*container.streams.video, *container.streams.audio]
    return sorted({stream.type for stream in streams if not decodable(stream) and not _is_cover(stream)})


def decodable(stream: Stream) -> bool:
    """Whether there is a decoder for `stream`; one without must not be decoded."""
    # A stream of an unknown codec has no context, whatever the annotation says; touching it would crash.
    context: Any = stream.codec_context
    return context is not None


def _is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _size(medium: Medium) -> tuple[int, int]:
    if medium.pictures is None:
        return 0, 0
    context = medium.pictures.codec_context
    tile = context.width, context.height
    whole = heif_size(medium.source) if medium.media_type == "image" else tile
    return max(tile, whole, key=lambda size: size[0] * size[1])


def _container_name(container: InputContainer) -> str:
    name = container.format.name
    if container.metadata.get("major_brand", "").strip() == "qt":
        return "mov"
    return _NAMES.get(name, name.removesuffix("_pipe"))
