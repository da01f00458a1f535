"""Describes a file that no demuxer takes, in plain words that also hold for a healthy file."""

from __future__ import annotations

import re
from typing import Final

from vvwatch.processors.media.structure.boxes import has_index, is_mp4, iter_boxes
from vvwatch.processors.media.structure.source import ByteSource

_TEXT: Final = rb"(?:\xef\xbb\xbf)?[\t\n\r\x20-\x7e\x80-\xf4]+"
_LOOKS: Final[tuple[tuple[bytes, str], ...]] = (
    (rb"(?i)\s*(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)", "an HTML page"),
    (rb"(?i)\s*(\xef\xbb\xbf)?\s*<svg\b", "an SVG drawing"),
    (
        rb"(?i)\s*(\xef\xbb\xbf)?\s*<(\?xml|error)",
        "an XML document, perhaps a store's error",
    ),
    (rb"\s*(#EXTM3U|ffconcat |v=0\s|\[playlist\])", "a playlist that names other media"),
    (rb"\s*[{\[]", "a JSON document"),
    (_TEXT, "text"),
)
_MEDIA: Final = (
    (rb"fLaC", "FLAC"),
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG", "PNG"),
    (rb"GIF8", "GIF"),
    (rb"(?s)BM....\0\0\0\0", "BMP"),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"\xff[\xf0\xf1\xf8\xf9]", "AAC"),
    (rb"(?s)RIFF....(WAVE|AVI |WEBP)|(RF64|BW64)....WAVE|riff\x2e\x91", "RIFF"),
    (rb"(?s)FORM....AIF[FC]", "AIFF"),
    (rb"caff", "CAF"),
    (rb"\x1a\x45\xdf\xa3", "Matroska"),
    (rb"OggS", "Ogg"),
    (rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", "MXF"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF"),
    (rb"FLV\x01", "FLV"),
    (rb"\x00\x00\x01[\xba\xb3]", "MPEG"),
    (rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]", "MP3"),
)
_UNSUPPORTED: Final = (
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\xff\xd8\xff\xf7", "JPEG-LS"),
    (rb"8BPS", "Photoshop document"),
    (rb"\x76\x2f\x31\x01", "OpenEXR"),
    (rb"SDPX|XPDS", "DPX"),
    (rb"#\?RADIANCE", "Radiance HDR"),
    (rb"\x00\x00\x01\x00", "Windows icon"),
    (rb"P[1-7][\s]", "Netpbm"),
    (rb"FUJIFILMCCD-RAW|IIRO|IIU\0|II\x1a\0\0\0HEAPCCDR", "camera raw"),
    (rb"BPG\xfb", "BPG"),
    (rb"qoif", "QOI"),
    (rb"(?s)\$H..\x00{4}.{4}\x30\x26\xb2\x75", "ASF as it travels over HTTP"),
    (rb"\.RMF|\.ra\xfd", "RealMedia"),
    (rb"MThd", "MIDI"),
    (rb"#!AMR", "AMR"),
    (rb"MAC ", "Monkey's Audio"),
    (rb"wvpk", "WavPack"),
    (rb"DSD |FRM8", "DSD audio"),
    (rb"TTA[12]", "True Audio"),
    (rb"MPCK|MP\+", "Musepack"),
    (rb"\.snd", "AU audio"),
    (rb"\x0b\x77|\x77\x0b", "AC-3"),
    (rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80", "DTS"),
    (rb"DKIF", "IVF"),
    (rb"nut/multimedia", "NUT"),
    (rb"\x00\x00\x00?\x01[\x67\x27\x09\x40\x46]", "bare H.264 or HEVC"),
    (rb"\x1f\x07\0[\x3f\xbf]", "DV"),
    (rb"(CWS|FWS|ZWS)[\x01-\x40]", "Flash animation"),
)
_OTHERS: Final = (
    (rb"%PDF-", "a PDF document"),
    (rb"PK\x03\x04|PK\x05\x06", "a ZIP archive"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (rb"Rar!", "a RAR archive"),
    (
        rb"\x00\x05\x16[\x00\x07]",
        "an AppleDouble file: what a Mac keeps beside a file, without its content",
    ),
    (rb"bplist0", "a property list"),
    (rb"\x4c\x00\x00\x00\x01\x14\x02\x00", "a Windows shortcut"),
)
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff")
_FEWEST_LETTERS: Final = 64
_PARTIAL: Final = "media that is cut short or damaged"


def describe_likeness(source: ByteSource) -> str:
    """Return what a file that no demuxer takes looks like, as the rest of the sentence "this is …"."""
    head = source.at(0, 4096)
    if not head:
        return "an empty file"
    if not head.strip(b"\0"):
        return "a file that begins with zeros only, perhaps a copy that was never filled"
    if is_mp4(head):
        return _describe_mp4(source)
    if is_text(head):
        return _match(_LOOKS, _narrow_text(head)) or "text"
    return _match(_OTHERS, head) or _match_media(head) or "no media of a known kind"


def is_text(head: bytes) -> bool:
    """Return whether a file with these first bytes is text, whatever letters it begins with."""
    is_long = len(head) >= _FEWEST_LETTERS
    return bool(re.fullmatch(_TEXT, _narrow_text(head))) and (is_long or _match(_MEDIA, head) is None)


def _narrow_text(head: bytes) -> bytes:
    """Return two-byte text as single bytes; non-ASCII characters do not matter."""
    if not head.startswith(_WIDE):
        return head
    return head[: len(head) & ~1].decode("utf-16", "replace").encode("latin-1", "replace")


def find_unsupported_kind(source: ByteSource) -> str | None:
    """Return the name of a healthy kind of media that is not supported; None if it looks like none."""
    return _match(_UNSUPPORTED, source.at(0, 64))


def _match_media(head: bytes) -> str | None:
    name = _match(_MEDIA, head)
    return name and f"{_PARTIAL}: it begins like {name}, but no decoder makes sense of what follows"


def _describe_mp4(source: ByteSource) -> str:
    kinds = {box.kind for box in iter_boxes(source, 0, source.size)}
    if b"moof" in kinds and not has_index(source):
        return "a part of an mp4 stream without the part that describes it (its initialisation segment)"
    if not has_index(source):
        return f"{_PARTIAL}: an mp4 without its index, the box 'moov'"
    return f"{_PARTIAL}: an mp4 whose index cannot be read"


def _match(kinds: tuple[tuple[bytes, str], ...], head: bytes) -> str | None:
    # Compiled on use: most files are of a supported kind, and each is examined by a new process.
    return next((name for pattern, name in kinds if re.match(pattern, head)), None)
