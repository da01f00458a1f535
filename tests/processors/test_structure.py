"""What the bytes alone tell about a missing end."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import samples
from tests.processors.conftest import Shelf, opened
from vvwatch.errors import ProcessorCrashed
from vvwatch.processors.opening import check_readable
from vvwatch.processors.structure import ByteSource, heif_size, likeness, missing_end

SourceOf = Callable[[bytes], ByteSource]


@pytest.fixture
def source_of(tmp_path: Path) -> Iterator[SourceOf]:
    with ExitStack() as stack:

        def source(content: bytes) -> ByteSource:
            path = tmp_path / "bytes"
            path.write_bytes(content)
            return ByteSource(stack.enter_context(opened(path)))

        yield source


def box(kind: bytes, content: bytes = b"", *, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content
    return struct.pack(">I4s", 8 + len(content), kind) + content


def riff(form: bytes, content: bytes, length: int | None = None) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(content) if length is None else length) + form + content


def ebml(identifier: bytes, content: bytes, length: bytes | None = None) -> bytes:
    size = struct.pack(">I", 0x1000_0000 | len(content)) if length is None else length
    return identifier + size + content


EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
OGG_PAGE = b"OggS\0\4" + bytes(20) + b"\1\x05hello"
MP4 = box(b"ftyp", b"isom") + box(b"moov", bytes(30)) + box(b"mdat", bytes(100), wide=True)


@pytest.mark.parametrize(
    "extension", ["mp4", "mov", "mkv", "webm", "avi", "mp3", "wav", "flac", "ogg", "gif", "webp"]
)
def test_whole_media_lacks_nothing(shelf: Shelf, extension: str) -> None:
    with opened(shelf.usual(extension)) as fd:
        assert missing_end(ByteSource(fd)) is None


@pytest.mark.parametrize(
    ("whole", "lost", "named"),
    [
        (MP4, 1, "mp4 box 'mdat' ends at byte 166 but the file has 165 bytes"),
        (MP4 + box(b"moof", bytes(9)), 12, "within the header of an mp4 box"),
        (riff(b"WAVE", bytes(90)), 30, "RIFF chunk 'WAVE' ends at byte 102 but the file has 72 bytes"),
        (riff(b"AVI ", bytes(10)) + riff(b"AVIX", bytes(90)), 30, "RIFF chunk 'AVIX'"),
        (ebml(EBML, bytes(9)) + ebml(SEGMENT, bytes(60)), 1, "the Matroska segment ends at byte 85 but"),
        (OGG_PAGE, 1, "within an Ogg page"),
        (b"GIF89a" + bytes(20) + b"\1;", 1, "no trailer"),
    ],
)
def test_a_missing_end_is_named(source_of: SourceOf, whole: bytes, lost: int, named: str) -> None:
    assert missing_end(source_of(whole)) is None
    assert named in (missing_end(source_of(whole[:-lost])) or "")


@pytest.mark.parametrize(
    "content",
    [
        MP4 + bytes(500),  # padding
        MP4 + b"appended by a camera",
        MP4 + struct.pack(">I4s", 0, b"mdat") + bytes(50),  # up to the end, whatever that is
        riff(b"WAVE", bytes(90), length=0xFFFFFFFF),  # written to a pipe
        riff(b"WAVE", bytes(90), length=102),  # a recorder that counts the header
        ebml(EBML, bytes(9)) + ebml(SEGMENT, bytes(60), length=b"\x01" + b"\xff" * 7),  # live
        b"\xff\xfb\x90\x64" + bytes(400),  # an MP3 frame without a header of the whole
    ],
)
def test_media_without_a_certain_end_is_given_the_benefit_of_the_doubt(
    source_of: SourceOf, content: bytes
) -> None:
    assert missing_end(source_of(content)) is None


def test_an_interrupted_ogg_recording_is_truncated(source_of: SourceOf) -> None:
    assert "not the end of a stream" in (missing_end(source_of(OGG_PAGE.replace(b"\0\4", b"\0\0"))) or "")
    assert "no Ogg page" in (missing_end(source_of(OGG_PAGE + bytes(70_000))) or "")


def test_a_tagged_mp3_is_held_against_its_own_byte_count(shelf: Shelf, tmp_path: Path) -> None:
    whole = shelf.audio("tag.mp3", container_options={"id3v2_version": "4", "metadata": "title=x"})
    with opened(samples.truncated(whole, tmp_path / "cut.mp3", 0.999)) as fd:
        assert "the MP3 stream ends at byte" in (missing_end(ByteSource(fd)) or "")


def test_a_failing_disk_is_told_from_a_broken_file(
    source_of: SourceOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(bytes(5 << 20))
    pread = os.pread

    def failing(fd: int, count: int, offset: int) -> bytes:
        if offset <= 3_500_000 < offset + count:
            raise OSError(errno.EIO, "Input/output error")
        return pread(fd, count, offset)

    assert source.failure_near(3_000_000) is None
    monkeypatch.setattr(os, "pread", failing)
    assert getattr(source.failure_near(3_000_000), "errno", None) == errno.EIO
    with pytest.raises(ProcessorCrashed, match="reading the media failed: input/output error"):
        check_readable(source, 2_600_000)


def test_the_largest_picture_of_a_heif_file_counts(source_of: SourceOf) -> None:
    def extent(width: int, height: int) -> bytes:
        return box(b"ispe", struct.pack(">III", 0, width, height))

    text = b"a dispersed crowd"  # must not pass for a size

    assert heif_size(source_of(extent(512, 512) + extent(4032, 3024) + extent(320, 240))) == (4032, 3024)
    assert heif_size(source_of(text * 3)) == (0, 0)


def test_a_likeness_is_found_for_anything(source_of: SourceOf) -> None:
    assert likeness(source_of(b"\xef\xbb\xbf<?xml version='1.0'?>")).startswith("an XML document")
    assert likeness(source_of("żółć, größer".encode())) == "text"
    assert likeness(source_of(b"\x7fELF\0\0")) == "no media of a known kind"
