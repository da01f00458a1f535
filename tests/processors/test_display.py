"""How pictures are to be shown: turned, whole, and as large as they appear."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from tests import samples
from tests.processors.conftest import Technical
from tests.processors.recordings import record, spaced
from vvwatch.core.media import ProcessingResult
from vvwatch.processors.media.measurements import Pictures
from vvwatch.processors.media.mosaics import merge_tiles, visible_parts

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("extension", ["mp4", "mov", "mkv"])
async def test_video_says_how_far_to_turn_it(
    technical: Technical, tmp_path: Path, extension: str, degrees: int
) -> None:
    path = record(tmp_path / f"phone.{extension}", spaced(1), rotation=degrees)

    probe, result = await technical.probe(path), await technical.process(path)

    assert probe.rotation_degrees == degrees
    assert (probe.width, probe.height) == ((160, 90) if degrees % 180 == 0 else (90, 160))
    assert result.metadata["probe"]["rotation_degrees"] == degrees
    assert result.probe == probe


async def test_sound_has_no_rotation(technical: Technical, tmp_path: Path) -> None:
    assert (await technical.probe(samples.audio(tmp_path / "a.wav", 1))).rotation_degrees is None


ORIENTATIONS = {1: 0, 3: 180, 6: 90, 8: 270}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
async def test_a_photograph_is_turned_as_its_camera_was(
    technical: Technical, tmp_path: Path, orientation: int
) -> None:
    path = samples.image(tmp_path / "photo.jpg")
    tags = b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(tags)) + tags
    path.write_bytes((data := path.read_bytes())[:2] + segment + data[2:])

    probe = await technical.probe(path)

    assert probe.rotation_degrees == ORIENTATIONS[orientation]
    assert (probe.width, probe.height) == ((160, 90) if orientation in (1, 3) else (90, 160))


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def tile(luma: int, side: int) -> tuple[bytes, bytes]:
    """The configuration and the one picture of an HEVC stream of even brightness."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        options = {"x265-params": "log-level=none:keyint=1:info=0"}
        stream: Any = container.add_stream("libx265", rate=1, options=options)
        stream.width = stream.height = side
        frame = av.VideoFrame(side, side, "yuv420p")
        for number, plane in enumerate(frame.planes):
            plane.update(bytes([128 if number else luma]) * plane.buffer_size)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = out.getvalue()
    place = data.index(b"hvcC") - 4
    (length,) = struct.unpack(">I", data[place : place + 4])
    with av.open(io.BytesIO(data), "r") as source:
        coded = b"".join(bytes(packet) for packet in source.demux(video=0) if packet.size)
    return data[place : place + length], coded


def grid_photo(path: Path, lumas: list[int], columns: int, size: tuple[int, int], quarters: int = 0) -> Path:
    """A HEIC photograph of `size` as a grid of square tiles, turned by so many quarters against the clock."""
    side, count = 512, len(lumas)
    tiles = [tile(luma, side) for luma in lumas]
    grid = struct.pack(">BBBBHH", 0, 0, count // columns - 1, columns - 1, *size)

    def head(start: int) -> bytes:
        entries = [full(b"infe", 2, 1, struct.pack(">HH", n + 1, 0), b"hvc1", b"\0") for n in range(count)]
        entries.append(full(b"infe", 2, 0, struct.pack(">HH", count + 1, 0), b"grid", b"\0"))
        sides = full(b"ispe", 0, 0, struct.pack(">II", side, side))
        whole = full(b"ispe", 0, 0, struct.pack(">II", *size))
        owned = [struct.pack(">HB", n + 1, 2) + b"\x81\x02" for n in range(count)]
        owned.append(struct.pack(">HB", count + 1, 2) + b"\x03\x84")
        properties = box(b"ipco", tiles[0][0], sides, whole, box(b"irot", bytes([quarters])))
        places = b""
        for number, (_, coded) in enumerate(tiles):
            places += struct.pack(">HHHHII", number + 1, 0, 0, 1, start, len(coded))
            start += len(coded)
        places += struct.pack(">HHHHII", count + 1, 1, 0, 1, 0, len(grid))
        derived = struct.pack(f">HH{count}H", count + 1, count, *range(1, count + 1))
        return box(b"ftyp", b"heic", b"\0\0\0\0", b"mif1heic") + full(
            b"meta",
            0,
            0,
            full(b"hdlr", 0, 0, b"\0" * 4, b"pict", b"\0" * 13),
            full(b"pitm", 0, 0, struct.pack(">H", count + 1)),
            full(b"iloc", 1, 0, b"\x44\0", struct.pack(">H", count + 1), places),
            full(b"iinf", 0, 0, struct.pack(">H", count + 1), *entries),
            full(b"iref", 0, 0, box(b"dimg", derived)),
            box(b"iprp", properties, full(b"ipma", 0, 0, struct.pack(">I", count + 1), *owned)),
            box(b"idat", grid),
        )

    start = len(head(0)) + 8
    path.write_bytes(head(start) + box(b"mdat", *(coded for _, coded in tiles)))
    return path


@pytest.mark.parametrize(
    ("lumas", "columns", "size", "mean"),
    [
        ([20, 230, 230, 230], 2, (1024, 1024), 177.5),
        ([20, 230], 2, (1024, 512), 125),
        ([20, 230], 2, (640, 512), 62),  # a fifth of the picture is of the second tile
        ([230, 20], 1, (512, 576), 206.7),
    ],
)
def test_the_brightness_of_a_photograph_is_that_of_all_its_tiles(
    tmp_path: Path,
    survey_of: Callable[[Path], ProcessingResult],
    lumas: list[int],
    columns: int,
    size: tuple[int, int],
    mean: float,
) -> None:
    result = survey_of(grid_photo(tmp_path / "photo.heic", lumas, columns, size))

    assert result.segments[0].metadata["mean_luma"] == pytest.approx(mean, abs=3)
    assert result.probe is not None
    assert (result.probe.width, result.probe.height) == size


async def test_a_turned_photograph_of_tiles_is_measured_where_its_tiles_are(
    technical: Technical, tmp_path: Path
) -> None:
    path = grid_photo(tmp_path / "photo.heic", [20, 230], 2, (640, 512), quarters=3)

    result = await technical.process(path)

    assert result.probe is not None
    assert (result.probe.width, result.probe.height, result.probe.rotation_degrees) == (512, 640, 90)
    assert result.segments[0].metadata["mean_luma"] == pytest.approx(62, abs=3)


def test_tiles_are_weighed_by_what_shows_of_them() -> None:
    from array import array

    tiles = [
        Pictures(luma=array("f", [luma]), dark=array("f", [0.0]), shift=array("f", [0.0]))
        for luma in (10, 20)
    ]
    parts = visible_parts((600, 400), (400, 400), 2)

    assert parts == [(400, 400), (200, 400)]
    assert visible_parts((600, 400), (400, 400), 1) == []
    assert visible_parts((0, 0), (400, 400), 4) == []
    assert merge_tiles(tiles, parts).luma[0] == pytest.approx(13.33, abs=0.01)
