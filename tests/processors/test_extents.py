"""The probe's durations, without decoding, and of what only an excerpt is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from av.packet import Packet

from tests.processors.conftest import Technical
from tests.processors.recordings import heard_between, record, spaced
from vvwatch.processors.media.extents import is_head

pytestmark = pytest.mark.anyio

TONE = heard_between((0, 6))


@pytest.mark.parametrize(
    ("name", "codec", "sound", "options"),
    [
        ("a.mp4", "libx264", "aac", {}),
        ("fragments.mp4", "libx264", "aac", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mkv", "libx264", "aac", {}),
        ("live.mkv", "libx264", "aac", {"live": "1"}),
        ("a.ts", "libx264", "aac", {}),
        ("a.avi", "mjpeg", "pcm_s16le", {}),
        ("a.flv", "libx264", "aac", {}),
    ],
)
async def test_the_probe_and_the_run_say_the_same_duration(
    technical: Technical, tmp_path: Path, name: str, codec: str, sound: str, options: dict[str, str]
) -> None:
    pixels = "yuvj422p" if codec == "mjpeg" else "yuv420p"
    path = record(
        tmp_path / name,
        spaced(6),
        [TONE],
        codec=codec,
        sound_codec=sound,
        pixels=pixels,
        options={"bf": "0"} if codec == "libx264" else {},  # without an edit list, reordering is a delay
        container_options=options,
    )

    probe, result = await technical.probe(path), await technical.process(path)

    assert probe.duration_seconds == pytest.approx(6, abs=0.11)
    assert result.segments[-1].end_time == pytest.approx(probe.duration_seconds, abs=0.03)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
async def test_an_excerpt_says_the_duration_of_the_whole(
    technical: Technical, tmp_path: Path, name: str
) -> None:
    path = record(
        tmp_path / name, spaced(20, 25), [TONE], rate=25, options={"g": "25", "b": "3M"}, size=(640, 360)
    )
    content = path.read_bytes()
    kept = len(content) // 4
    excerpt = tmp_path / f"excerpt-{name}"
    excerpt.write_bytes(content[:kept] + bytes(len(content) - 2 * kept) + content[-kept:])

    whole, told = await technical.probe(path), await technical.probe(excerpt)

    assert whole.duration_seconds == pytest.approx(20, abs=0.1)
    assert told.duration_seconds == pytest.approx(whole.duration_seconds, abs=0.1)


async def test_a_late_track_counts_from_where_the_first_begins(technical: Technical, tmp_path: Path) -> None:
    path = record(tmp_path / "late.mov", spaced(2), [heard_between((1, 3))], sound_codec="pcm_s16le")

    probe, result = await technical.probe(path), await technical.process(path)

    assert probe.duration_seconds == pytest.approx(3, abs=0.05)
    assert result.segments[-1].end_time == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x80theora\x03\x02\x01", True),
        (b"\x81theora\r\0\0\0", True),
        (b"\x03vorbis\r\0\0\0", True),
        (b"OpusTags\r\0\0\0", True),
        (b"ID3\x04\0\0\0\0\0\0", True),
        (b"\x00theora\x03\x02\x01", False),
        (b"\x2evorbis\r\0\0\0", False),
        (b"", False),
    ],
)
async def test_what_describes_a_further_link_is_no_picture_and_no_sound(content: bytes, told: bool) -> None:
    assert is_head(Packet(content)) is told
