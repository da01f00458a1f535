"""Captions that pictures carry, and QuickTime's caption tracks, read in the confined process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import av
import pytest
from av.packet import Packet

from tests import samples
from tests.processors import line21 as made
from tests.processors.captioned import Track, add_captions
from tests.processors.test_captions import read, texts
from vvwatch.core.transcripts import Transcript, TranscriptSource
from vvwatch.processors.media import hidden_captions
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.media.opening import Bounds, open_media
from vvwatch.processors.technical.processor import TechnicalProcessor

pytestmark = pytest.mark.anyio

FRAME = 1 / 25
POP_ON = made.spread(
    {
        2: made.pop_on("Good evening,\nthis is it."),
        25: made.twice(made.SHOW),
        40: made.pop_on("And that."),
        60: made.twice(made.SHOW),
        90: made.twice(made.CLEAR),
    }
)
BEGIN = made.twice(made.ROLL_UP_2, made.NEW_LINE, made.ROW_15)
ROLL_UP = made.spread(
    {5: [*BEGIN, *made.letters("One here")], 45: [*BEGIN, *made.letters("two there")], 80: BEGIN}
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.video(tmp_path_factory.mktemp("film") / "film.mp4", cuts=(1.5,))


def times(found: Transcript | str) -> list[float]:
    assert isinstance(found, Transcript), found
    assert found.source is TranscriptSource.EMBEDDED
    return [at for cue in found.cues for at in (cue.start_time, cue.end_time)]


@pytest.mark.parametrize("name", ["hidden.mp4", "hidden.mov", "hidden.mkv", "hidden.ts"])
async def test_captions_in_the_pictures_are_read_to_the_frame(film: Path, tmp_path: Path, name: str) -> None:
    start = samples.video(tmp_path / "film.ts", codec="libx264") if name.endswith(".ts") else film
    # Where sound begins before the first picture, all pictures come that much later.
    slack = FRAME if name.endswith(".ts") else FRAME / 2
    pop_on = await read(made.hide_captions(start, tmp_path / name, POP_ON), tmp_path)
    assert isinstance(pop_on, Transcript)
    assert pop_on.origin == "in the pictures, EIA-608 CC1"
    assert texts(pop_on) == ["Good evening,\nthis is it.", "And that."]
    assert times(pop_on) == pytest.approx([25 * FRAME, 60 * FRAME, 60 * FRAME, 90 * FRAME], abs=slack)
    rolled = await read(made.hide_captions(start, tmp_path / f"rolled-{name}", ROLL_UP), tmp_path)
    assert texts(rolled) == ["One here", "two there"]
    assert times(rolled) == pytest.approx([11 * FRAME, 47 * FRAME, 51 * FRAME, 82 * FRAME], abs=slack)


async def test_the_sample_carries_what_ffmpeg_finds_in_it(film: Path, tmp_path: Path) -> None:
    """An independent reader: FFmpeg's H.264 decoder, and its decoder of captions."""
    path = made.hide_captions(film, tmp_path / "film.mp4", POP_ON)
    with av.open(str(path)) as source:
        frames = list(source.decode(video=0))
    carried = []
    for frame in frames:
        data: Any = frame.side_data
        carried.append(bytes(data.get("A53_CC")))
    assert [content[:3] for content in carried] == [
        made.to_triplets(POP_ON.get(number, made.PADDING)) for number in range(len(frames))
    ]
    decoder: Any = av.CodecContext.create("cc_dec", "r")
    said = []
    for number, content in enumerate(carried):
        packet: Packet[Any] = av.Packet(content)
        packet.pts = packet.dts = number
        said += [(number, bytes(line.ass)) for line in decoder.decode2(packet) or ()]
    assert [number for number, _ in said] == [60, 90], "it gives words with the picture that clears them"
    assert [b"this is it." in text for _, text in said] == [True, False]


async def test_a_quicktime_track_is_read_to_the_frame(film: Path, tmp_path: Path) -> None:
    path = made.caption_track(tmp_path / "film.mov", POP_ON, film)
    tick = 1001 / 30000
    found = await read(path, tmp_path)
    assert texts(found) == ["Good evening,\nthis is it.", "And that."]
    assert times(found) == pytest.approx([25 * tick, 60 * tick, 60 * tick, 90 * tick], abs=0.002)


async def test_a_track_wins_and_an_empty_one_gives_way(film: Path, tmp_path: Path) -> None:
    hidden = made.hide_captions(film, tmp_path / "hidden.mp4", POP_ON)
    both = add_captions(hidden, tmp_path / "both.mkv", Track("subrip", [(1, 2, "a track")]))
    assert texts(await read(both, tmp_path)) == ["a track"]
    empty = add_captions(hidden, tmp_path / "empty.mkv", Track("subrip", [(1, 2, "<i> </i>")]))
    found = await read(empty, tmp_path)
    assert texts(found) == ["Good evening,\nthis is it.", "And that."]
    assert times(found)[0] == pytest.approx(25 * FRAME, abs=FRAME / 2)


async def test_padding_says_nothing_and_a_second_field_counts(film: Path, tmp_path: Path) -> None:
    padded = made.hide_captions(film, tmp_path / "padded.mp4", {})
    assert await read(padded, tmp_path) == "the pictures carry captions that say nothing"
    second = made.hide_captions(film, tmp_path / "second.mp4", POP_ON, 1)
    found = await read(second, tmp_path)
    assert isinstance(found, Transcript)
    assert found.origin == "in the pictures, EIA-608 CC3"


async def test_a_probe_counts_captions_in_the_pictures(film: Path, tmp_path: Path) -> None:
    hidden = made.hide_captions(film, tmp_path / "hidden.mp4", POP_ON)
    technical = TechnicalProcessor(limits=Limits(), work_dir=tmp_path)
    counts = []
    for each in (film, hidden):
        fd = os.open(each, os.O_RDONLY)
        counts.append((await technical.probe(fd)).caption_tracks)
        os.close(fd)
    assert counts == [0, 1]


def test_of_a_film_without_captions_only_the_first_packets_are_read(film: Path, tmp_path: Path) -> None:
    late = made.hide_captions(film, tmp_path / "some.mp4", POP_ON, most=10)
    for path, most in ((film, hidden_captions.LOOKED_AT), (late, 200)):
        fd = os.open(path, os.O_RDONLY)
        seen: list[float] = []
        with open_media(fd, Bounds(1 << 30, 1e9)) as medium:
            hidden_captions.read_hidden_captions(medium, seen.append, is_moved=False)
        os.close(fd)
        assert (len(seen) <= most) is True
        assert (len(seen) == hidden_captions.LOOKED_AT) is (path == film)
