"""What is valid is never called damaged, however odd it is; the odd is said as what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from tests import samples
from tests.processors.conftest import Shelf, Technical
from tests.processors.recordings import heard_between, record, spaced, trimmed, with_subtitle
from vvwatch.core.media import ProcessingResult
from vvwatch.processors.media import graphs

pytestmark = pytest.mark.anyio

FOUR = spaced(4)
TONE = heard_between((0, 4))
STILL = [at for at in spaced(18) if at < 4 or at >= 14]


def sound_and(result: ProcessingResult, seconds: float) -> None:
    assert result.damage == ()
    assert result.segments[-1].end_time == pytest.approx(seconds, abs=0.11)
    assert result.probe is not None
    assert result.probe.duration_seconds == result.segments[-1].end_time


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("empty-sound.mkv", {"pictures": FOUR, "sounds": [()]}),
        ("empty-sound.webm", {"pictures": FOUR, "sounds": [()], "codec": "libvpx", "sound_codec": "libopus"}),
        ("empty-sound.avi", {"pictures": FOUR, "sounds": [()], "codec": "mpeg4", "sound_codec": "mp2"}),
        ("empty-sound-first-of-two.mkv", {"pictures": FOUR, "sounds": [(), TONE]}),
        ("empty-pictures.mkv", {"sounds": [TONE]}),
        ("late-sound.mp4", {"pictures": FOUR, "sounds": [heard_between((2.5, 4))]}),
        ("late-pictures.mkv", {"pictures": spaced(1.5, 10, 2.5), "sounds": [TONE]}),
        ("early-end-of-sound.mkv", {"pictures": FOUR, "sounds": [heard_between((0, 1))]}),
        ("early-end-of-pictures.mp4", {"pictures": spaced(1), "sounds": [TONE]}),
    ],
)
async def test_a_track_may_be_empty_or_begin_late_or_end_early(
    technical: Technical, tmp_path: Path, name: str, wanted: dict[str, Any]
) -> None:
    sound_and(await technical.process(record(tmp_path / name, **wanted)), 4)


async def test_an_empty_track_in_fragments_is_not_damaged(technical: Technical, tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"}
    path = record(tmp_path / "live.mp4", FOUR, [()], container_options=options)

    sound_and(await technical.process(path), 4)


@pytest.mark.parametrize(
    ("name", "wanted", "seconds"),
    [
        ("screen.mkv", {"pictures": STILL}, 18),
        ("screen.mp4", {"pictures": STILL}, 18),
        ("screen-reordered.mp4", {"pictures": STILL, "options": {"bf": "3", "b_strategy": "0"}}, 18),
        ("screen.webm", {"pictures": STILL, "codec": "libvpx"}, 18),
        (
            "muted-call.mkv",
            {
                "pictures": STILL,
                "sounds": [heard_between((0, 4), (14, 18))],
                "sound_codec": "libopus",
            },
            18,
        ),
        (
            "muted.mka",
            {"codec": "", "sounds": [heard_between((0, 2), (9, 11))], "sound_codec": "libopus"},
            11,
        ),
        ("slides.mp4", {"pictures": [0, 10, 20, 30], "rate": 1}, 31),
        ("slides-uneven.mkv", {"pictures": [0, 5, 12, 20, 24, 40]}, 41),
        ("time-lapse.mp4", {"pictures": spaced(8, 0.5)}, 6.1),
    ],
)
async def test_gaps_in_time_are_no_holes(
    technical: Technical, tmp_path: Path, name: str, wanted: dict[str, Any], seconds: float
) -> None:
    result = await technical.process(record(tmp_path / name, **wanted))

    assert result.damage == ()
    assert result.segments[-1].end_time == pytest.approx(seconds, abs=1.1 if "slides" in name else 0.11)


async def test_a_long_gap_is_told_as_a_warning(technical: Technical, tmp_path: Path) -> None:
    wanted = heard_between((0, 4), (14, 18))
    path = record(tmp_path / "mute.mkv", STILL, [wanted], sound_codec="libopus")

    warnings = (await technical.process(path)).warnings

    assert [warning.split(" between ")[0] for warning in warnings] == ["no picture", "no sound"]
    assert "4.0 s" in warnings[0]
    assert "14.0 s" in warnings[0]


@pytest.mark.parametrize(("start", "end"), [(0, 2), (1, 3), (1.3, 4)])
@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "3", "g": "250"}])
async def test_what_an_edit_list_leaves_out_is_not_missing(
    technical: Technical, tmp_path: Path, start: float, end: float, options: dict[str, str]
) -> None:
    path = trimmed(record(tmp_path / "trimmed.mp4", FOUR, options=options), start, end)

    result = await technical.process(path)

    sound_and(result, end - start)
    assert (await technical.probe(path)).duration_seconds == result.segments[-1].end_time


COLOURS: dict[str, dict[str, Any]] = {
    "ictcp": {"tags": {"colorspace": 14}},
    "ycgco": {"tags": {"colorspace": 8}},
    "constant luminance": {"tags": {"colorspace": 10}},
    "logarithmic": {"tags": {"color_trc": 9}},
    "reserved": {"tags": {"colorspace": 3, "color_trc": 3, "color_primaries": 3}},
    "hlg": {"tags": {"colorspace": 9, "color_trc": 18, "color_primaries": 9}},
    "ten bits": {"codec": "libx265", "pixels": "yuv420p10le", "options": {"x265-params": "log-level=none"}},
    "alpha": {"codec": "prores_ks", "pixels": "yuva444p10le"},
    "grey": {"codec": "ffv1", "pixels": "gray"},
    "full range": {"codec": "mjpeg", "pixels": "yuvj422p"},
    "rgb": {"codec": "ffv1", "pixels": "bgr0"},
    "sixteen bits": {"codec": "ffv1", "pixels": "gbrp16le"},
}


@pytest.mark.parametrize("name", COLOURS)
async def test_colours_that_a_scaler_does_not_know_are_no_damage(
    technical: Technical, tmp_path: Path, name: str
) -> None:
    extension = "mov" if name in ("alpha", "full range") else "mkv"
    result = await technical.process(record(tmp_path / f"clip.{extension}", FOUR, **COLOURS[name]))

    sound_and(result, 4)
    assert result.warnings == ()
    assert result.segments[0].metadata["mean_luma"] == pytest.approx(128, abs=10)


async def test_brightness_does_not_depend_on_tags_of_colour(technical: Technical, tmp_path: Path) -> None:
    bare = await technical.process(record(tmp_path / "bare.mkv", FOUR))
    tagged = await technical.process(
        record(tmp_path / "hd.mkv", FOUR, tags={"colorspace": 1, "color_range": 1})
    )

    luma = [result.segments[0].metadata["mean_luma"] for result in (bare, tagged)]
    assert luma[0] == pytest.approx(luma[1], abs=0.2)


def test_filters_that_fail_are_a_warning(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, survey_of: Callable[[Path], ProcessingResult]
) -> None:
    monkeypatch.setattr(graphs, "_PICTURE_FILTERS", (("scale", "flags=nonsense"), ("buffersink", "")))

    result = survey_of(shelf.usual("mkv"))

    assert result.damage == ()
    assert result.warnings[0].startswith("the pictures could not be measured: ")
    assert result.segments[0].metadata["mean_luma"] is None
    assert result.segments[0].metadata["loudness_lufs"] is not None


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4"])
@pytest.mark.parametrize("at", [42.0, 36_000.0, 180_000.0])
async def test_a_subtitle_behind_the_end_neither_prolongs_nor_refuses(
    technical: Technical, tmp_path: Path, name: str, at: float
) -> None:
    film = record(tmp_path / "film-alone.mp4", FOUR, [TONE])
    path = tmp_path / name
    if name.endswith("mp4"):
        path = _timed_text(film, path, at)
    else:
        with_subtitle(film, path, [1, at])

    probe, result = await technical.probe(path), await technical.process(path)

    sound_and(result, 4)
    assert probe.duration_seconds == pytest.approx(result.segments[-1].end_time, abs=0.03)


def _timed_text(film: Path, path: Path, at: float) -> Path:
    """`film` with a track of data whose last entry stands at `at` seconds, as cameras and players write it."""
    from fractions import Fraction

    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        text: Any = out.add_stream("mov_text")
        text.codec_context.subtitle_header = b"[Script Info]\n\n[Events]\nFormat: Layer, Start, End, Text\n"
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
        for moment in (1.0, at):
            words: Any = av.Packet(b"\0\5words")
            words.stream, words.time_base = text, Fraction(1, 1000)
            words.pts = words.dts = round(moment * 1000)
            words.duration = 1000
            out.mux(words)
    return path


@pytest.mark.parametrize("start", [36_000.0, 5.0])
@pytest.mark.parametrize("extension", ["mkv", "mp4", "ts"])
async def test_clocks_of_cameras_count_from_their_first_picture(
    technical: Technical, tmp_path: Path, start: float, extension: str
) -> None:
    options = {"output_ts_offset": str(start)}
    sounds = [TONE]
    path = record(tmp_path / f"camera.{extension}", FOUR, sounds, container_options=options)

    probe, result = await technical.probe(path), await technical.process(path)

    sound_and(result, 4)
    assert probe.duration_seconds == pytest.approx(result.segments[-1].end_time, abs=0.03)
    assert result.segments[0].metadata["mean_luma"] is not None


async def test_a_clock_that_begins_anew_goes_on(technical: Technical, tmp_path: Path) -> None:
    one = record(tmp_path / "one.ts", FOUR, [TONE])
    path = tmp_path / "joined.ts"
    path.write_bytes(one.read_bytes() * 2)

    result = await technical.process(path)

    assert result.segments[-1].end_time == pytest.approx(8, abs=0.15)
    assert any("clock restarts" in warning for warning in result.warnings)


@pytest.mark.parametrize("codec", ["libopus", "flac"])
async def test_links_of_chained_ogg_are_told_together(
    technical: Technical, tmp_path: Path, codec: str
) -> None:
    one = record(tmp_path / "one.ogg", (), [TONE], codec="", sound_codec=codec)
    two = record(tmp_path / "two.ogg", (), [heard_between((0, 2))], codec="", sound_codec=codec)
    path = tmp_path / "chained.ogg"
    path.write_bytes(one.read_bytes() + two.read_bytes())

    probe, result = await technical.probe(path), await technical.process(path)

    sound_and(result, 6)
    assert probe.duration_seconds == pytest.approx(6, abs=0.05)
    assert result.warnings[0].startswith("chained: 2 recordings follow one another")


async def test_tags_between_joined_sounds_are_no_damage(technical: Technical, tmp_path: Path) -> None:
    one = samples.audio(
        tmp_path / "one.mp3", 2, container_options={"id3v2_version": "4", "metadata": "title=x"}
    )
    path = tmp_path / "joined.mp3"
    path.write_bytes(one.read_bytes() * 2)

    assert (await technical.process(path)).damage == ()
