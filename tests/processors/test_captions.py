"""The captions in a file, read in the confined process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from av.stream import Disposition

from tests import samples
from tests.processors.captioned import Track, add_captions
from vvwatch.core.transcripts import Transcript, TranscriptSource
from vvwatch.processors.media.cutting import Cutter
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.technical.processor import TechnicalProcessor

pytestmark = pytest.mark.anyio

WORDS = [(1.0, 2.0, "one"), (2.5, 3.5, "two")]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.video(tmp_path_factory.mktemp("film") / "film.mp4")


async def read(path: Path, work: Path, seconds: float | None = 4.0) -> Transcript | str:
    fd = os.open(path, os.O_RDONLY)
    try:
        return await Cutter(limits=Limits(), work_dir=work).captions(fd, seconds)
    finally:
        os.close(fd)


def texts(found: Transcript | str) -> list[str]:
    assert isinstance(found, Transcript), found
    return [cue.text for cue in found.cues]


@pytest.mark.parametrize(
    ("name", "codec", "marked"),
    [
        ("film.mp4", "mov_text", "<b> stays & so does {this}"),
        ("film.mov", "mov_text", "<b> stays & so does {this}"),
        ("film.mkv", "subrip", r"{\an8}<i>&lt;b&gt; stays</i> &amp; so does {this}"),
        ("film.mkv", "ass", r"{\b1}<b> stays & {comment}so does"),
        ("film.mkv", "webvtt", "<v Ann>&lt;b&gt; stays</v> &amp; so does <00:00:02.600>{this}"),
    ],
)
async def test_each_kind_of_track_is_read(
    film: Path, tmp_path: Path, name: str, codec: str, marked: str
) -> None:
    path = add_captions(film, tmp_path / name, Track(codec, [(1, 2, "one\x07"), (2.5, 3.5, marked)], "eng"))

    found = await read(path, tmp_path)

    plain = "<b> stays & so does" + ("" if codec == "ass" else " {this}")
    assert texts(found) == ["one", plain]
    assert isinstance(found, Transcript)
    assert (found.source, found.language) == (TranscriptSource.EMBEDDED, "eng")
    assert [cue.start_time for cue in found.cues] == pytest.approx([1, 2.5], abs=0.03)
    assert [cue.end_time for cue in found.cues] == pytest.approx([2, 3.5], abs=0.03)


async def test_the_default_track_wins_and_a_forced_one_is_no_transcript(film: Path, tmp_path: Path) -> None:
    forced = Track("subrip", [(1, 2, "a sign")], "eng", Disposition.default | Disposition.forced)
    first, chosen = (
        Track("subrip", WORDS, "fre"),
        Track("subrip", [(1, 2, "yes")], "ger", Disposition.default),
    )
    both = add_captions(film, tmp_path / "both.mkv", forced, first, chosen)
    assert texts(await read(both, tmp_path)) == ["yes"]
    assert texts(await read(add_captions(film, tmp_path / "first.mkv", forced, first), tmp_path)) == [
        "one",
        "two",
    ]
    assert await read(add_captions(film, tmp_path / "forced.mkv", forced), tmp_path) == "only forced captions"


async def test_an_empty_track_gives_way_to_the_next(film: Path, tmp_path: Path) -> None:
    empty = Track("subrip", [(1, 2, "<i> </i>")], "eng", Disposition.default)
    path = add_captions(film, tmp_path / "film.mkv", empty, Track("subrip", WORDS))
    assert texts(await read(path, tmp_path)) == ["one", "two"]
    assert await read(add_captions(film, tmp_path / "none.mkv", empty), tmp_path) == "track 2 is empty"


async def test_overlaps_and_ends_behind_the_film_are_put_right(film: Path, tmp_path: Path) -> None:
    cues = [(0.5, 3.0, "first"), (2.0, 9.0, "second"), (50.0, 51.0, "after the end"), (3.0, None, "third")]
    found = await read(add_captions(film, tmp_path / "film.mkv", Track("subrip", sorted(cues))), tmp_path)
    assert texts(found) == ["first", "second", "third"]
    assert isinstance(found, Transcript)
    assert [cue.end_time for cue in found.cues] == pytest.approx([2, 3, 4], abs=0.03)


async def test_times_count_from_the_first_picture(film: Path, tmp_path: Path) -> None:
    options = {"output_ts_offset": "3600"}
    late = samples.video(tmp_path / "late.mkv", container_options=options)
    at = [(start + 3600, end + 3600, text) for start, end, text in WORDS]
    found = await read(add_captions(late, tmp_path / "film.mkv", Track("subrip", at)), tmp_path)
    assert isinstance(found, Transcript)
    assert [cue.start_time for cue in found.cues] == pytest.approx([1, 2.5], abs=0.03)


async def test_many_cues_come_in_short_lines(film: Path, tmp_path: Path) -> None:
    cues = [(at / 1000, (at + 1) / 1000, "\U0001f600" * 2000) for at in range(300)]
    found = await read(add_captions(film, tmp_path / "film.mkv", Track("subrip", cues)), tmp_path)
    assert len(texts(found)) == 300


async def test_media_without_captions_says_so(film: Path, tmp_path: Path) -> None:
    assert await read(film, tmp_path) == "no caption track"
    assert await read(samples.audio(tmp_path / "tone.mp3"), tmp_path) == "no caption track"


async def test_a_probe_counts_caption_tracks(film: Path, tmp_path: Path) -> None:
    path = add_captions(film, tmp_path / "film.mkv", *[Track("subrip", WORDS)] * 10)
    technical = TechnicalProcessor(limits=Limits(), work_dir=tmp_path)
    counts = []
    for each in (film, path):
        fd = os.open(each, os.O_RDONLY)
        counts.append((await technical.probe(fd)).caption_tracks)
        os.close(fd)
    assert counts == [0, 10]
