"""Reads the length and coding that a file's own bytes declare, without decoding anything.

FFmpeg opens a truncated file and reports its original length. The containers know better: most state where they end.
Each check here reads a few bytes and names what is missing, what follows the end, or what is encrypted or has no
decoder here.

    source     reads at offsets, findings, a view of a file with a repaired header
    boxes      MP4, QuickTime, 3GPP, HEIF, AVIF; heif: the picture that is displayed
    riff       WAV, RF64, W64, AVI, WebP; chunks: AIFF, CAF
    matroska   Matroska, WebM
    ogg        Ogg, Opus
    mpeg       transport, program and elementary streams, MP3
    mxf, asf, flv
    pictures   GIF, JPEG, WebP, BMP; tiff
    likeness   the apparent kind of a file that no demuxer takes
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vvwatch.processors.media.structure.asf import examine_asf, is_asf
from vvwatch.processors.media.structure.boxes import examine_mp4, is_mp4
from vvwatch.processors.media.structure.chunks import examine_aiff, examine_caf, is_aiff, is_caf
from vvwatch.processors.media.structure.flv import examine_flv, is_flv
from vvwatch.processors.media.structure.heif import HeifPicture, read_heif_picture, read_heif_size
from vvwatch.processors.media.structure.likeness import describe_likeness, find_unsupported_kind, is_text
from vvwatch.processors.media.structure.matroska import examine_matroska, is_matroska
from vvwatch.processors.media.structure.mpeg import (
    examine_adts,
    examine_elementary,
    examine_mp3,
    examine_program,
    examine_transport,
    is_adts,
    is_elementary,
    is_mp3,
    is_program,
    is_transport,
)
from vvwatch.processors.media.structure.mxf import examine_mxf, is_mxf
from vvwatch.processors.media.structure.ogg import examine_ogg, is_ogg
from vvwatch.processors.media.structure.pictures import (
    examine_bmp,
    examine_gif,
    examine_jpeg,
    examine_png,
    examine_webp,
    is_bmp,
    is_gif,
    is_jpeg,
    is_png,
    is_webp,
)
from vvwatch.processors.media.structure.riff import examine_riff, is_riff
from vvwatch.processors.media.structure.source import SOUND, ByteSource, Structure, View
from vvwatch.processors.media.structure.tiff import describe_tiff, examine_tiff, is_tiff

__all__ = [
    "ByteSource",
    "HeifPicture",
    "Structure",
    "View",
    "describe_likeness",
    "describe_tiff",
    "examine",
    "find_unsupported_kind",
    "missing_end",
    "read_heif_picture",
    "read_heif_size",
]

_CHECKS: Final[tuple[tuple[Callable[[bytes], bool], Callable[[ByteSource], Structure]], ...]] = (
    (is_mp4, examine_mp4),
    (is_webp, examine_webp),
    (is_riff, examine_riff),
    (is_aiff, examine_aiff),
    (is_caf, examine_caf),
    (is_matroska, examine_matroska),
    (is_ogg, examine_ogg),
    (is_gif, examine_gif),
    (is_jpeg, examine_jpeg),
    (is_png, examine_png),
    (is_tiff, examine_tiff),
    (is_bmp, examine_bmp),
    (is_mxf, examine_mxf),
    (is_asf, examine_asf),
    (is_flv, examine_flv),
    (is_program, examine_program),
    (is_elementary, examine_elementary),
    (is_mp3, examine_mp3),
    (is_adts, examine_adts),
)

_HEAD_BYTES: Final = 4096


def examine(source: ByteSource) -> Structure:
    """Return the structure of a file; an empty one for an unknown kind."""
    head = source.at(0, _HEAD_BYTES)
    if is_text(head):
        return SOUND
    head = head[:16]
    for matches, check in _CHECKS:
        if matches(head):
            return check(source)
    return examine_transport(source) if is_transport(head, source) else SOUND


def missing_end(source: ByteSource) -> str | None:
    """Return the evidence that the file lost its end or last part; None without any."""
    return examine(source).damage
