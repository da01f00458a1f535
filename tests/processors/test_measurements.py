"""What follows from series of measurements."""

from __future__ import annotations

import math
from array import array
from pathlib import Path

import pytest

from tests.processors.conftest import Technical
from vvwatch.core.segments import Boundary, Silence
from vvwatch.processors.media import measurements as measure
from vvwatch.processors.media.measurements import Pictures, Sounds

pytestmark = pytest.mark.anyio


def sampled(shift: list[float], luma: list[float] | None = None, dark: list[float] | None = None) -> Pictures:
    """Four samples a second."""
    times = array("d", (index / 4 for index in range(len(shift))))
    return Pictures(
        sample_times=times, shift=array("f", shift), luma=array("f", luma or []), dark=array("f", dark or [])
    )


def heard(values: list[float]) -> Sounds:
    """Ten windows a second, the first of which begins before the sound does."""
    times = array("d", ((index - 3) / 10 for index in range(len(values))))
    return Sounds(times=times, momentary=array("f", values))


def cut(at: float, strength: float = 20) -> Boundary:
    return Boundary(at, "cut", strength)


def test_a_flash_is_one_shot_change() -> None:
    pictures = Pictures(cuts=[cut(4.0, 30), cut(4.1, 45), cut(9.0)])

    assert measure.find_shot_changes(pictures) == (cut(4.0, 45), cut(9.0))


def test_a_passing_shift_of_colours_is_a_dissolve() -> None:
    shift = [0.0] * 20 + [0.4, 0.5, 0.7, 0.8, 0.7, 0.5, 0.4] + [0.0] * 20

    (found,) = measure.find_shot_changes(sampled(shift))

    assert found.cause == "dissolve"
    assert found.at_seconds == pytest.approx(5.25)
    assert found.strength == pytest.approx(80, abs=0.1)


@pytest.mark.parametrize(
    "shift",
    [
        [0.0] * 20 + [0.4] * 6 + [0.0] * 20,  # too weak
        [0.0] * 20 + [0.8] * 20 + [0.0] * 20,  # a pan that goes on and on
    ],
)
def test_other_shifts_are_not_dissolves(shift: list[float]) -> None:
    assert measure.find_shot_changes(sampled(shift)) == ()


def test_a_shift_that_a_cut_explains_is_no_dissolve() -> None:
    pictures = sampled([0.0] * 20 + [0.9] * 4 + [0.0] * 20)
    pictures.cuts.append(cut(4.9))

    assert measure.find_shot_changes(pictures) == (cut(4.9),)


def test_loudness_is_gated() -> None:
    quiet_and_loud = heard([-math.inf] * 3 + [-20.0] * 50 + [-45.0] * 50 + [-80.0] * 50)

    assert measure.integrated_loudness(quiet_and_loud, 0, 15) == -20
    assert measure.integrated_loudness(quiet_and_loud, 6, 9) == -45
    assert measure.integrated_loudness(quiet_and_loud, 11, 15) is None
    assert measure.integrated_loudness(quiet_and_loud, 0, 0.2) is None


def test_silence_is_a_share() -> None:
    sounds = Sounds(silences=[Silence(1, 3), Silence(8, 12)])

    assert measure.silence_ratio(sounds, 0, 10) == 0.4
    assert measure.silence_ratio(sounds, 9, 11) == 1
    assert measure.silence_ratio(sounds, 5, 5) is None


def test_pictures_are_averaged_within_their_stretch() -> None:
    pictures = sampled([0.0] * 8, luma=[16.0] * 4 + [100.0] * 4, dark=[1.0] * 4 + [0.1] * 4)

    assert measure.mean_luma(pictures, 0, 1) == 16
    assert measure.mean_luma(pictures, 0, 2) == 58
    assert measure.black_ratio(pictures, 0, 2) == 0.5
    assert measure.black_ratio(pictures, 5, 6) is None


def test_the_step_into_a_segment_is_not_its_motion() -> None:
    pictures = Pictures(times=array("d", [0, 1, 2, 3]), motion=array("f", [40, 0, 0, 3]))

    assert measure.mean_motion(pictures, 0, 4) == 1
    assert measure.frozen_ratio(pictures, 0, 4) == pytest.approx(0.667, abs=0.001)


@pytest.mark.parametrize("transition", ["fade", "fadeblack"])
async def test_dissolves_are_found_in_video(technical: Technical, tmp_path: Path, transition: str) -> None:
    path = dissolving(tmp_path / "dissolve.mp4", transition)

    result = await technical.process(path)

    assert [s.metadata["opened_by"] for s in result.segments] == ["start", "dissolve"]
    assert result.segments[1].start_time == pytest.approx(4.5, abs=0.25)


def dissolving(path: Path, transition: str) -> Path:
    """Nine seconds with one transition of a second from 4 to 5 s."""
    import av
    from av.filter import Graph
    from av.video.frame import PictureType

    graph = Graph()
    inputs = [graph.add("testsrc2", "s=160x90:r=25"), graph.add("mandelbrot", "s=160x90:r=25")]
    mixer = graph.add("xfade", f"transition={transition}:duration=1:offset=4")
    sink = graph.add("buffersink")
    for place, pattern in enumerate(inputs):
        chain = [pattern, graph.add("format", "yuv420p"), graph.add("settb", "1/25")]
        graph.link_nodes(*chain)
        chain[-1].link_to(mixer, 0, place)
    mixer.link_to(sink)
    graph.configure(auto_buffer=False)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for _ in range(225):
            frame = sink.pull()
            assert isinstance(frame, av.VideoFrame)
            frame.pict_type = PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
