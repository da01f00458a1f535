from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import samples
from vvwatch.core.objects import MEDIA_TYPES
from vvwatch.core.sniffing import SNIFFED_BYTES, format_of

HEADS = {
    "jpg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "png": b"\x89PNG\r\n\x1a\n\0\0",
    "gif": b"GIF89a",
    "bmp": b"BM\x36\0\x0c\0\0\0\0\0",
    "tif": b"II*\0",
    "webp": b"RIFF\0\0\0\0WEBPVP8 ",
    "wav": b"RIFF\xff\xff\xff\xffWAVEfmt ",
    "avi": b"RIFF\0\0\0\0AVI LIST",
    "rf64": b"RF64\xff\xff\xff\xffWAVEds64",
    "w64": b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb",
    "flac": b"fLaC\0",
    "ogg": b"OggS\0\x02" + bytes(22) + b"\x01vorbis",
    "opus": b"OggS\0\x02" + bytes(22) + b"OpusHead",
    "aiff": b"FORM\0\0\0\0AIFC",
    "caf": b"caff\0\x01",
    "flv": b"FLV\x01\x05",
    "asf": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9",
    "webm": b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm",
    "mkv": b"\x1a\x45\xdf\xa3\xa3\x42\x82\x88matroska",
    "mxf": bytes.fromhex("060e2b34020501010d010201010204"),
    "ts": (b"G" + bytes(187)) * 3,
    "m2ts": (bytes(4) + b"G" + bytes(187)) * 3,
    "mpg": b"\0\0\x01\xba\x44",
    "mp3": b"ID3\x04\0",
    "aac": b"\xff\xf1\x4c",
    "mp4": b"\0\0\0\x20ftypisom",
    "mov": b"\0\0\0\x14ftypqt  ",
    "m4a": b"\0\0\0\x20ftypM4A ",
    "3gp": b"\0\0\0\x20ftyp3gp5",
    "heic": b"\0\0\0\x18ftypheic",
    "avif": b"\0\0\0\x18ftypavif",
}


@pytest.mark.parametrize("name", HEADS)
def test_each_format_is_known_by_its_first_bytes(name: str) -> None:
    assert format_of(HEADS[name] + bytes(200)) == name


def test_a_film_of_the_first_quicktime_has_no_brand() -> None:
    assert format_of(b"\0\0\0\x08wide\0\0\0\0mdat") == "mov"


@pytest.mark.parametrize(
    "head", [b"", b"<html>", b"%PDF-1.7", b"PK\x03\x04", b"RIFF\0\0\0\0ACON", b"G" * 100]
)
def test_what_is_no_media_has_no_format(head: bytes) -> None:
    assert format_of(head) is None


def test_a_real_film_is_known(tmp_path: Path) -> None:
    film = samples.video(tmp_path / "a.mp4")
    assert format_of(film.read_bytes()[:SNIFFED_BYTES]) == "mp4"


@given(st.binary(max_size=1200))
def test_whatever_comes_is_a_format_that_is_taken_or_none(head: bytes) -> None:
    found = format_of(head)
    assert found is None or found in MEDIA_TYPES
