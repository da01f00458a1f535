"""What is not media, what was media once, and what only pretends: each gets its own plain answer."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from tests import samples
from tests.processors.conftest import Shelf, Technical, opened
from vvwatch.core.media import RunSettings
from vvwatch.core.objects import MEDIA_TYPES
from vvwatch.errors import MediaError, MediaLimit, MediaUnreadable, MediaUnsupported
from vvwatch.processors.media import opening, probing, stills, survey
from vvwatch.processors.technical import report

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
    "stub": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(1000), "cut short or damaged: an mp4 without its"),
    "wide text": ("export const port = 8080;\n".encode("utf-16") * 40, "this is text"),
    "text that begins like a transport stream": (b"G" * 5000, "this is text"),
    "text that begins like an MP3": (b"ID3 is a kind of tag. " * 40, "this is text"),
    "text that begins like Ogg": (b"OggS is how each page begins. " * 40, "this is text"),
    "program": (b"export const port: number = 8080;\n" * 40, "this is text"),
    "archive": (b"PK\3\4" + random.Random(2).randbytes(5000), "a ZIP archive"),
    "fragment": (
        b"\0\0\0\x10styp\0\0\0\0msdh\0\0\0\x10moof" + bytes(8) + b"\0\0\0\x08mdat",
        "without the part that describes it",
    ),
}
UNSUPPORTED = {
    "JPEG XL": b"\xff\x0a" + random.Random(3).randbytes(900),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 " + random.Random(4).randbytes(900),
    "Photoshop document": b"8BPS\0\1" + bytes(6) + random.Random(5).randbytes(900),
    "AMR": b"#!AMR\n" + random.Random(6).randbytes(900),
}
LOSSLESS_TO_A_CUT = [name for name, kind in MEDIA_TYPES.items() if kind != "image"]
HOLES_TELL = ["mp4", "mov", "mkv", "webm", "avi", "mp3", "flac", "ogg", "m4a", "aac"]
PICTURES = ["jpg", "png", "webp", "gif", "bmp", "tiff"]


def survey_here(path: Path) -> tuple[str, ...]:
    """What the child would find damaged, found in this process."""
    bounds = opening.Bounds(max_pixels=200_000_000, max_seconds=1e6)
    with opened(path) as fd, opening.open_media(fd, bounds) as medium:
        look = (
            stills.survey_picture
            if medium.media_type == "image"
            else lambda m, b: survey.survey_medium(m, b, lambda _: None)
        )
        found = look(medium, bounds)
        result = report.build_result(
            probing.probe_from_survey(medium, found), found, RunSettings(), medium.warnings
        )
        assert result.segments
        return result.damage


@pytest.mark.parametrize("name", TEXTS)
async def test_what_is_not_media_is_said_to_be_what_it_is(
    technical: Technical, tmp_path: Path, name: str
) -> None:
    content, describe_likeness = TEXTS[name]
    path = tmp_path / "upload.mp4"
    path.write_bytes(content)

    with pytest.raises(MediaUnreadable, match=describe_likeness) as refused:
        await technical.probe(path)

    assert refused.value.hint
    assert "/" not in refused.value.message


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("extension", LOSSLESS_TO_A_CUT)
def test_truncated_media_never_passes_as_sound(
    shelf: Shelf, tmp_path: Path, extension: str, fraction: float
) -> None:
    path = samples.truncated(shelf.usual(extension), tmp_path / "cut", fraction)
    if extension in ("ts", "mts", "m2ts", "m2t"):  # between two packets no byte is missing
        path.write_bytes(path.read_bytes()[: path.stat().st_size // (188 * 192) * 188 * 192 - 50])

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


@pytest.mark.parametrize("name", UNSUPPORTED)
async def test_a_healthy_kind_without_a_decoder_is_unsupported_and_not_damaged(
    technical: Technical, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(UNSUPPORTED[name])

    with pytest.raises(MediaUnsupported, match=f"unsupported: {name}.*convert it") as refused:
        await technical.probe(path)

    assert not any(word in refused.value.message for word in ("damaged", "cut short", "upload"))


@pytest.mark.parametrize("extension", HOLES_TELL)
def test_a_hole_of_zeros_never_passes_as_sound(shelf: Shelf, tmp_path: Path, extension: str) -> None:
    damage = survey_here(samples.holed(shelf.usual(extension), tmp_path / "holed", 0.4, 0.5))

    assert any(word in damage[0] for word in ("corrupt", "damaged", "truncated"))


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
        "playlist.ts": "#EXTM3U\n#EXTINF:4,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "stream.wmv": '<asx version="3.0"><entry><ref href="secret.mp4"/></entry></asx>',
        "reference.wmv": "[Reference]\nRef1=secret.mp4\n",
        "concat.mxf": "ffconcat version 1.0\nfile secret.mp4\n",
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
    for extension in (
        *("mp4", "mkv", "avi", "ogg", "png", "webp", "gif", "tiff", "bmp"),
        *("mxf", "ts", "m2ts", "mpg", "wmv", "flv", "aiff", "caf", "w64", "rf64", "mp3"),
    ):
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
