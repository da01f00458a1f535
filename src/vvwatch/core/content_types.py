"""HTTP content types by file name."""

from __future__ import annotations

from typing import Final

from vvwatch.core.objects import extension

ANY_BYTES: Final = "application/octet-stream"

_CONTENT_TYPES: Final = {
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "avi": "video/x-msvideo",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mxf": "application/mxf",
    "mts": "video/mp2t",
    "m2ts": "video/mp2t",
    "m2t": "video/mp2t",
    "ts": "video/mp2t",
    "mpg": "video/mpeg",
    "mpeg": "video/mpeg",
    "vob": "video/mpeg",
    "3gp": "video/3gpp",
    "3g2": "video/3gpp2",
    "wmv": "video/x-ms-wmv",
    "asf": "video/x-ms-asf",
    "flv": "video/x-flv",
    "f4v": "video/mp4",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "aif": "audio/aiff",
    "aiff": "audio/aiff",
    "aifc": "audio/aiff",
    "opus": "audio/ogg",
    "oga": "audio/ogg",
    "mka": "audio/x-matroska",
    "m4b": "audio/mp4",
    "bwf": "audio/wav",
    "rf64": "audio/wav",
    "w64": "audio/x-w64",
    "caf": "audio/x-caf",
    "wma": "audio/x-ms-wma",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "heic": "image/heic",
    "heif": "image/heif",
    "avif": "image/avif",
}


def content_type(key: str) -> str:
    """Return the media type (RFC 6838) for the extension of this name; `ANY_BYTES` for an unknown one."""
    return _CONTENT_TYPES.get(extension(key), ANY_BYTES)
