"""What fills the space behind the media, or evens out its length, is no damage."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import samples
from tests.processors.conftest import Shelf
from tests.processors.recordings import record, spaced
from vvwatch.core.media import ProcessingResult

SurveyOf = Callable[[Path], ProcessingResult]


EXTENSIONS = [
    "ts",
    "m2ts",
    "mp3",
    "aac",
    "opus",
    "oga",
    "wma",
    "wmv",
    "mpg",
    "flv",
    "mkv",
    "avi",
    "mxf",
    "flac",
    "mp4",
]


@pytest.mark.parametrize("extension", [*EXTENSIONS, "live.webm"])
@pytest.mark.parametrize(
    "behind", [bytes(700_000), b"\xff" * 700_000, b"\r\n"], ids=["zeros", "ones", "newline"]
)
def test_space_that_a_recorder_took_and_did_not_fill_is_no_damage(
    shelf: Shelf, tmp_path: Path, survey_of: SurveyOf, extension: str, behind: bytes
) -> None:
    source = live(tmp_path) if extension == "live.webm" else shelf.usual(extension)
    path = tmp_path / f"a.{extension}"
    whole = survey_of(source)
    path.write_bytes(source.read_bytes() + behind)

    found = survey_of(path)

    assert found.damage == whole.damage == ()
    assert found.metadata["analysed_seconds"] == whole.metadata["analysed_seconds"]


def live(folder: Path) -> Path:
    """A recording of a browser: nothing of it says how long it is."""
    return record(folder / "live.webm", spaced(3), codec="libvpx", container_options={"live": "1"})


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_part_of_an_adts_frame_is_named(
    shelf: Shelf, tmp_path: Path, survey_of: SurveyOf, cut: int
) -> None:
    path = tmp_path / "a.aac"
    path.write_bytes(shelf.usual("aac").read_bytes()[:-cut])

    assert any("truncated: the file ends within an ADTS frame" in damage for damage in survey_of(path).damage)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_zeros_in_place_of_frames_that_are_counted_are_damage(
    shelf: Shelf, tmp_path: Path, survey_of: SurveyOf, share: float
) -> None:
    path = tmp_path / "a.mp3"
    content = shelf.usual("mp3").read_bytes()
    kept = int(len(content) * share)
    path.write_bytes(content[:kept] + bytes(len(content) - kept))

    assert any("truncated: the last MP3 frame ends" in damage for damage in survey_of(path).damage)


@pytest.mark.parametrize("extension", ["ts", "m2ts"])
def test_a_hole_at_the_end_of_a_packet_stays_damage(
    shelf: Shelf, tmp_path: Path, survey_of: SurveyOf, extension: str
) -> None:
    path = tmp_path / f"a.{extension}"
    content = bytearray(shelf.usual(extension).read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    path.write_bytes(bytes(content))

    assert survey_of(path).damage


@pytest.mark.parametrize("stated", [65 * 75, 65 * 75 + 1, 0x7FFFF000, 0xFFFFFFFF])
def test_a_byte_that_pads_coded_sound_is_no_block(tmp_path: Path, survey_of: SurveyOf, stated: int) -> None:
    path = tmp_path / "gsm.wav"
    form = struct.pack("<HHIIHHHH", 0x31, 1, 8000, 1625, 65, 0, 2, 320)
    body = b"WAVEfmt " + struct.pack("<I", 20) + form + b"data" + struct.pack("<I", stated)
    body += bytes(range(65)) * 75 + b"\0"
    riff = len(body) if stated < 65 * 76 else stated
    path.write_bytes(b"RIFF" + struct.pack("<I", riff) + body)

    found = survey_of(path)

    assert found.damage == ()
    assert found.metadata["analysed_seconds"] == pytest.approx(75 * 0.04, abs=0.001)


def test_a_block_of_which_a_part_is_missing_stays_damage(tmp_path: Path, survey_of: SurveyOf) -> None:
    path = tmp_path / "gsm.wav"
    form = struct.pack("<HHIIHHHH", 0x31, 1, 8000, 1625, 65, 0, 2, 320)
    content = bytes(range(65)) * 75 + bytes(30)
    body = b"WAVEfmt " + struct.pack("<I", 20) + form + b"data" + struct.pack("<I", len(content))
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body) + len(content) + 1) + body + content + b"\0")

    assert survey_of(path).damage


@pytest.mark.parametrize("extension", ["ts", "m2ts", "mp3", "aac", "opus"])
@pytest.mark.parametrize("seconds", [1, 4])
def test_recordings_that_were_joined_byte_by_byte_are_whole(
    tmp_path: Path, survey_of: SurveyOf, extension: str, seconds: int
) -> None:
    make = samples.video if extension in ("ts", "m2ts") else samples.audio
    one, path = make(tmp_path / f"one.{extension}", seconds=seconds), tmp_path / f"joined.{extension}"
    path.write_bytes(one.read_bytes() * 2)
    single = survey_of(one)

    found = survey_of(path)

    assert found.damage == single.damage == ()
    twice = 2 * single.metadata["analysed_seconds"]
    assert found.metadata["analysed_seconds"] == pytest.approx(twice, abs=0.1)


def test_a_png_without_its_end_is_damage(shelf: Shelf, tmp_path: Path, survey_of: SurveyOf) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(shelf.usual("png").read_bytes()[:-12])

    assert survey_of(path).damage == ("truncated: the PNG has no end, the chunk 'IEND'",)


def test_links_of_pictures_in_ogg_are_whole(tmp_path: Path, survey_of: SurveyOf) -> None:
    one = record(tmp_path / "one.ogg", spaced(4), codec="libvpx")
    path = tmp_path / "chained.ogg"
    path.write_bytes(one.read_bytes() * 2)

    single, found = survey_of(one), survey_of(path)

    assert found.damage == single.damage == ()
    assert found.metadata["analysed_seconds"] == pytest.approx(
        2 * single.metadata["analysed_seconds"], abs=0.1
    )
