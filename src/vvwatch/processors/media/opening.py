"""Opens untrusted media: known formats only, this one file only, nothing decoded before its size is known."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from vvwatch.core.media import Probe
from vvwatch.core.shortages import shortage_in
from vvwatch.errors import (
    MediaEncrypted,
    MediaLimit,
    MediaUnreadable,
    MediaUnsupported,
    StorageUnavailable,
)
from vvwatch.processors.media.decoders import DECODERS, WHITELIST, restrict_decoders
from vvwatch.processors.media.extents import declared_seconds, declared_start, start_seconds
from vvwatch.processors.media.structure import (
    ByteSource,
    Structure,
    View,
    describe_likeness,
    describe_tiff,
    examine,
    find_unsupported_kind,
    read_heif_size,
)
from vvwatch.processors.media.timing import find_timecode_warnings, read_exact_rate, read_timecode

_IMAGE_FORMATS: Final = frozenset(
    {"jpeg_pipe", "png_pipe", "apng", "webp_pipe", "gif", "bmp_pipe", "tiff_pipe"}
)
_STREAM_FORMATS: Final = (
    "mov,matroska,avi,mp3,wav,flac,ogg,aac,mxf,mpegts,mpeg,mpegvideo,asf,flv,aiff,w64,caf"
)
_FORMATS: Final = (*_STREAM_FORMATS.split(","), *sorted(_IMAGE_FORMATS))
"""The demuxers of `core.objects.MEDIA_TYPES`. None of them reads a list of further files."""

_OPTIONS: Final = {"protocol_whitelist": "fd", "format_whitelist": ",".join(_FORMATS), **WHITELIST}
_HEIF_BRANDS: Final = frozenset(
    {"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1", "avif", "avis"}
)
_NAMES: Final = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "matroska"}
_ESTIMATED: Final = frozenset({"aac", "mpegvideo"})
"""Formats without a header, whose duration FFmpeg guesses from their first frames."""

_BUFFER_BYTES: Final = 256 << 10
"""The buffer of a file read through a view, where each read is a call into Python."""

DECODER_FAILURES: Final = (av.FFmpegError, ValueError, IndexError, ArithmeticError, OSError)
"""PyAV's errors for malformed bytes."""

_OF_STORAGE: Final = frozenset(
    {errno.ETIMEDOUT, errno.ESTALE, errno.ENOTCONN, errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTDOWN}
)
"""FFmpeg's errors of reads only. It reports EIO for malformed bytes too."""

_READ_AGAIN_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of media: the pixels of one picture, the seconds of the whole."""

    max_pixels: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Medium:
    """An open container and its examined streams; `damage` is what its structure shows.

    `duration_seconds` is the header's value, None if it states none or a placeholder.
    """

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
def open_media(fd: int, bounds: Bounds) -> Iterator[Medium]:
    """Open the media behind the descriptor `fd` for the life of the block.

    It is read by its descriptor alone, whose position moves: nothing is opened by path, so names, extensions and
    neighbouring files play no part. Raises MediaUnreadable when nothing in it can be decoded, MediaUnsupported when
    its kind has no decoder here, MediaEncrypted when it is encrypted, MediaLimit for too many pixels or too long a
    duration, StorageUnavailable when the file cannot be read, here or within the block.
    """
    source = ByteSource(fd)
    try:
        structure = examine(source)
        _check_coding(structure)
        if structure.end is not None:
            source.size = min(source.size, structure.end)
        with _open_container(fd, source, structure) as container:
            medium = _build_medium(container, source, structure)
            for size in _picture_sizes(medium):
                check_pixels(*size, bounds)
            yield medium
    except MediaUnreadable:
        check_all_readable(source, most=_READ_AGAIN_BYTES)
        raise
    except OSError as error:
        raise _storage_error(error) from error


def probe_container(medium: Medium) -> Probe:
    """Return the metadata of `medium`'s container, with the damage in its structure."""
    pictures, sounds = medium.pictures, medium.sounds
    width, height = _picture_sizes(medium)[-1]
    moving = pictures if medium.media_type == "video" else None
    rate = moving.average_rate if moving else None
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
        caption_tracks=len(medium.container.streams.subtitles),
        damage=medium.damage,
        frame_rate_exact=read_exact_rate(moving) if moving else None,
        start_timecode=read_timecode(medium.container),
        first_picture_seconds=_first_picture_seconds(medium) if moving else None,
    )


def _first_picture_seconds(medium: Medium) -> float | None:
    start = None if medium.pictures is None else declared_start(medium.pictures)
    return None if start is None else round(max(0.0, start - medium.origin_seconds), 6)


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
    """Raise StorageUnavailable if the disk or the network fails near `offset` or at either end."""
    failure = source.failure_near(offset)
    if failure is not None:
        raise _storage_error(failure)


def check_all_readable(
    source: ByteSource, report: Callable[[float], None] = lambda _: None, most: int | None = None
) -> None:
    """Raise StorageUnavailable if the disk or the network fails anywhere in the file or its first `most` bytes.

    Call it before reporting damage: to a decoder, an unreadable sector looks like missing bytes.
    """
    failure = source.failure(report, source.size if most is None else most)
    if failure is not None:
        raise _storage_error(failure)


def check_not_storage(error: BaseException) -> None:
    """Raise StorageUnavailable if `error` comes from reading the file and not from its content.

    MachineShortage if the whole machine has no descriptor left; this process has a limit of its own.
    """
    if getattr(error, "errno", None) == errno.ENFILE and (short := shortage_in(error)):
        raise short from error
    is_ours = isinstance(error, OSError) and not isinstance(error, av.FFmpegError)
    if is_ours or getattr(error, "errno", None) in _OF_STORAGE:
        raise _storage_error(error) from error


def _storage_error(error: BaseException) -> StorageUnavailable:
    return StorageUnavailable(
        f"reading the media failed: {error_reason(error)}", "Check the disk or the network share."
    )


def error_reason(error: BaseException) -> str:
    """Return the error's text without the path that FFmpeg appends."""
    return str(getattr(error, "strerror", None) or type(error).__name__).lower()


def picture_failure(medium: Medium) -> MediaUnreadable:
    """Return why a picture did not decode completely: its coding, missing bytes, or its decoder's errors."""
    kind = None if medium.damage else describe_tiff(medium.source)
    if kind:
        return _unsupported_error(kind)
    said = "; ".join(("the picture is cut short or damaged", *medium.damage))
    return MediaUnreadable(said, "Upload the file again.")


def _check_coding(structure: Structure) -> None:
    if structure.damage:
        return
    if structure.encrypted:
        cure = "decrypt it with its key, or put the unprotected original in its place"
        raise MediaEncrypted(f"encrypted: {structure.encrypted}; {cure}", cure)
    if structure.unsupported:
        raise _unsupported_error(structure.unsupported)


def _unsupported_error(kind: str) -> MediaUnsupported:
    """Return the error; its message contains the remedy because a failed file stores only that."""
    cure = "convert it to a common coding, such as JPEG, PNG, FLAC, or H.264 in mp4"
    return MediaUnsupported(f"unsupported: {kind} has no decoder here; {cure}", cure)


@contextmanager
def _open_container(fd: int, source: ByteSource, structure: Structure) -> Iterator[InputContainer]:
    os.lseek(fd, 0, os.SEEK_SET)
    options = {**_OPTIONS, "fd": str(fd)}
    file: Any = View(source, structure) if structure.is_mended else "fd:"
    try:
        container = av.open(file, options=options, metadata_errors="replace", buffer_size=_BUFFER_BYTES)
    except MemoryError:
        raise
    except DECODER_FAILURES as error:
        check_not_storage(error)
        raise _unreadable_error(source, structure) from error
    with container:
        restrict_decoders(container)
        yield container


def _unreadable_error(source: ByteSource, structure: Structure) -> MediaUnreadable:
    lost = structure.damage
    kind = None if lost else find_unsupported_kind(source) or describe_tiff(source)
    if kind:
        return _unsupported_error(kind)
    return MediaUnreadable(
        f"not readable as media: {lost or f'this is {describe_likeness(source)}'}",
        "Upload the file again." if lost or not source.size else "Check what wrote this file.",
    )


def _build_medium(container: InputContainer, source: ByteSource, structure: Structure) -> Medium:
    pictures, sounds = _pick_video(container), _pick_audio(container)
    warnings = tuple(f"no decoder for the {kind}" for kind in _undecodable_warnings(container))
    if pictures is None and sounds is None:
        raise _nothing_decodable_error(warnings, structure)
    if pictures is None and "no decoder for the video" in warnings:
        raise MediaUnsupported(
            "unsupported: the pictures of this video cannot be decoded; convert it to another codec",
            "Convert it to another codec.",
        )
    media_type = _media_type(container, pictures)
    has_duration = media_type != "image" and structure.has_length
    return Medium(
        container=container,
        source=source,
        media_type=media_type,
        pictures=pictures,
        sounds=None if media_type == "image" else sounds,
        duration_seconds=_container_duration(container) if has_duration else None,
        origin_seconds=start_seconds(container),
        damage=(structure.damage,) if structure.damage else (),
        warnings=(*structure.warnings, *warnings, *find_timecode_warnings(container)),
    )


def _nothing_decodable_error(warnings: tuple[str, ...], structure: Structure) -> MediaUnreadable:
    if warnings and not structure.damage:
        cure = "convert it to another codec"
        said = "; ".join(("unsupported: nothing in it can be decoded", *warnings, cure))
        return MediaUnsupported(said, "Convert it to another codec.")
    lost = (structure.damage,) if structure.damage else ()
    said = "; ".join(("nothing in it can be decoded", *lost, *warnings))
    return MediaUnreadable(said, "Upload the file again." if lost else "Check what wrote this file.")


def _media_type(container: InputContainer, pictures: VideoStream | None) -> str:
    brand = container.metadata.get("major_brand", "")
    if container.format.name in _IMAGE_FORMATS or brand in _HEIF_BRANDS:
        return "image"
    return "audio" if pictures is None else "video"


def _container_duration(container: InputContainer) -> float | None:
    seconds = None if container.format.name in _ESTIMATED else declared_seconds(container)
    return round(seconds, 3) if seconds else None


def _pick_video(container: InputContainer) -> VideoStream | None:
    """Return the largest decodable stream of pictures that is not cover art."""
    moving = [s for s in container.streams.video if is_decodable(s) and not _is_cover(s)]
    return max(moving, key=lambda s: s.codec_context.width * s.codec_context.height, default=None)


def _pick_audio(container: InputContainer) -> AudioStream | None:
    """Return the default decodable stream of sound, else the first."""
    heard = [s for s in container.streams.audio if is_decodable(s)]
    return next((s for s in heard if s.disposition & Disposition.default), heard[0] if heard else None)


def _undecodable_warnings(container: InputContainer) -> list[str]:
    streams: list[Stream] = [*container.streams.video, *container.streams.audio]
    return sorted({stream.type for stream in streams if not is_decodable(stream) and not _is_cover(stream)})


def is_decodable(stream: Stream) -> bool:
    """Return whether an allowed decoder exists for `stream`; without one it must not be decoded."""
    # A stream of an unknown codec has no context, despite the annotation; using it would crash.
    context: Any = stream.codec_context
    return context is not None and context.codec.name in DECODERS


def _is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _picture_sizes(medium: Medium) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (width, height) as coded and as displayed: phones store photographs as tiles or on their side."""
    if medium.pictures is None:
        return (0, 0), (0, 0)
    context = medium.pictures.codec_context
    coded = context.width, context.height
    is_heif = medium.media_type == "image" and medium.container.format.name not in _IMAGE_FORMATS
    shown = read_heif_size(medium.source) if is_heif else (0, 0)
    return coded, shown if all(shown) else coded


def _container_name(container: InputContainer) -> str:
    name = container.format.name
    if container.metadata.get("major_brand", "").strip() == "qt":
        return "mov"
    return _NAMES.get(name, name.removesuffix("_pipe"))
