"""What kind of bytes a file name promises, in the words of HTTP."""

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
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
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
}


def content_type(key: str) -> str:
    """The media type (RFC 6838) of what has this name, by its extension; `ANY_BYTES` for an unknown one."""
    return _CONTENT_TYPES.get(extension(key), ANY_BYTES)
