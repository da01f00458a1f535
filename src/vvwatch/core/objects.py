"""Stored objects, and which of them can be media."""

from __future__ import annotations

from typing import Final, NamedTuple

MediaType = str
"""`video`, `audio` or `image`."""

_EXTENSIONS: Final = {
    "video": "mp4 m4v avi mkv mov webm mxf mts m2ts m2t ts mpg mpeg vob 3gp 3g2 wmv asf flv f4v",
    "audio": "mp3 wav flac m4a ogg aac aif aiff aifc opus oga mka m4b bwf rf64 w64 caf wma",
    "image": "jpg jpeg png webp gif bmp tif tiff heic heif avif",
}
MEDIA_TYPES: Final[dict[str, MediaType]] = {
    extension: media_type for media_type, names in _EXTENSIONS.items() for extension in names.split()
}
"""Lower-case extension without dot to media type: the formats of the v2 API's `POST /videos/upload`, and more."""


class StorageObject(NamedTuple):
    """One version of one object, as a listing or an event reports it.

    `key` is relative to the connector's location and never starts with the location itself.
    `version` is opaque and equal exactly when the bytes are: ETag and size, generation, ETag, or
    inode-size-mtime for a local file (~size-mtime where inode numbers do not last, see `versions`).
    `modified_at` and `changed_at` are epoch seconds; `changed_at` is the last moment at which the store
    itself saw the bytes or their metadata move (never earlier than a write).
    """

    key: str
    version: str
    size_bytes: int
    modified_at: float
    changed_at: float
    archived: bool = False
    """The object must be restored before it can be read."""


def base_name(key: str) -> str:
    """Return the part of `key` after its last slash; empty for a folder marker."""
    return key.rpartition("/")[2]


def extension(key: str) -> str:
    """Return the lower-case extension of `key` without its dot, or an empty string."""
    name = base_name(key)
    stem, dot, suffix = name.rpartition(".")
    return suffix.lower() if dot and stem else ""


def media_type(key: str) -> MediaType | None:
    """Return `video`, `audio` or `image` by the extension of `key`; None for none of them."""
    return MEDIA_TYPES.get(extension(key))
