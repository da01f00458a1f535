"""Which pictures and which sounds are taken out of media, seen and heard by what is in them."""

from __future__ import annotations

import io
import wave
from array import array
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from tests import samples
from tests.processors.conftest import Shelf
from tests.processors.recordings import heard_between, record, spaced
from tests.processors.test_cutting import Scissors, Taken, scissors
from vvwatch.core.media import Plan, Probe

pytestmark = pytest.mark.anyio
__all__ = ["scissors"]

STEP = 3
"""So much brighter is each picture than the one before."""


def numbered(
    path: Path,
    moments: Sequence[float],
    codec: str = "libx264",
    *,
    options: Mapping[str, str] | None = None,
    aspect: Fraction | None = None,
    rotation: int = 0,
    rate: int = 25,
    sounds: Sequence[float] = (),
) -> Path:
    """A video whose pictures appear at `moments`, each a shade brighter than the one before, over and over."""
    ticks = 1000 if codec.startswith("lib") and path.suffix != ".avi" else rate
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=rate, options=dict(options or {}))
        stream.width, stream.height = 160, 90
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, ticks)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(-rotation)
        heard: Any = out.add_stream("aac", rate=48_000, layout="mono") if sounds else None
        for number, at in enumerate(moments):
            frame = av.VideoFrame(160, 90, "yuv420p")
            for index, plane in enumerate(frame.planes):
                plane.update(bytes([128 if index else shade(number)]) * plane.buffer_size)
            frame.pts, frame.time_base = round(at * ticks), Fraction(1, ticks)
            out.mux(stream.encode(frame))
        for at in sounds:
            tone = av.AudioFrame(format="fltp", layout="mono", samples=960)
            tone.planes[0].update(array("f", [0.5, -0.5] * 480).tobytes())
            tone.sample_rate, tone.pts, tone.time_base = 48_000, round(at * 48_000), Fraction(1, 48_000)
            out.mux(heard.encode(tone))
        for each in [stream, *([heard] if sounds else [])]:
            out.mux(each.encode(None))
    return path


def shade(number: int) -> int:
    return 20 + number * STEP % 201


def shades(taken: Taken) -> list[int]:
    """The brightness of each frame, as the video had it."""
    found = []
    for content in taken.frames:
        with av.open(io.BytesIO(content), "r") as container:
            luma = bytes(next(container.decode(video=0)).planes[0])[0]
        found.append(round(luma * 219 / 255 + 16))
    return found


def shown(moments: Sequence[float], at: float) -> int:
    """The brightness of the picture that is shown at a moment."""
    return shade(max(number for number, moment in enumerate(moments) if moment <= at + 0.001))


def planned(*spans: tuple[float, float], shots: Sequence[float] = ()) -> Plan:
    return Plan(spans, probe=Probe("video", "mp4", spans[-1][1]), shots=tuple(shots))


TEN = spaced(10, 25)
KINDS = {
    "plain.mp4": ("libx264", {"bf": "0", "g": "12"}),
    "reordered.mp4": ("libx264", {"preset": "veryfast", "bf": "3", "g": "250"}),
    "open.mp4": ("libx264", {"preset": "veryfast", "bf": "3", "x264-params": "open-gop=1:keyint=20"}),
    "refreshed.ts": ("libx264", {"preset": "veryfast", "x264-params": "intra-refresh=1:keyint=25"}),
    "reordered.mkv": ("libx264", {"preset": "veryfast", "bf": "3", "g": "50"}),
    "reordered.ts": ("libx264", {"preset": "veryfast", "bf": "3", "g": "50"}),
    "hevc.mp4": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none:keyint=60"}),
    "av1.mkv": ("libsvtav1", {"preset": "12", "g": "50"}),
    "vp9.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "50"}),
    "vp8.webm": ("libvpx", {"deadline": "realtime", "cpu-used": "8"}),
    # FFmpeg guesses most time stamps of a program stream, some of them wrong.
    "old.mpg": ("mpeg2video", {"bf": "2", "g": "12", "qscale": "2", "flags": "+qscale"}),
    "divx.avi": ("mpeg4", {"bf": "0", "g": "40", "qscale": "2", "flags": "+qscale"}),
    "photos.mov": ("mjpeg", {"qscale": "2", "flags": "+qscale"}),
}


@pytest.mark.parametrize("name", sorted(KINDS.keys() - {"refreshed.ts"}))
async def test_the_picture_is_the_one_that_is_shown(scissors: Scissors, tmp_path: Path, name: str) -> None:
    codec, options = KINDS[name]
    path = numbered(tmp_path / name, TEN, codec, options=options)
    plan = planned((0, 4), (4, 8), (8, 10))

    taken = await scissors.take(path, plan, frames=4)

    for (start, end), one in zip(plan.spans, taken.values(), strict=True):
        wanted = [start + (end - start) * (n + 0.5) / 4 for n in range(4)]
        assert one.moments == pytest.approx(wanted, abs=0.121 if name == "old.mpg" else 0.041)
        brightness = [shown(TEN, at) for at in one.moments]
        assert shades(one) == pytest.approx(brightness, abs=3 * STEP if name == "old.mpg" else 2)


@pytest.mark.parametrize("name", KINDS)
async def test_the_same_frames_come_in_each_life(scissors: Scissors, tmp_path: Path, name: str) -> None:
    codec, options = KINDS[name]
    path = numbered(tmp_path / name, TEN, codec, options=options)
    plan = planned(*((start, start + 2) for start in range(0, 10, 2)), shots=(1.3, 3.1, 8.5))

    whole = await scissors.take(path, plan, frames=3)
    rest = await scissors.take(path, plan, 1, 3, 4, frames=3)
    last = await scissors.take(path, plan, 4, frames=3)

    assert [whole[1], whole[3], whole[4]] == list(rest.values())
    assert last[4] == whole[4]


async def test_a_picture_that_is_built_up_over_a_second_is_whole(scissors: Scissors, tmp_path: Path) -> None:
    """Where no picture stands by itself, the next one that is complete is taken."""
    codec, options = KINDS["refreshed.ts"]
    path = numbered(tmp_path / "refreshed.ts", TEN, codec, options=options)

    taken = await scissors.take(path, planned((4, 8)), frames=2)

    assert taken[0].moments == pytest.approx([5, 7], abs=1)
    assert shades(taken[0]) == pytest.approx([shown(TEN, at) for at in taken[0].moments], abs=2)


async def test_a_slide_is_shown_until_the_next_one(scissors: Scissors, tmp_path: Path) -> None:
    """However long ago it appeared; the last one for as long as it is said to last."""
    slides = [0, 7, 7.5, 30, 31]
    path = numbered(tmp_path / "slides.mp4", slides)

    taken = await scissors.take(path, planned((0, 6), (6, 10), (10, 20), (29, 32)), frames=2)

    assert [shades(one) for one in taken.values()] == [
        [shade(0)],
        [shade(1), shade(2)],
        [shade(2)],
        [shade(2), shade(4)],
    ]
    assert [one.moments for one in taken.values()] == [[0], [7, 7.5], [10], [29, 31]]


async def test_where_the_pictures_end_before_the_sound_there_are_none(
    scissors: Scissors, tmp_path: Path
) -> None:
    path = numbered(tmp_path / "short.mp4", spaced(4, 25), sounds=heard_between((0, 10)))

    taken = await scissors.take(path, planned((0, 5), (5, 10)), frames=2, sound=True)

    assert [len(one.frames) for one in taken.values()] == [2, 0]
    assert taken[1].warning == "no picture could be decoded between 5.0 s and 10.0 s"
    assert [one.seconds for one in taken.values()] == pytest.approx([5, 5], abs=0.05)


async def test_where_the_pictures_begin_late_there_are_none_before(
    scissors: Scissors, tmp_path: Path
) -> None:
    path = record(tmp_path / "late.mkv", spaced(4, 25, 4), [heard_between((0, 8))])

    taken = await scissors.take(path, planned((0, 3), (3, 8)), frames=2, sound=True)

    assert [one.moments for one in taken.values()] == [[], pytest.approx([4.25, 6.75], abs=0.05)]
    assert [one.seconds for one in taken.values()] == pytest.approx([3, 5], abs=0.05)


async def test_a_moment_has_one_frame_however_many_are_wanted(scissors: Scissors, tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.mp4", TEN)

    taken = await scissors.take(path, planned((1, 1.08), (2, 2)), frames=5)

    assert [one.moments for one in taken.values()] == [[1, 1.04], [2]]


async def test_far_places_are_found_without_decoding_what_lies_between(
    scissors: Scissors, tmp_path: Path
) -> None:
    moments = spaced(120, 10)
    for name in ("far.mp4", "far.mkv", "far.ts"):
        path = numbered(tmp_path / name, moments, options={"g": "30", "bf": "0"}, rate=10)

        taken = await scissors.take(path, planned((0, 1), (61, 62), (118, 119)), 1, 2, frames=1)

        assert [shades(one)[0] for one in taken.values()] == pytest.approx(
            [shown(moments, at) for one in taken.values() for at in one.moments], abs=2
        )
        assert [one.moments[0] for one in taken.values()] == pytest.approx([61.5, 118.5], abs=0.11)


@pytest.mark.parametrize(("rotation", "size"), [(0, (160, 90)), (90, (90, 160)), (270, (90, 160))])
async def test_frames_are_turned_as_displayed(
    scissors: Scissors, tmp_path: Path, rotation: int, size: tuple[int, int]
) -> None:
    path = record(tmp_path / "phone.mp4", spaced(1), rotation=rotation)

    taken = await scissors.take(path, planned((0, 1)), frames=1)

    assert taken[0].sizes == [size]


@pytest.mark.parametrize(
    ("aspect", "width", "size"),
    [
        (Fraction(64, 45), 640, (228, 90)),
        (Fraction(64, 45), 114, (114, 45)),
        (Fraction(1, 2), 640, (160, 180)),
        (Fraction(1, 2), 40, (40, 45)),
        (Fraction(10_000, 1), 640, (160, 90)),
        (None, 80, (80, 45)),
    ],
)
async def test_frames_have_the_proportions_of_the_display(
    scissors: Scissors, tmp_path: Path, aspect: Fraction | None, width: int, size: tuple[int, int]
) -> None:
    path = numbered(tmp_path / "wide.mkv", spaced(1), aspect=aspect)

    taken = await scissors.take(path, planned((0, 1)), frames=1, width=width)

    assert taken[0].sizes == [size]


async def test_a_tower_of_a_picture_is_not_taller_than_twice_the_width(
    scissors: Scissors, tmp_path: Path
) -> None:
    path = samples.image(tmp_path / "tower.png", (100, 4000))

    taken = await scissors.take(path, await scissors.plan(path), frames=1, width=640)

    assert taken[0].sizes == [(32, 1280)]


def samples_of(sound: bytes | None) -> array[int]:
    with wave.open(io.BytesIO(sound or b"")) as file:
        return array("h", file.readframes(file.getnframes()))


def loudness(values: Sequence[int]) -> float:
    return sum(map(abs, values)) / max(1, len(values)) / 32768


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.ogg", "a.m4a", "a.opus", "a.wma", "a.mka"])
async def test_the_sound_is_that_of_the_segment_in_each_life(
    scissors: Scissors, tmp_path: Path, name: str
) -> None:
    path = samples.audio(tmp_path / name, 6, silences=((1, 2), (4, 5)))
    plan = planned((0, 1), (1, 2), (2, 3.5), (3.5, 4), (4, 5), (5, 5.9))

    whole = await scissors.take(path, plan, sound=True)
    rest = await scissors.take(path, plan, 2, 4, 5, sound=True)

    for ordinal, (start, end) in enumerate(plan.spans):
        values = samples_of(whole[ordinal].sound)
        assert len(values) / 16_000 == pytest.approx(end - start, abs=0.08)
        is_silent = ordinal in (1, 4)
        assert (loudness(values[1600:-1600]) < 0.01) == is_silent
    assert [whole[2], whole[4], whole[5]] == list(rest.values())


async def test_a_gap_in_the_sound_is_silent_and_what_follows_is_in_step(
    scissors: Scissors, tmp_path: Path
) -> None:
    path = record(tmp_path / "gap.mkv", spaced(4, 25), [heard_between((0, 1), (2.5, 4))])

    taken = await scissors.take(path, planned((0, 4)), sound=True)

    values = samples_of(taken[0].sound)
    assert len(values) == pytest.approx(64_000, abs=800)
    assert loudness(values[:15_000]) > 0.1
    assert loudness(values[18_000:38_000]) < 0.01
    assert loudness(values[42_000:]) > 0.1


async def test_sound_that_begins_late_is_in_step(scissors: Scissors, tmp_path: Path) -> None:
    path = record(tmp_path / "late.mp4", spaced(4, 25), [heard_between((2, 4))])

    taken = await scissors.take(path, planned((0, 1), (1, 4)), sound=True)

    assert (taken[0].sound, taken[0].warning) == (None, "no sound could be decoded between 0.0 s and 1.0 s")
    values = samples_of(taken[1].sound)
    assert loudness(values[:15_000]) < 0.01 < loudness(values[18_000:])


async def test_the_track_that_was_measured_is_the_one_that_is_heard(
    scissors: Scissors, tmp_path: Path
) -> None:
    tracks = [heard_between((0, 4)), heard_between((0, 4))]
    path = record(tmp_path / "two.mkv", spaced(4), tracks, levels=[0.0, 0.3])
    plan = await scissors.plan(path)

    taken = await scissors.take(path, plan, sound=True)

    assert plan.sound_track == 2
    assert loudness(samples_of(taken[0].sound)) > 0.1


async def test_mute_video_has_no_sound_and_no_warning(scissors: Scissors, shelf: Shelf) -> None:
    path = shelf.video("mute.mp4", audio=False)
    plan = await scissors.plan(path)

    taken = await scissors.take(path, plan, frames=1, sound=True)

    assert (plan.sound_track, taken[0].sound, taken[0].warning) == (None, None, None)


@pytest.mark.parametrize("extension", ["mp4", "mkv", "ts", "webm", "avi", "mpg"])
async def test_half_a_file_gives_what_there_is_of_it(
    scissors: Scissors, shelf: Shelf, tmp_path: Path, extension: str
) -> None:
    options = {"movflags": "+faststart"} if extension == "mp4" else None
    whole = shelf.video(f"ten.{extension}", seconds=10, container_options=options)
    path = samples.truncated(whole, tmp_path / f"half.{extension}", 0.5)

    plan = await scissors.plan(path, video_segmentation_type="fixed", video_segment_duration=2)
    taken = await scissors.take(path, plan, frames=1, width=40, sound=True)
    beyond = await scissors.take(path, planned((0, 1), (8, 10)), 1, frames=2, sound=True)

    assert 2 < plan.spans[-1][1] < 9
    assert all(one.frames and one.warning is None for one in list(taken.values())[:-1])
    assert beyond[1].frames == []
    assert beyond[1].warning == "no picture and no sound could be decoded between 8.0 s and 10.0 s"


async def test_a_hole_costs_what_lies_in_it(scissors: Scissors, shelf: Shelf, tmp_path: Path) -> None:
    options = {"movflags": "+faststart"}
    whole = shelf.video("ten.mp4", seconds=10, container_options=options)
    path = samples.holed(whole, tmp_path / "holed.mp4", 0.4, 0.6)

    plan = await scissors.plan(path, video_segmentation_type="fixed", video_segment_duration=1)
    taken = await scissors.take(path, plan, frames=1, sound=True)

    assert plan.damage
    assert len(taken) == len(plan.spans)
    assert all(one.frames for ordinal, one in taken.items() if ordinal < 3)


async def test_an_animation_shows_its_first_picture(scissors: Scissors, tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    first, *others = [Image.new("L", (160, 90), 50 + 50 * number) for number in range(4)]
    first.save(path, save_all=True, append_images=others, duration=100)
    plan = await scissors.plan(path)

    taken = await scissors.take(path, plan, frames=4)

    assert plan.spans == ((0, 0),)
    assert shades(taken[0]) == pytest.approx([50 * 219 / 255 + 16], abs=2)


HDR = {"color_primaries": 9, "color_trc": 16, "colorspace": 9}
ODD = {"color_primaries": 22, "color_trc": 17, "colorspace": 14}


@pytest.mark.parametrize(("tags", "pixels"), [(HDR, "yuv420p10le"), (ODD, "yuv420p"), (HDR, "yuv420p")])
async def test_tags_of_colour_do_no_harm(
    scissors: Scissors, tmp_path: Path, tags: Mapping[str, int], pixels: str
) -> None:
    path = record(tmp_path / "hdr.mp4", spaced(1), tags=tags, pixels=pixels)

    taken = await scissors.take(path, planned((0, 1)), frames=2)

    assert (len(taken[0].frames), taken[0].warning) == (2, None)
