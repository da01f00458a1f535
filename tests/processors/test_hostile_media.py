"""What is not media, what was media once, and what only pretends: each gets its own plain answer."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from tests import samples
from tests.processors.conftest import Shelf, Technical, opened
from vvwatch.core.media import RunSettings
from vvwatch.errors import MediaError, MediaLimit, MediaUnreadable
from vvwatch.processors import opening, report, survey

pytestmark = pytest.mark.anyio

TEXTS = {
    "empty": (b"", "an empty file"),
    "zeros": (bytes(50_000), "zeros only"),
    "random": (random.Random(1).randbytes(50_000), "no media of a known kind"),
    "text": (b"Dear Sir or Madam,\n" * 500, "this is text"),
    "store error": (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "an XML document"),
    "login page": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "an HTML page"),
    "json": (b'{"error": "quota exceeded"}', "a JSON document"),
    "playlist": (b"#EXTM3U\n#EXTINF:10,\nsegment.ts\n", "a playlist"),
    "session": (b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", "a playlist"),
    "stub": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(1000), "cut short or damaged"),
}
LOSSLESS_TO_A_CUT = ["mp4", "mov", "mkv", "webm", "avi", "mp3", "wav", "flac", "ogg", "m4a", "aac"]
PICTURES = ["jpg", "png", "webp", "gif", "bmp", "tiff"]


def survey_here(path: Path) -> tuple[str, ...]:
    """What the child would find damaged, found in this process."""
    bounds = opening.Bounds(max_pixels=200_000_000, max_seconds=1e6)
    with opened(path) as fd, opening.opened(fd, bounds) as medium:
        look = (
            survey.look if medium.media_type == "image" else lambda m, b: survey.survey(m, b, lambda _: None)
        )
        found = look(medium, bounds)
        result = report.result_of(opening.probe_of(medium), found, RunSettings(), medium.warnings)
        assert result.segments
        return result.damage


@pytest.mark.parametrize("name", TEXTS)
async def test_what_is_not_media_is_said_to_be_what_it_is(
    technical: Technical, tmp_path: Path, name: str
) -> None:
    content, likeness = TEXTS[name]
    path = tmp_path / "upload.mp4"
    path.write_bytes(content)

    with pytest.raises(MediaUnreadable, match=likeness) as refused:
        await technical.probe(path)

    assert refused.value.hint
    assert "/" not in refused.value.message


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("extension", LOSSLESS_TO_A_CUT)
def test_truncated_media_never_passes_as_sound(
    shelf: Shelf, tmp_path: Path, extension: str, fraction: float
) -> None:
    path = samples.truncated(shelf.usual(extension), tmp_path / "cut", fraction)

    try:
        damage = survey_here(path)
    except MediaUnreadable as error:
        damage = (error.message,)

    assert any(word in damage[0] for word in ("truncated", "corrupt", "cut short"))


@pytest.mark.parametrize("fraction", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("extension", PICTURES)
def test_a_truncated_picture_never_passes_as_sound(
    shelf: Shelf, tmp_path: Path, extension: str, fraction: float
) -> None:
    path = samples.truncated(shelf.usual(extension), tmp_path / "cut", fraction)

    try:
        damage = survey_here(path)
    except MediaUnreadable as error:
        damage = (error.message,)

    assert any(word in damage[0] for word in ("truncated", "cut short"))


@pytest.mark.parametrize("extension", [e for e in LOSSLESS_TO_A_CUT if e != "wav"])
def test_a_hole_of_zeros_never_passes_as_sound(shelf: Shelf, tmp_path: Path, extension: str) -> None:
    damage = survey_here(samples.holed(shelf.usual(extension), tmp_path / "holed", 0.4, 0.5))

    assert any(word in damage[0] for word in ("corrupt", "nothing between", "truncated"))


async def test_a_cut_upload_is_named_before_anything_is_decoded(
    technical: Technical, shelf: Shelf, tmp_path: Path
) -> None:
    whole = shelf.video("index-first.mp4", container_options={"movflags": "+faststart"})
    path = samples.truncated(whole, tmp_path / "cut.mp4", 0.5)

    (damage,) = (await technical.probe(path)).damage

    size = f"{path.stat().st_size:,}"
    assert damage.startswith("truncated: mp4 box 'mdat' ends at byte ")
    assert damage.endswith(f"but the file has {size} bytes")


async def test_damaged_media_keeps_what_could_be_read(
    technical: Technical, shelf: Shelf, tmp_path: Path
) -> None:
    whole = shelf.video("long.mkv", seconds=8, cuts=(2.0, 4.0), audio=False)

    result = await technical.process(samples.truncated(whole, tmp_path / "cut.mkv", 0.7))

    assert [segment.start_time for segment in result.segments] == pytest.approx([0, 2.0, 4.0], abs=0.1)
    assert 4.5 < result.segments[-1].end_time < 7.5
    assert result.metadata["damage"] == list(result.damage)
    assert "Damaged: truncated" in result.metadata_text
    assert any("but its header says 8.0 s" in damage for damage in result.damage)


async def test_flipped_bits_are_found(technical: Technical, shelf: Shelf, tmp_path: Path) -> None:
    content = bytearray(shelf.video("flipped.mp4", seconds=6).read_bytes())
    chance = random.Random(2)
    for _ in range(400):
        content[chance.randrange(len(content) // 5, len(content) * 4 // 5)] ^= 1 << chance.randrange(8)
    path = tmp_path / "flipped.mp4"
    path.write_bytes(content)

    result = await technical.process(path)

    assert any("picture packets or frames are damaged" in damage for damage in result.damage)


async def test_a_list_of_files_does_not_open_its_neighbour(
    technical: Technical, shelf: Shelf, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "secret.mp4").write_bytes(shelf.usual("mp4").read_bytes())
    lists = {
        "concat.mp4": "ffconcat version 1.0\nfile secret.mp4\n",
        "playlist.m3u8": "#EXTM3U\n#EXTINF:4,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "pic%03d.jpg": "secret.mp4",
    }

    for name, content in lists.items():
        (folder / name).write_text(content)
        with pytest.raises(MediaUnreadable):
            await technical.process(folder / name)


async def test_a_playlist_reaches_no_network(technical: Technical, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        segment = f"http://127.0.0.1:{port}/segment.ts"
        lists = {
            "playlist.m3u8": f"#EXTM3U\n#EXTINF:10,\n{segment}\n#EXT-X-ENDLIST\n",
            "concat.mp4": f"ffconcat version 1.0\nfile {segment}\n",
            "session.sdp": f"v=0\nc=IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\n",
        }
        for name, content in lists.items():
            path = tmp_path / name
            path.write_text(content)
            with pytest.raises(MediaUnreadable, match="playlist"):
                await technical.probe(path)

        with pytest.raises(BlockingIOError):
            listener.accept()


async def test_too_many_pixels_are_refused_before_they_are_decoded(
    technical: Technical, shelf: Shelf, tmp_path: Path
) -> None:
    picture = samples.blank_png(tmp_path / "huge.png", (16_000, 16_000), bits=1)

    with pytest.raises(MediaLimit, match="16000 by 16000 pixels"):
        await technical.probe(picture)
    with pytest.raises(MediaLimit, match="160 by 90 pixels is larger than the limit of 10,000"):
        await technical.limited(max_pixels=10_000).process(shelf.usual("mkv"))


async def test_too_long_a_duration_is_refused(technical: Technical, shelf: Shelf) -> None:
    with pytest.raises(MediaLimit, match="duration of 4 s is longer than the limit of 2 s"):
        await technical.limited(max_seconds=2.0).process(shelf.usual("mp4"))


async def test_mutated_media_never_crashes_the_decoder(
    technical: Technical, shelf: Shelf, tmp_path: Path
) -> None:
    chance = random.Random(3)
    for extension in ("mp4", "mkv", "avi", "ogg", "png", "webp"):
        content = bytearray(shelf.usual(extension).read_bytes())
        for _ in range(60):
            # Headers and indexes are where a parser can be led astray.
            place = chance.randrange(min(len(content), 4096)) * chance.choice((1, -1))
            content[place] = chance.randrange(256)
        path = tmp_path / f"mutated.{extension}"
        path.write_bytes(content)
        try:
            await technical.process(path)
        except MediaError as error:
            assert isinstance(error, MediaUnreadable | MediaLimit)  # noqa: PT017  (either is a good answer)
