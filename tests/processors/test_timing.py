"""The exact rate, the first timecode and the first picture, as containers state them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.video.frame import PictureType

from tests import samples
from tests.processors.conftest import Technical, opened
from vvwatch.core.media import Probe
from vvwatch.core.timecode import Counting, frame_at
from vvwatch.formats.timing import timing_of
from vvwatch.processors.media.opening import Bounds, open_media, probe_container
from vvwatch.processors.media.probing import probe_from_survey
from vvwatch.processors.media.sample_clips import generate_pattern
from vvwatch.processors.media.survey import survey_medium
from vvwatch.processors.media.timing import is_rate_met

ANY = Bounds(max_pixels=1 << 30, max_seconds=1e9)
TAGS = {"movflags": "use_metadata_tags"}
CODECS = {"mxf": "mpeg2video", "avi": "mpeg4"}


def write_film(
    path: Path,
    rate: str = "25",
    timecode: str | None = None,
    *,
    tag: str | None = None,
    options: Mapping[str, str] | None = None,
    at: Callable[[int], int] = lambda frame: frame,
) -> Path:
    """50 frames at `rate`, the frame number n at the tick `at(n)` of a clock with `rate` ticks a second."""
    with av.open(str(path), "w", options=dict(options or {})) as container:
        codec = CODECS.get(path.suffix[1:], "libx264")
        stream: Any = container.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        stream.codec_context.time_base = 1 / Fraction(rate)
        if timecode:
            stream.metadata["timecode"] = timecode
        if tag:
            container.metadata["timecode"] = tag
        for number, frame in zip(range(50), generate_pattern("testsrc2", (160, 90), 25), strict=False):
            frame.pts, frame.time_base, frame.pict_type = at(number), 1 / Fraction(rate), PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def probe(path: Path) -> Probe:
    with opened(path) as fd, open_media(fd, ANY) as medium:
        return probe_container(medium)


@pytest.mark.parametrize(
    "rate", ["24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60", "25/2"]
)
@pytest.mark.parametrize("ending", ["mov", "mkv", "ts"])
def test_a_constant_rate_is_exact(tmp_path: Path, rate: str, ending: str) -> None:
    found = probe(write_film(tmp_path / f"film.{ending}", rate))
    assert found.frame_rate_exact == rate
    assert found.frame_rate == round(float(Fraction(rate)), 3)
    assert found.start_timecode is None


def vary(number: int) -> int:
    return 4 * number + 3 * (number % 2)


def test_a_rate_that_varies_is_not_exact(tmp_path: Path) -> None:
    found = probe(write_film(tmp_path / "film.mp4", "100", at=vary))
    assert found.frame_rate_exact is None
    assert found.frame_rate


@pytest.mark.parametrize(("at", "rate"), [(vary, None), (lambda number: number, "100")])
def test_a_header_may_state_a_rate_that_the_pictures_do_not_keep(
    tmp_path: Path, at: Callable[[int], int], rate: str | None
) -> None:
    film = write_film(tmp_path / "film.mkv", "100", at=at)
    assert probe(film).frame_rate_exact == "100"
    with opened(film) as fd, open_media(fd, ANY) as medium:
        found = probe_from_survey(medium, survey_medium(medium, ANY, lambda _: None))
    assert found.frame_rate_exact == rate


@pytest.mark.parametrize(
    ("name", "rate", "timecode"),
    [
        ("film.mov", "30000/1001", "01:00:00;02"),
        ("film.mp4", "24000/1001", "10:00:00:23"),
        ("film.mkv", "25", "09:59:50:24"),
        ("film.mxf", "25", "01:00:00:07"),
        ("film.mov", "60000/1001", "23:59:59;59"),
    ],
)
def test_the_first_timecode_is_read(tmp_path: Path, name: str, rate: str, timecode: str) -> None:
    found = probe(write_film(tmp_path / name, rate, timecode))
    timing = timing_of(asdict(found))
    assert (found.start_timecode, timing.notes) == (timecode, ())
    assert timing.start_frame is not None
    assert Counting(Fraction(rate), timing.drop_frame).to_text(timing.start_frame) == timecode


@pytest.mark.parametrize("tag", ["ten past one", "99:99:99:99", "01:00:00:00" * 2, "-1:00:00:00"])
def test_a_tag_that_is_no_timecode_is_passed_over(tmp_path: Path, tag: str) -> None:
    assert probe(write_film(tmp_path / "film.mkv", tag=tag)).start_timecode is None


@pytest.mark.anyio
async def test_a_timecode_track_counts_more_than_a_tag_that_disagrees(
    technical: Technical, tmp_path: Path
) -> None:
    film = write_film(tmp_path / "film.mov", tag="09:00:00:00", options=TAGS)
    content = film.read_bytes()
    assert content.count(b"09:00:00:00") == 1  # the track holds a number
    film.write_bytes(content.replace(b"09:00:00:00", b"08:00:00:00"))
    result = await technical.process(film)
    assert result.probe is not None
    assert result.probe.start_timecode == "09:00:00:00"
    assert (
        "the timecode track begins at 09:00:00:00, a tag says 08:00:00:00: the track counts"
        in result.warnings
    )
    assert not result.damage


def test_pictures_may_begin_after_the_sound(tmp_path: Path) -> None:
    late = tmp_path / "late.mkv"
    with (
        av.open(str(samples.video(tmp_path / "film.mkv", 1))) as source,
        av.open(str(late), "w") as container,
    ):
        copies: dict[int, Any] = {
            stream.index: container.add_stream_from_template(stream) for stream in source.streams
        }
        for packet in source.demux():
            if packet.dts is not None:
                is_picture = packet.stream.type == "video"
                packet.pts, packet.dts = ((packet.pts or 0) + 80 * is_picture, packet.dts + 80 * is_picture)
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    assert probe(late).first_picture_seconds == pytest.approx(0.08, abs=0.002)
    assert probe(tmp_path / "film.mkv").first_picture_seconds == pytest.approx(0, abs=0.03)


def test_sound_and_pictures_have_no_rate(tmp_path: Path) -> None:
    for path in (samples.audio(tmp_path / "sound.wav", 1), samples.image(tmp_path / "picture.png")):
        found = probe(path)
        assert (found.frame_rate_exact, found.start_timecode, found.first_picture_seconds) == (
            None,
            None,
            None,
        )


def test_a_picture_out_of_place_does_not_change_the_rate(tmp_path: Path) -> None:
    film = samples.video(tmp_path / "film.avi", 2)
    with opened(film) as fd, open_media(fd, ANY) as medium:
        found = probe_from_survey(medium, survey_medium(medium, ANY, lambda _: None))
    assert found.frame_rate_exact == "25"


@pytest.mark.parametrize(
    ("steps", "met"),
    [((1000, 40.0), True), ((1000, 20.0), True), ((990, 40.0), False), (None, True), ((0, 0.0), True)],
)
def test_a_rate_is_met_by_frames_and_by_fields(steps: tuple[int, float] | None, met: bool) -> None:
    assert is_rate_met("25", steps) is met
    assert is_rate_met(None, steps)


@pytest.mark.anyio
@pytest.mark.parametrize("ending", ["mp4", "ts", "mkv", "flv"])
async def test_cuts_are_exact_to_the_frame(technical: Technical, tmp_path: Path, ending: str) -> None:
    film = samples.video(tmp_path / f"film.{ending}", 9, cuts=(3, 6.1), frame_rate=30)
    result = await technical.process(film)
    assert result.probe is not None
    timing = timing_of(asdict(result.probe))
    assert timing.rate == 30
    starts = [
        frame_at(each.start_time - timing.first_picture_seconds, timing.counted_at)
        for each in result.segments
    ]
    assert [max(0, start) for start in starts] == [0, 90, 183]
