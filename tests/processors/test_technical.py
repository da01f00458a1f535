"""What the technical processor finds in sound media, and in what shape it says it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests import samples
from tests.processors.conftest import PROMPT, Shelf, Technical, opened
from vvwatch.core.media import ProcessingResult, RunSettings
from vvwatch.core.objects import MEDIA_TYPES
from vvwatch.errors import InvalidInput, MediaUnreadable
from vvwatch.ports.processing import Prompt
from vvwatch.processors.media.sample_clips import Clip, write_clip
from vvwatch.processors.technical.processor import TECHNICAL_PROMPT, Limits, TechnicalProcessor

pytestmark = pytest.mark.anyio

IMAGE_ONLY = {"jpeg", "tif", "heic", "heif", "avif"}
"""Other names, and the HEIF family: no encoder is at hand; a test of its own below stands in."""
VIDEO = [name for name, kind in MEDIA_TYPES.items() if kind == "video"]
AUDIO = [name for name, kind in MEDIA_TYPES.items() if kind == "audio"]
IMAGE = ["jpg", "png", "webp", "gif", "bmp", "tiff"]


def starts(result: ProcessingResult) -> list[float]:
    return [segment.start_time for segment in result.segments]


def check_schemas(result: ProcessingResult) -> None:
    for segment in result.segments:
        jsonschema.validate(segment.metadata, TECHNICAL_PROMPT["json_schema"])
        assert segment.metadata_text.endswith(".")
    jsonschema.validate(result.metadata, TECHNICAL_PROMPT["video_level"]["json_schema"])


def test_every_format_that_can_be_made_here_is_tried() -> None:
    assert {*VIDEO, *AUDIO, *IMAGE} | IMAGE_ONLY == MEDIA_TYPES.keys()


@pytest.mark.parametrize("extension", VIDEO)
async def test_a_video_is_measured(technical: Technical, shelf: Shelf, extension: str) -> None:
    result = await technical.process(shelf.usual(extension))

    probe = result.metadata["probe"]
    assert (result.damage, result.warnings) == ((), ())
    assert (probe["media_type"], probe["width"], probe["height"], probe["frame_rate"]) == (
        "video",
        160,
        90,
        25,
    )
    assert probe["duration_seconds"] == pytest.approx(4, abs=0.11)
    assert starts(result) == pytest.approx([0, 2], abs=0.1)
    assert result.metadata["counts"] == {"segments": 2, "cuts": 1, "dissolves": 0, "silences": 1}
    assert [s.metadata["silence_ratio"] for s in result.segments] == pytest.approx([0.5, 0], abs=0.05)
    check_schemas(result)


@pytest.mark.parametrize("extension", AUDIO)
async def test_sound_is_measured(technical: Technical, shelf: Shelf, extension: str) -> None:
    result = await technical.process(shelf.usual(extension))

    probe, loudness = result.metadata["probe"], result.metadata["loudness"]
    assert result.damage == ()
    assert (probe["media_type"], probe["sample_rate"], probe["channels"]) == ("audio", 48_000, 2)
    assert result.segments[-1].end_time == pytest.approx(4, abs=0.1)
    assert loudness["integrated_lufs"] == pytest.approx(-13.2, abs=0.5)
    assert loudness["true_peak_dbtp"] == pytest.approx(-12, abs=0.7)
    assert loudness["silence_ratio"] == pytest.approx(0.25, abs=0.02)
    check_schemas(result)


@pytest.mark.parametrize("extension", IMAGE)
async def test_a_picture_is_one_segment(technical: Technical, shelf: Shelf, extension: str) -> None:
    result = await technical.process(shelf.usual(extension))

    assert result.damage == ()
    assert [(s.start_time, s.end_time, s.metadata["opened_by"]) for s in result.segments] == [(0, 0, "start")]
    assert result.segments[0].metadata["mean_luma"] == pytest.approx(110, abs=20)
    assert result.metadata["probe"]["media_type"] == "image"
    assert (result.metadata["probe"]["width"], result.metadata["probe"]["height"]) == (160, 90)
    check_schemas(result)


async def test_a_picture_of_the_heif_family_is_an_image(technical: Technical, shelf: Shelf) -> None:
    path = shelf.video(
        "picture.avif", seconds=0.04, frame_rate=25, audio=False, codec="libsvtav1", size=(320, 180)
    )

    probe = await technical.probe(path)

    assert (probe.media_type, probe.width, probe.height, probe.duration_seconds) == ("image", 320, 180, None)


async def test_probe_says_what_the_container_says(technical: Technical, shelf: Shelf) -> None:
    probe = await technical.probe(shelf.usual("mov"))

    assert (probe.container, probe.video_codec, probe.audio_codec) == ("mov", "h264", "aac")
    assert (probe.width, probe.height, probe.frame_rate) == (160, 90, 25)
    assert (probe.sample_rate, probe.channels, probe.damage) == (48_000, 2, ())
    assert probe.bit_rate is not None
    assert probe.bit_rate > 0


async def test_cuts_are_found_at_their_times(technical: Technical, shelf: Shelf) -> None:
    path = shelf.video("cuts.mp4", seconds=12, cuts=(2.4, 5.0, 8.6), audio=False, size=(320, 180))

    result = await technical.process(path)

    assert starts(result) == pytest.approx([0, 2.4, 5.0, 8.6], abs=0.1)
    assert [s.metadata["opened_by"] for s in result.segments] == ["start", "cut", "cut", "cut"]
    assert all(s.metadata["scene_score"] > 10 for s in result.segments[1:])


@pytest.mark.parametrize("codec", ["libx265", "mpeg4"])
async def test_cuts_are_found_in_other_codecs(technical: Technical, shelf: Shelf, codec: str) -> None:
    path = shelf.video(f"{codec}.mkv", seconds=5, cuts=(2.4,), audio=False, codec=codec)

    assert starts(await technical.process(path)) == pytest.approx([0, 2.4], abs=0.1)


async def test_silences_are_found_at_their_times(technical: Technical, shelf: Shelf) -> None:
    path = shelf.audio("silences.flac", seconds=12, silences=((3, 4), (7.5, 9)))

    result = await technical.process(path)

    assert starts(result) == pytest.approx([0, 3.5, 8.25], abs=0.05)
    assert result.metadata["counts"]["silences"] == 2


async def test_fixed_segments(technical: Technical, shelf: Shelf) -> None:
    video, audio = shelf.usual("mp4"), shelf.usual("wav")

    of_video = await technical.process(video, video_segmentation_type="fixed", video_segment_duration=3)
    of_audio = await technical.process(audio, audio_segmentation_type="fixed", audio_segment_duration=1)

    assert starts(of_video) == [0, 3]
    assert starts(of_audio) == [0, 1, 2, 3, 4]  # the encoder adds a few milliseconds
    assert of_video.segments[0].metadata["shot_changes"] == 1
    assert of_audio.segments[1].metadata["silence_ratio"] == pytest.approx(1, abs=0.02)
    assert of_audio.segments[1].metadata["loudness_lufs"] < -40  # the tone rings on for a moment


async def test_content_aware_video_is_cut_where_it_is_silent(technical: Technical, shelf: Shelf) -> None:
    path = shelf.video("aware.mp4", seconds=9, cuts=(2.6, 6.4), pauses=((3, 4), (6, 7)))

    result = await technical.process(path, video_segmentation_type="content_aware")

    assert starts(result) == pytest.approx([0, 3.5, 6.4], abs=0.1)


async def test_progress_rises_to_one(technical: Technical, shelf: Shelf) -> None:
    seen: list[float] = []

    await technical.process(shelf.usual("mp4"), seen.append)

    assert seen == sorted(seen)
    assert (len(seen) > 1, seen[-1]) == (True, 1.0)


async def test_media_without_a_stated_duration_is_measured(technical: Technical, shelf: Shelf) -> None:
    path = shelf.video("live.webm", cuts=(2.0,), container_options={"live": "1"})

    probe, result = await technical.probe(path), await technical.process(path)

    assert (probe.duration_seconds, result.damage) == (result.segments[-1].end_time, ())
    assert result.segments[-1].end_time == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fragments.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("streamed.mkv", {"live": "1"}),
        ("plain.mp3", {"write_xing": "0"}),
        ("tagged.mp3", {"write_id3v1": "1", "id3v2_version": "4"}),
        ("rf64.wav", {"rf64": "always"}),
        ("late.mkv", {"output_ts_offset": "5"}),
    ],
)
async def test_unusual_media_is_not_called_damaged(
    technical: Technical, shelf: Shelf, name: str, options: dict[str, str]
) -> None:
    make = shelf.audio if name.endswith(("mp3", "wav")) else shelf.video
    path = make(name, container_options=options)

    assert (await technical.probe(path)).damage == ()
    assert (await technical.process(path)).damage == ()


async def test_cover_art_does_not_make_a_video(technical: Technical, tmp_path: Path) -> None:
    probe = await technical.probe(samples.song_with_cover(tmp_path / "song.mp3"))

    assert (probe.media_type, probe.width, probe.audio_codec) == ("audio", None, "mp3")


async def test_video_without_a_decoder_for_its_sound_says_so(
    technical: Technical, shelf: Shelf, tmp_path: Path
) -> None:
    path = renamed_codec(shelf.usual("mkv"), tmp_path / "mute.mkv", b"A_AAC", b"A_XYZ")

    result = await technical.process(path)

    assert result.warnings == ("no decoder for the audio",)
    assert (len(result.segments), result.metadata["loudness"]["integrated_lufs"]) == (2, None)


async def test_video_without_a_decoder_for_its_pictures_is_not_passed_off_as_sound(
    technical: Technical, shelf: Shelf, tmp_path: Path
) -> None:
    path = renamed_codec(shelf.usual("mkv"), tmp_path / "blind.mkv", b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ")

    with pytest.raises(MediaUnreadable, match="pictures of this video cannot be decoded"):
        await technical.probe(path)


async def test_video_of_pictures_that_no_other_needs_is_still_looked_at(
    technical: Technical, tmp_path: Path
) -> None:
    options = {"x264-params": "bframes=16:b-adapt=0:b-pyramid=none:scenecut=0:keyint=1000"}
    clip = Clip(
        seconds=24, cuts=(12.4,), size=(160, 90), frame_rate=5, video_options=options, audio_codec=None
    )
    path = write_clip(tmp_path / "sparse.mp4", clip)

    result = await technical.process(path)

    assert result.damage == ()
    assert starts(result) == pytest.approx([0, 12.4], abs=0.2)


def renamed_codec(source: Path, path: Path, old: bytes, new: bytes) -> Path:
    path.write_bytes(source.read_bytes().replace(old, new))
    return path


async def test_the_schema_of_another_prompt_is_refused(tmp_path: Path) -> None:
    processor = TechnicalProcessor(limits=Limits(), work_dir=tmp_path)
    other: dict[str, Any] = {"type": "object", "properties": {"mood": {"type": "string"}}}
    whole = {"instructions_text": "Sum up.", "json_schema": other}

    processor.check_prompt(PROMPT)
    processor.check_prompt(Prompt("Any words at all.", TECHNICAL_PROMPT["json_schema"], None))
    for prompt in (
        Prompt("What is the mood?", other, None),
        Prompt("What is the mood?", TECHNICAL_PROMPT["json_schema"], whole),
    ):
        with pytest.raises(InvalidInput) as refused:
            processor.check_prompt(prompt)
        assert "needs a model or a command" in refused.value.hint


async def test_fixed_without_a_length_is_refused(technical: Technical, shelf: Shelf) -> None:
    with pytest.raises(InvalidInput, match="no length"):
        await technical.process(shelf.usual("wav"), audio_segmentation_type="fixed")


def test_the_technical_prompt_is_a_prompt_that_the_api_takes() -> None:
    assert 3 <= len(TECHNICAL_PROMPT["name"]) <= 100
    assert len(TECHNICAL_PROMPT["description"]) <= 500
    assert 10 <= len(TECHNICAL_PROMPT["prompt_text"]) <= 5000
    assert 1 <= len(TECHNICAL_PROMPT["video_level"]["instructions_text"]) <= 12_000
    for schema in (TECHNICAL_PROMPT["json_schema"], TECHNICAL_PROMPT["video_level"]["json_schema"]):
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"


async def test_a_prompt_of_before_gets_what_it_asks_for(technical: Technical, shelf: Shelf) -> None:
    whole = copy.deepcopy(TECHNICAL_PROMPT["video_level"]["json_schema"])
    for schema, name in ((whole, "tracks"), (whole["properties"]["probe"], "rotation_degrees")):
        del schema["properties"][name]
        schema["required"].remove(name)
    prompt = Prompt(
        PROMPT.prompt_text, PROMPT.json_schema, {"instructions_text": "As ever.", "json_schema": whole}
    )
    processor = TechnicalProcessor(limits=technical.limits, work_dir=technical.work_dir)

    with opened(shelf.usual("mp4")) as fd:
        result = await processor.measure(fd, prompt, RunSettings(), lambda _: None)

    jsonschema.validate(result.metadata, whole)
    assert result.metadata["probe"]["width"] == 160
