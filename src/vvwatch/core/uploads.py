"""Names of uploaded files: a client's file name only suggests a name."""

from __future__ import annotations

import unicodedata
from typing import Final

from vvwatch.core.objects import MEDIA_TYPES, extension, media_type
from vvwatch.errors import InvalidInput

FORMATS: Final = ", ".join(MEDIA_TYPES)
"""The extensions of all formats, for people."""

_MOST_NAME_BYTES: Final = 200
_MOST_TITLE: Final = 255
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_OF_TYPES: Final = {
    "video/mp4": "mp4",
    "video/x-m4v": "m4v",
    "video/quicktime": "mov",
    "video/x-msvideo": "avi",
    "video/x-matroska": "mkv",
    "video/webm": "webm",
    "video/avi": "avi",
    "video/matroska": "mkv",
    "application/mxf": "mxf",
    "video/mp2t": "ts",
    "video/mpeg": "mpg",
    "video/3gpp": "3gp",
    "video/3gpp2": "3g2",
    "video/x-ms-wmv": "wmv",
    "video/x-ms-asf": "asf",
    "video/x-flv": "flv",
    "video/ogg": "ogg",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/aiff": "aiff",
    "audio/x-aiff": "aiff",
    "audio/opus": "opus",
    "audio/matroska": "mka",
    "audio/x-matroska": "mka",
    "audio/webm": "webm",
    "audio/x-w64": "w64",
    "audio/x-caf": "caf",
    "audio/x-ms-wma": "wma",
    "audio/3gpp": "3gp",
    "audio/x-m4b": "m4b",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
    "audio/mp4": "m4a",
    "audio/x-m4a": "m4a",
    "audio/ogg": "ogg",
    "audio/aac": "aac",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/avif": "avif",
}


def file_name(given: str, mime_type: str = "") -> str:
    """Return the name for a file: the last path part, in NFC, without invisible characters.

    At most 200 bytes. `mime_type` supplies a missing extension. Raises InvalidInput if neither names a format.
    """
    name = _base_name(given)
    if media_type(name) is None:
        of_type = _OF_TYPES.get(mime_type.partition(";")[0].strip().lower())
        if of_type is None:
            raise InvalidInput(
                f"{name or 'a file without a name'!r} has no known format", f"one of: {FORMATS}"
            )
        name = f"{name or 'upload'}.{of_type}"
    suffix = extension(name)
    return f"{_shorten(name[: -len(suffix) - 1], _MOST_NAME_BYTES - len(suffix) - 1)}.{suffix}"


def title_of(name: str) -> str:
    """Return the default title of media: its file name without the extension."""
    return name.rpartition(".")[0][:_MOST_TITLE].strip() or name[:_MOST_TITLE]


def _base_name(given: str) -> str:
    """Return the last part of a path of any system, without leading dots: neither hidden nor a step upwards."""
    last = given.replace("\\", "/").rpartition("/")[2]
    seen = "".join(character for character in last if unicodedata.category(character) not in _UNSEEN)
    return unicodedata.normalize("NFC", seen).strip().lstrip(". ")


def _shorten(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode(errors="ignore")
