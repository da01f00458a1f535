"""Detect the media format by the first bytes, for files without a telling name."""

from __future__ import annotations

import re
from typing import Final

SNIFFED_BYTES: Final = 4096
"""How many bytes of a file show its format."""

_BRANDS: Final = {
    b"qt  ": "mov",
    b"M4A ": "m4a",
    b"M4B ": "m4b",
    b"M4V ": "m4v",
    b"avif": "avif",
    b"avis": "avif",
    b"heic": "heic",
    b"heix": "heic",
    b"heim": "heic",
    b"heis": "heic",
    b"hevc": "heic",
    b"mif1": "heif",
    b"msf1": "heif",
}
_RIFF: Final = {b"WAVE": "wav", b"AVI ": "avi", b"WEBP": "webp"}
_OLD_QUICKTIME: Final = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_SIGNATURES: Final[tuple[tuple[re.Pattern[bytes], str], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (rb"\xff\xd8\xff", "jpg"),
        (rb"\x89PNG\r\n\x1a\n", "png"),
        (rb"GIF8[79]a", "gif"),
        (rb"BM.{4}\0\0\0\0", "bmp"),
        (rb"II[*+]\0|MM\0[*+]", "tif"),
        (rb"fLaC", "flac"),
        (rb"OggS.{24}.*?OpusHead", "opus"),
        (rb"OggS", "ogg"),
        (rb"RF64.{4}WAVE|BW64.{4}WAVE", "rf64"),
        (rb"riff\x2e\x91\xcf\x11", "w64"),
        (rb"FORM.{4}AIF[FC]", "aiff"),
        (rb"caff\0", "caf"),
        (rb"FLV\x01", "flv"),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
        (rb"\x1a\x45\xdf\xa3.{0,64}webm", "webm"),
        (rb"\x1a\x45\xdf\xa3", "mkv"),
        (rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", "mxf"),
        (rb"G.{187}G.{187}G", "ts"),
        (rb".{4}G.{191}G.{191}G", "m2ts"),
        (rb"\0\0\x01\xba|\0\0\x01\xb3", "mpg"),
        (rb"ID3[\x02-\x04]|\xff[\xfb\xfa\xf3\xf2\xe3\xe2]", "mp3"),
        (rb"\xff[\xf1\xf9]", "aac"),
    )
)


def format_of(head: bytes) -> str | None:
    """Return the extension (without dot) of the format that starts like `head`; None for no known one."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return _BRANDS.get(brand) or ("3gp" if brand[:3] in (b"3gp", b"3gr", b"3gs") else "mp4")
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] in _OLD_QUICKTIME:
        return "mov"
    return next((name for pattern, name in _SIGNATURES if pattern.match(head)), None)
