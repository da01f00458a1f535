"""What is destroyed is found, in whichever track and picture it lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import samples
from tests.processors.recordings import empty_unreferenced, heard_between, overwrite, record, spaced
from vvwatch.core.media import ProcessingResult

SurveyOf = Callable[[Path], ProcessingResult]
TWELVE = spaced(12, 25)
TONE = heard_between((0, 4))
B_PICTURES = {"bf": "3", "g": "50", "b_strategy": "0"}


def test_pictures_that_no_other_needs_are_looked_at_where_they_are_empty(
    tmp_path: Path, survey_of: SurveyOf
) -> None:
    path = record(tmp_path / "b.mp4", TWELVE, rate=25, options=B_PICTURES)
    emptied = empty_unreferenced(path)

    (damage,) = survey_of(path).damage

    assert emptied > 100
    assert damage.startswith("corrupt: ")
    assert int(damage.split()[1]) > emptied * 0.9


def test_pictures_that_no_other_needs_are_sampled(tmp_path: Path, survey_of: SurveyOf) -> None:
    path = record(tmp_path / "b.mp4", TWELVE, rate=25, options=B_PICTURES)
    whole = survey_of(path)
    overwrite(path, 0, b"\x5a", skip=1, keep=12)

    assert whole.damage == ()
    assert any("picture packets" in damage for damage in survey_of(path).damage)


@pytest.mark.parametrize("destroyed", [1, 2, 3, 4])
def test_every_sound_track_is_decoded(tmp_path: Path, survey_of: SurveyOf, destroyed: int) -> None:
    path = record(tmp_path / "four.mp4", spaced(4), [TONE] * 4)
    overwrite(path, destroyed, b"\x5a")

    result = survey_of(path)

    assert any(f"sound packets of track {destroyed + 1} could not" in damage for damage in result.damage)
    assert [track["damaged"] for track in result.metadata["tracks"]] == [n == destroyed for n in range(5)]


def test_further_tracks_of_pictures_are_looked_at(tmp_path: Path, survey_of: SurveyOf) -> None:
    path = record(tmp_path / "two.mkv", spaced(4), further_pictures=True, options={"g": "5"})
    whole = survey_of(path)
    path = record(tmp_path / "two.mp4", spaced(4), further_pictures=True, options={"g": "5"})
    overwrite(path, 1, b"\x5a")

    assert whole.damage == ()
    assert any("picture packets of track 2" in damage for damage in survey_of(path).damage)


@pytest.mark.parametrize("level", [0.0, 0.0001])
def test_a_silent_first_track_is_not_what_is_measured(
    tmp_path: Path, survey_of: SurveyOf, level: float
) -> None:
    sounds = [TONE] * 4
    path = record(
        tmp_path / "camera.mov", spaced(4), sounds, sound_codec="pcm_s16le", levels=[level, 0.3, 0.3, 0.3]
    )

    result = survey_of(path)

    assert result.metadata["loudness"]["integrated_lufs"] == pytest.approx(-14, abs=1.5)
    assert [track["measured"] for track in result.metadata["tracks"]] == [True, False, True, False, False]


def test_an_empty_first_track_is_not_what_is_measured(tmp_path: Path, survey_of: SurveyOf) -> None:
    result = survey_of(record(tmp_path / "two.mkv", spaced(4), [(), TONE]))

    assert result.metadata["loudness"]["integrated_lufs"] is not None
    assert (result.probe and result.probe.channels) == 1


@pytest.mark.parametrize("start", [0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize(
    "name", ["film.mkv", "film.webm", "live.mkv", "sound.mka", "sound.ogg", "sound.flac"]
)
def test_a_hole_is_found_by_the_bytes_that_are_none_of_the_container(
    tmp_path: Path, survey_of: SurveyOf, name: str, start: float
) -> None:
    kind = name.split(".")[1]
    codec = {"webm": "libvpx", "mkv": "libx264"}.get(kind, "")
    sound = {"webm": "libopus", "ogg": "libopus", "flac": "flac", "mka": "libopus"}.get(kind, "aac")
    options = {"live": "1"} if name.startswith("live") else {}
    whole = record(
        tmp_path / name,
        spaced(8),
        [heard_between((0, 8))],
        codec=codec,
        sound_codec=sound,
        container_options=options,
    )
    result = survey_of(whole)
    holed = survey_of(samples.holed(whole, tmp_path / f"holed.{kind}", start, start + 0.04))

    assert result.damage == ()
    assert holed.damage != ()


def test_a_header_that_says_more_is_a_warning_when_no_byte_is_missing(
    tmp_path: Path, survey_of: SurveyOf
) -> None:
    path = record(tmp_path / "still.mkv", spaced(4), [TONE])
    data = path.read_bytes()
    place = data.index(b"\x44\x89\x88") + 3
    import struct

    path.write_bytes(data[:place] + struct.pack(">d", 30_000.0) + data[place + 8 :])

    result = survey_of(path)

    assert result.damage == ()
    assert any(warning.startswith("the header says 30.0 s") for warning in result.warnings)
    assert result.segments[-1].end_time == pytest.approx(4, abs=0.1)
