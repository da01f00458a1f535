"""Files as recorders, pipes, browsers and shops leave them: whole ones are taken, others are said for what they are."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from tests.processors.conftest import Shelf, Technical, opened
from tests.processors.test_hostile_media import survey_here
from vvwatch.core.objects import MEDIA_TYPES
from vvwatch.errors import MediaEncrypted, MediaUnreadable, MediaUnsupported
from vvwatch.processors.media import opening
from vvwatch.processors.media.structure import ByteSource, examine

pytestmark = pytest.mark.anyio

RATE = 8000
TAILS = (b"\r\n", bytes(3000), b"TAG" + b"x" * 125, b"<!-- cdn -->" * 5)


def wav(seconds: float, riff: int | None = None, data: int | None = None, block: int = 2) -> bytes:
    body = bytes(range(256)) * (int(seconds * RATE * block) // 256)
    head = struct.pack("<IHHIIHH", 16, 1, 1, RATE, RATE * block, block, 8 * block)
    sizes = [size if given is None else given for size, given in ((36 + len(body), riff), (len(body), data))]
    return (
        struct.pack("<4sI8s", b"RIFF", sizes[0], b"WAVEfmt ")
        + head
        + struct.pack("<4sI", b"data", sizes[1])
        + body
    )


def duration(path: Path) -> float | None:
    bounds = opening.Bounds(max_pixels=200_000_000, max_seconds=1e6)
    with opened(path) as fd, opening.open_media(fd, bounds) as medium:
        return medium.duration_seconds


def warnings(path: Path) -> tuple[str, ...]:
    with opened(path) as fd:
        return examine(ByteSource(fd)).warnings


@pytest.mark.parametrize(
    ("riff", "data"),
    [
        (0, 0),
        (36, 0),
        (0xFFFFFFFF, 0xFFFFFFFF),  # ffmpeg
        (0xFFFFFFFF, 0xFFFFFFFF - 36),
        (0x7FFFF024, 0x7FFFF000),  # sox, espeak-ng
        (0x7FFFF024, 0x7FFFF000 - 0x7FFFF000 % 6),
        (0x80000023, 0x7FFFFFFF),  # lame
        (0x80000024, 0x80000000),  # arecord
        (0x7FFFFFFF, 0x7FFFFFFF - 36),
        (0xFFFFFFFE, 0xFFFFFFFE - 36),
    ],
)
def test_a_wav_that_was_written_to_a_pipe_is_whole(tmp_path: Path, riff: int, data: int) -> None:
    path = tmp_path / "pipe.wav"
    path.write_bytes(wav(5, riff, data))

    assert survey_here(path) == ()
    assert duration(path) == pytest.approx(5, abs=0.05)
    assert warnings(path) == ()


@pytest.mark.parametrize("block", [2, 3, 4])
def test_all_of_a_wav_is_taken_whose_header_tells_of_a_part(tmp_path: Path, block: int) -> None:
    five = 5 * RATE * block
    path = tmp_path / "powerloss.wav"
    path.write_bytes(wav(60, 36 + five, five, block))

    assert survey_here(path) == ()
    assert duration(path) == pytest.approx(60, abs=0.1)
    assert warnings(path) == ("the header states 5.0 s of sound, the file holds 60.0 s: all of it is used",)


def test_all_of_an_aiff_is_taken_whose_header_tells_of_a_part(shelf: Shelf, tmp_path: Path) -> None:
    content = bytearray(shelf.usual("aif").read_bytes())
    sound = content.find(b"SSND") + 8
    length = 8 + 48_000 * 4
    struct.pack_into(">I", content, sound - 4, length)
    struct.pack_into(">I", content, 4, sound + length - 8)
    struct.pack_into(">I", content, content.find(b"COMM") + 10, 48_000)
    path = tmp_path / "powerloss.aif"
    path.write_bytes(content)

    assert survey_here(path) == ()
    assert duration(path) == pytest.approx(4, abs=0.05)
    assert "more follow: all of them are used" in warnings(path)[0]


def test_all_of_a_wav_is_taken_whose_size_does_not_fit_its_header(tmp_path: Path) -> None:
    length = (1 << 32) + 10 * RATE * 2
    path = tmp_path / "long.wav"
    path.write_bytes(wav(1, (36 + length) % (1 << 32), length % (1 << 32)))
    with path.open("r+b") as file:
        file.truncate(44 + length)

    assert duration(path) == pytest.approx(length / RATE / 2, abs=1)
    assert "the header states 10.0 s" in warnings(path)[0]


def test_a_wav_that_lost_its_end_is_truncated_and_its_chunks_behind_the_sound_are_not_sound(
    tmp_path: Path,
) -> None:
    path = tmp_path / "take.wav"
    listed = wav(5) + b"LIST" + struct.pack("<I", 20_000) + b"INFO" + bytes(19_996)
    whole = listed[:4] + struct.pack("<I", len(listed) - 8) + listed[8:]

    path.write_bytes(whole)
    assert (survey_here(path), warnings(path)) == ((), ())
    assert duration(path) == pytest.approx(5, abs=0.05)
    for lost in (2, 10_000, 60_000):
        path.write_bytes(whole[:-lost])
        with opened(path) as fd:
            assert "truncated" in (examine(ByteSource(fd)).damage or "")


class Pipe:
    """What cannot seek back to fill in the sizes."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, data: bytes) -> int:
        self.content += data
        return len(data)


def piped(source: Path, container: str, path: Path, **options: str) -> Path:
    """The packets of `source` in a container that is written to a pipe."""
    pipe = Pipe()
    with av.open(str(source)) as read, av.open(pipe, "w", format=container, options=options) as write:
        streams: dict[int, Any] = {s.index: write.add_stream_from_template(s) for s in read.streams}
        for packet in read.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                write.mux(packet)
    path.write_bytes(pipe.content)
    return path


@pytest.mark.parametrize(
    ("extension", "container"),
    [("wav", "wav"), ("rf64", "wav"), ("w64", "w64"), ("aif", "aiff"), ("aifc", "caf")],
)
def test_sound_that_was_written_to_a_pipe_is_whole(
    shelf: Shelf, tmp_path: Path, extension: str, container: str
) -> None:
    options = {"rf64": "always"} if extension == "rf64" else {}
    path = piped(shelf.usual(extension), container, tmp_path / "pipe", **options)

    assert survey_here(path) == ()
    assert duration(path) == pytest.approx(4, abs=0.05)


@pytest.mark.parametrize(
    ("extension", "container"),
    [("mkv", "matroska"), ("webm", "webm"), ("avi", "avi"), ("wmv", "asf"), ("flv", "flv"), ("mxf", "mxf")],
)
def test_a_live_recording_is_whole_until_it_is_cut_within_a_block(
    shelf: Shelf, tmp_path: Path, extension: str, container: str
) -> None:
    path = piped(shelf.usual(extension), container, tmp_path / f"live.{extension}")
    whole = path.read_bytes()

    assert survey_here(path) == ()
    for fraction in (0.5, 0.6, 0.7, 0.8, 0.9):
        path.write_bytes(whole[: int(len(whole) * fraction)])
        with opened(path) as fd:
            assert "truncated" in (examine(ByteSource(fd)).damage or ""), fraction


@pytest.mark.parametrize("extension", sorted(MEDIA_TYPES.keys() - {"heic", "heif", "avif"}))
def test_bytes_behind_the_end_harm_nothing(shelf: Shelf, tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"behind.{extension}"
    for tail in TAILS:
        path.write_bytes(shelf.usual(extension).read_bytes() + tail)
        with opened(path) as fd:
            found = examine(ByteSource(fd))
        assert found.damage is None
        assert all("behind the end" in warning for warning in found.warnings)

    assert survey_here(path) == ()


def test_an_avi_whose_header_tells_of_a_part_is_taken_whole(shelf: Shelf, tmp_path: Path) -> None:
    content = bytearray(shelf.usual("avi").read_bytes())
    movi = content.find(b"movi") - 8
    places = [movi + 12]
    while content[places[-1] : places[-1] + 2].isdigit():
        length = struct.unpack_from("<I", content, places[-1] + 4)[0]
        places.append(places[-1] + 8 + length + length % 2)
    half = places[len(places) // 2]
    struct.pack_into("<I", content, 4, half - 8)
    struct.pack_into("<I", content, movi + 4, half - movi - 8)
    path = tmp_path / "stale.avi"
    path.write_bytes(content[: places[-1]])

    assert survey_here(path) == ()
    assert "more of pictures and sound follow" in warnings(path)[0]


ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNS"
    "Mj5aYVpQYEpRUk//yQALCAAQABABAREA/8wABgAQEAX/2gAIAQEAAD8A/S8DEoVnOWa4iDf8rxh7UXCkyCNP3Y/+pS6cWQg+775LcFFB"
    "U0fZMakTqtFM5SgHsXUBR9D+9tFYGe2VFCH+DhOVSAbe6VvQWRRgRzi1SM0YbRelojoJC1J6xBLyRAycee0Txp4pQP/Z"
)


def tiff(*, big: bool = False, bits: int = 8, form: int = 1, compression: int = 1, colours: int = 1) -> bytes:
    """A grey picture of 16 by 16 samples."""
    pixels = bytes(16 * 16 * bits // 8)
    start, wide = (16, 16) if big else (8, 4)
    values = {
        256: 16, 257: 16, 258: bits, 259: compression, 262: colours, 273: start, 277: 1, 278: 16,
        279: len(pixels), 339: form,
    }  # fmt: skip
    if big:
        entries = b"".join(struct.pack("<HHQQ", tag, wide, 1, value) for tag, value in values.items())
        head = b"II+\0" + struct.pack("<HHQ", 8, 0, start + len(pixels))
        return head + pixels + struct.pack("<Q", len(values)) + entries + bytes(8)
    entries = b"".join(struct.pack("<HHII", tag, wide, 1, value) for tag, value in values.items())
    head = b"II*\0" + struct.pack("<I", start + len(pixels))
    return head + pixels + struct.pack("<H", len(values)) + entries + bytes(4)


def jpeg_of(shelf: Shelf, marker: int, bits: int = 8) -> bytes:
    content = bytearray(shelf.usual("jpg").read_bytes())
    place = content.find(b"\xff\xc0")
    content[place + 1], content[place + 4] = marker, bits
    return bytes(content)


@pytest.mark.parametrize(
    ("named", "make"),
    [
        ("BigTIFF", lambda _: tiff(big=True)),
        ("32-bit floating-point samples", lambda _: tiff(bits=32, form=3)),
        ("64-bit floating-point samples", lambda _: tiff(bits=64, form=3)),
        ("compression LERC", lambda _: tiff(compression=34887)),
        ("compression JPEG 2000", lambda _: tiff(compression=34712)),
        ("compression JBIG", lambda _: tiff(compression=34661)),
        ("arithmetic-coded JPEG", lambda _: ARITHMETIC),
        ("hierarchical JPEG", lambda shelf: jpeg_of(shelf, 0xC5)),
        ("JPEG of 12 bits", lambda shelf: jpeg_of(shelf, 0xC1, 12)),
    ],
)
async def test_a_picture_without_a_decoder_is_unsupported_and_not_damaged(
    technical: Technical, shelf: Shelf, tmp_path: Path, named: str, make: Callable[[Shelf], bytes]
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(make(shelf))

    with pytest.raises(MediaUnsupported, match=f"unsupported: .*{named}.*; convert it") as refused:
        await technical.probe(path)

    assert not any(word in refused.value.message for word in ("damaged", "truncated", "cut short"))


async def test_an_animated_webp_is_unsupported_and_a_cut_one_is_truncated(
    technical: Technical, tmp_path: Path
) -> None:
    path = tmp_path / "sticker.webp"
    with av.open(str(path), "w", format="webp") as container:
        stream = container.add_stream("libwebp_anim", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(4):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number * 60]) * plane.buffer_size)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    with pytest.raises(MediaUnsupported, match="animated WebP"):
        await technical.probe(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MediaUnreadable, match="truncated: RIFF chunk 'WEBP'"):
        await technical.probe(path)


def test_a_tiff_whose_picture_is_missing_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    for content in (tiff(), tiff(big=True), tiff(bits=32, form=3)):
        moved = content[:-30]
        path.write_bytes(moved)
        with opened(path) as fd:
            assert "truncated: the directory of the TIFF" in (examine(ByteSource(fd)).damage or "")


def protected_mp4(shelf: Shelf) -> bytes:
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "2" * 32,
        "encryption_kid": "1" * 32,
    }
    return shelf.video("cenc.mp4", seconds=1, audio=False, container_options=options).read_bytes()


def bought_song(shelf: Shelf) -> bytes:
    return shelf.usual("m4a").read_bytes().replace(b"mp4a", b"drms", 1)


def scrambled_transport(shelf: Shelf) -> bytes:
    content = bytearray(shelf.usual("ts").read_bytes())
    for place in range(0, len(content), 188):
        if int.from_bytes(content[place + 1 : place + 3], "big") & 0x1FFF >= 0x100:
            content[place + 3] |= 0x80
    return bytes(content)


def scrambled_disc(shelf: Shelf) -> bytes:
    content = bytearray(shelf.usual("vob").read_bytes())
    place = content.find(b"\0\0\1\xe0")
    while place >= 0:
        content[place + 6] |= 0x30
        place = content.find(b"\0\0\1\xe0", place + 1)
    return bytes(content)


def protected_windows_media(shelf: Shelf) -> bytes:
    content = shelf.usual("wmv").read_bytes()
    mark = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e") + struct.pack("<Q", 40) + bytes(16)
    size = struct.unpack_from("<Q", content, 16)[0]
    return content[:16] + struct.pack("<Q", size + 40) + content[24:30] + mark + content[30:]


@pytest.mark.parametrize(
    ("named", "make"),
    [
        ("pictures .Common Encryption, cenc", protected_mp4),
        ("sound .FairPlay", bought_song),
        ("scrambled transport stream", scrambled_transport),
        ("Content Scramble System", scrambled_disc),
        ("Windows Media", protected_windows_media),
    ],
)
async def test_encrypted_media_is_said_to_be_encrypted(
    technical: Technical, shelf: Shelf, tmp_path: Path, named: str, make: Callable[[Shelf], bytes]
) -> None:
    path = tmp_path / "protected"
    path.write_bytes(make(shelf))

    with pytest.raises(MediaEncrypted, match=f"encrypted: .*{named}.*; decrypt it"):
        await technical.probe(path)


def test_a_gif_without_its_trailer_is_shown_as_every_browser_does(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "picture.gif"
    path.write_bytes(shelf.usual("gif").read_bytes()[:-1])

    assert survey_here(path) == ()
    assert warnings(path) == ("the GIF has no trailer, the last byte of its kind",)


@pytest.mark.parametrize("extension", sorted(name for name, kind in MEDIA_TYPES.items() if kind != "image"))
def test_an_excerpt_with_a_gap_is_not_called_damaged_and_read_in_part(
    shelf: Shelf, tmp_path: Path, extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = shelf.usual(extension).read_bytes()
    path = tmp_path / "excerpt"
    third = len(content) // 3
    path.write_bytes(content[:third] + bytes(third) + content[2 * third :])
    taken: list[int] = []
    read = ByteSource.at

    def counted(source: ByteSource, offset: int, count: int) -> bytes:
        taken.append(count)
        return read(source, offset, count)

    monkeypatch.setattr(ByteSource, "at", counted)
    with opened(path) as fd:
        assert examine(ByteSource(fd)).damage is None
    assert len(taken) < 2000
