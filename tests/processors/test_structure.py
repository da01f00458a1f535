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
from vvwatch.errors import StorageUnavailable
from vvwatch.processors.media.opening import check_readable
from vvwatch.processors.media.structure import (
    ByteSource,
    HeifPicture,
    Structure,
    View,
    describe_likeness,
    examine,
    missing_end,
    read_heif_picture,
    read_heif_size,
)

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
CLUSTER, UNKNOWN = b"\x1f\x43\xb6\x75", b"\x01" + b"\xff" * 7
OGG_PAGE = b"OggS\0\4" + bytes(20) + b"\1\x05hello"
GIF = b"GIF89a" + bytes(7) + b"\x2c" + bytes(9) + b"\x02\x03abc\0;"
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
        (riff(b"AVI ", b"idx1" + struct.pack("<I", 32) + bytes(32)), 1, "RIFF chunk 'AVI'"),
        (ebml(EBML, bytes(9)) + ebml(SEGMENT, bytes(60)), 1, "the Matroska segment ends at byte 85 but"),
        (OGG_PAGE, 1, "within an Ogg page"),
        (GIF, 3, "within a block of the GIF"),
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
        MP4 + b"\r\n",
        OGG_PAGE + bytes(70_000),
        GIF + b"\r\n",
        GIF + bytes(3000) + b"x" * 54,
        GIF[:-1],  # without the trailer, which no viewer needs
        MP4 + struct.pack(">I4s", 0, b"mdat") + bytes(50),  # up to the end, whatever that is
        riff(b"WAVE", bytes(90), length=0xFFFFFFFF),  # written to a pipe
        riff(b"WAVE", bytes(90), length=102),  # a recorder that counts the header
        ebml(EBML, bytes(9)) + ebml(SEGMENT, bytes(60), length=b"\x01" + b"\xff" * 7),  # live
        riff(b"AVI ", b"idx1" + struct.pack("<I", 32) + bytes(32), length=48),  # and another one
        b"Good" + bytes(184) + b"G" + bytes(100),  # no transport stream
        b"\xff\xfb\x90\x64" + bytes(400),  # an MP3 frame without a header of the whole
    ],
)
def test_media_without_a_certain_end_is_given_the_benefit_of_the_doubt(
    source_of: SourceOf, content: bytes
) -> None:
    assert missing_end(source_of(content)) is None


def test_an_encrypted_matroska_track_is_named(source_of: SourceOf) -> None:
    def matroska(coding: bytes) -> bytes:
        encodings = ebml(b"\x6d\x80", ebml(b"\x62\x40", coding))
        track = ebml(b"\xae", ebml(b"\x83", b"\1") + encodings)
        return ebml(EBML, b"") + ebml(SEGMENT, ebml(b"\x16\x54\xae\x6b", track) + ebml(CLUSTER, b""))

    key = ebml(b"\x50\x33", b"\1") + ebml(b"\x50\x35", b"")
    assert examine(source_of(matroska(key))).encrypted == "pictures (Matroska encryption)"
    assert examine(source_of(matroska(ebml(b"\x50\x34", b"")))).encrypted is None  # compressed


def test_a_cluster_of_open_length_is_walked_to_its_last_block(source_of: SourceOf) -> None:
    head = ebml(EBML, b"") + SEGMENT + UNKNOWN
    cluster = CLUSTER + UNKNOWN + ebml(b"\xe7", b"\0")
    block = ebml(b"\xa3", CLUSTER + bytes(90))  # what looks like another cluster is none
    assert missing_end(source_of(head + cluster + block)) is None
    assert missing_end(source_of(head + cluster + block + ebml(b"\xec", bytes(40)))) is None
    assert "last Matroska block" in (missing_end(source_of(head + cluster + block[:-1])) or "")
    assert "head of a Matroska block" in (missing_end(source_of(head + cluster + block + block[:3])) or "")


def test_a_view_shows_a_file_as_it_is_mended(source_of: SourceOf) -> None:
    source = source_of(b"0123456789")
    mended = View(source, Structure(patches=((3, b"abc"),), end=8))
    assert mended.read(100) == b"012abc67"
    assert (mended.read(1), mended.tell()) == (b"", 8)
    assert (mended.seek(-4, os.SEEK_END), mended.read(2)) == (4, b"bc")
    longer = View(source, Structure(head=(4, b"header")))
    assert b"".join(iter(lambda: longer.read(4), b"")) == b"header456789"
    assert (longer.seek(7), longer.read(2)) == (7, b"56")


W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0" + struct.pack("<Q", 264) + b"wave"
W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
FAR_STRIPS = b"".join(struct.pack("<HHQQ", tag, 16, 3, 2**64 - 1) for tag in (273, 279))
HEIC = box(b"ftyp", b"heic" + bytes(4))


@pytest.mark.parametrize(
    "content",
    [
        W64 + W64_TAIL + b"junk" + W64_TAIL + struct.pack("<Q", 2**64 - 8) + bytes(196),
        b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 2) + FAR_STRIPS + bytes(8),
        HEIC + struct.pack(">I4sII4sQ", 20, b"meta", 0, 1, b"pitm", 100) + bytes(100),
    ],
    ids=["w64", "bigtiff", "heif"],
)
def test_places_and_lengths_that_no_file_has_break_nothing(source_of: SourceOf, content: bytes) -> None:
    source = source_of(content)
    examine(source)
    assert read_heif_size(source) == (0, 0)
    assert describe_likeness(source)


def test_an_ogg_whose_last_64_mib_hold_no_page_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "hollow.ogg"
    path.write_bytes(OGG_PAGE)
    os.truncate(path, (64 << 20) + len(OGG_PAGE))
    with opened(path) as fd:
        assert "within an Ogg page" in (missing_end(ByteSource(fd)) or "")


def test_nothing_is_read_outside_a_file(source_of: SourceOf) -> None:
    source = source_of(b"0123456789")
    assert source.at(8, 5) == b"89"
    assert [source.at(*place) for place in ((-1, 4), (10, 1), (2**64, 4), (3, -2), (3, 0))] == [b""] * 5


def test_a_pattern_is_found_from_the_end(source_of: SourceOf) -> None:
    source = source_of(b"mark" + bytes(300_000) + b"mark" + bytes(100_000))
    assert source.last(b"mark", 1 << 20) == 300_004
    assert source.last(b"mark", 1 << 20, before=300_004) == 0
    assert source.last(b"mark", 1000) == -1


def test_a_picture_of_the_heif_family_is_described_as_it_is_displayed(source_of: SourceOf) -> None:
    def full(kind: bytes, content: bytes) -> bytes:
        return box(kind, bytes(4) + content)

    extents = [full(b"ispe", struct.pack(">II", *size)) for size in ((512, 512), (1000, 700))]
    crop = box(b"clap", struct.pack(">8I", 990, 1, 690, 1, 0, 1, 0, 1))
    properties = box(b"ipco", b"".join(extents) + box(b"irot", b"\1") + box(b"imir", b"\1") + crop)
    owners = struct.pack(">I", 5) + b"".join(struct.pack(">HBB", item, 1, 1) for item in (1, 2, 3, 4))
    owners += struct.pack(">HB4B", 5, 4, 2, 5, 3, 4)
    grid = full(b"iref", box(b"dimg", struct.pack(">HH4H", 5, 4, 1, 2, 3, 4)))
    inner = full(b"pitm", b"\0\5") + grid + box(b"iprp", properties + full(b"ipma", owners))
    content = box(b"ftyp", b"heicheic") + full(b"meta", inner)

    assert read_heif_picture(source_of(content)) == HeifPicture(690, 990, 270, "horizontal", 2, (1, 2, 3, 4))
    assert read_heif_size(source_of(content)) == (690, 990)
    assert read_heif_picture(source_of(content[:-9])) is None


def test_a_footer_that_is_not_there_is_missed(source_of: SourceOf, shelf: Shelf) -> None:
    content = shelf.usual("mxf").read_bytes()
    assert "has no footer" in (missing_end(source_of(content[:-3000] + bytes(3000))) or "")


def test_an_interrupted_ogg_recording_is_truncated(source_of: SourceOf) -> None:
    assert "not the end of a stream" in (missing_end(source_of(OGG_PAGE.replace(b"\0\4", b"\0\0"))) or "")
    assert "within an Ogg page" in (missing_end(source_of(OGG_PAGE + OGG_PAGE[:3])) or "")


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
    with pytest.raises(StorageUnavailable, match="reading the media failed: input/output error"):
        check_readable(source, 2_600_000)


def test_the_largest_picture_of_a_heif_file_counts(source_of: SourceOf) -> None:
    def extent(width: int, height: int) -> bytes:
        return box(b"ispe", struct.pack(">III", 0, width, height))

    text = b"a dispersed crowd"  # must not pass for a size

    assert read_heif_size(source_of(extent(512, 512) + extent(4032, 3024) + extent(320, 240))) == (4032, 3024)
    assert read_heif_size(source_of(text * 3)) == (0, 0)


def test_a_likeness_is_found_for_anything(source_of: SourceOf) -> None:
    assert describe_likeness(source_of(b"\xef\xbb\xbf<?xml version='1.0'?>")).startswith("an XML document")
    assert describe_likeness(source_of("żółć, größer".encode())) == "text"
    assert describe_likeness(source_of(b"\x7fELF\0\0")) == "no media of a known kind"
