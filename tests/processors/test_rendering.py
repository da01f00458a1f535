"""Stills as frames: turned, mirrored, put together and coloured as Pillow shows them."""

from __future__ import annotations

import io
from pathlib import Path

import av
import pillow_heif
import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from tests.processors.test_cutting import Scissors, scissors
from tests.processors.test_display import grid_photo
from vvwatch.processors.media import rendering

pytestmark = pytest.mark.anyio
__all__ = ["scissors"]

pillow_heif.register_heif_opener()
ORIENTATION = 0x0112


async def frame_of(scissors: Scissors, path: Path, width: int = 640) -> Image.Image:
    taken = await scissors.take(path, await scissors.plan(path), frames=1, width=width)
    return Image.open(io.BytesIO(taken[0].frames[0]))


def difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return max(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean)


def corners() -> Image.Image:
    """A picture of which each corner has another colour."""
    picture = Image.new("RGB", (160, 80), (200, 30, 60))
    picture.paste((20, 160, 40), (80, 0, 160, 40))
    picture.paste((30, 60, 220), (0, 40, 80, 80))
    picture.paste((230, 230, 90), (80, 40, 160, 80))
    return picture


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "tiff"])
async def test_a_photograph_is_turned_and_mirrored_as_its_camera_was(
    scissors: Scissors, tmp_path: Path, extension: str
) -> None:
    for orientation in range(1, 9):
        tags = Image.Exif()
        tags[ORIENTATION] = orientation
        path = tmp_path / f"{orientation}.{extension}"
        corners().save(path, exif=tags)

        frame = await frame_of(scissors, path)

        assert difference(frame, ImageOps.exif_transpose(Image.open(path))) < 6, orientation


@pytest.mark.parametrize(
    ("lumas", "columns", "size", "quarters"),
    [
        ([20, 230, 120, 60], 2, (1024, 1024), 0),
        ([20, 230], 2, (640, 512), 3),
        ([230, 20], 1, (512, 576), 1),
        ([20, 230, 120], 3, (1300, 500), 2),
    ],
)
async def test_a_photograph_of_tiles_is_one_picture(
    scissors: Scissors,
    tmp_path: Path,
    lumas: list[int],
    columns: int,
    size: tuple[int, int],
    quarters: int,
) -> None:
    path = grid_photo(tmp_path / "photo.heic", lumas, columns, size, quarters)

    frame = await frame_of(scissors, path, width=2000)

    assert difference(frame, Image.open(path)) < 4


@pytest.mark.parametrize("extension", ["heic", "avif"])
async def test_a_single_picture_of_that_family_is_shown(
    scissors: Scissors, tmp_path: Path, extension: str
) -> None:
    path = tmp_path / f"a.{extension}"
    corners().save(path)

    frame = await frame_of(scissors, path)

    assert difference(frame, corners()) < 6


@pytest.mark.parametrize("extension", ["png", "webp", "gif"])
async def test_what_is_transparent_is_white(scissors: Scissors, tmp_path: Path, extension: str) -> None:
    picture = corners().convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 80, 80))
    path = tmp_path / f"a.{extension}"
    picture.save(path)

    frame = await frame_of(scissors, path)

    assert frame.convert("RGB").getpixel((20, 20)) == pytest.approx((255, 255, 255), abs=2)
    assert frame.convert("RGB").getpixel((120, 20)) == pytest.approx((20, 160, 40), abs=12)


def rendered(luma: int, **tags: int) -> int:
    """The brightness of a grey frame with these tags of colour."""
    frame = av.VideoFrame(64, 36, "yuv420p")
    for number, plane in enumerate(frame.planes):
        plane.update(bytes([128 if number else luma]) * plane.buffer_size)
    for name, value in tags.items():
        setattr(frame, name, value)
    picture = Image.open(io.BytesIO(rendering.encode_jpeg(frame, rendering.Turn(), None, 64)))
    return int(ImageStat.Stat(picture.convert("L")).mean[0])


def test_brightness_is_that_of_the_display() -> None:
    assert rendered(235) == rendered(235, color_range=1) == 255
    assert rendered(235, color_range=2) == 235
    assert rendered(16) == 0


def test_high_dynamic_range_is_neither_dull_nor_burnt_out() -> None:
    """Paper white is a light grey, and what is five times as bright is still told from it."""
    paper, lamp = (rendered(luma, colorspace=9, color_primaries=9, color_trc=16) for luma in (143, 181))

    assert 170 < paper < 210
    assert paper + 30 < lamp <= 255


@pytest.mark.parametrize(
    "pixels", ["gray", "gray16le", "pal8", "rgb48le", "yuv444p12le", "ya8", "monob", "gbrp"]
)
def test_pixels_of_all_kinds_become_a_jpeg(pixels: str) -> None:
    frame = av.VideoFrame(64, 36, "rgb24").reformat(format=pixels) if pixels != "pal8" else None
    frame = frame or av.VideoFrame(64, 36, "pal8")

    content = rendering.encode_jpeg(frame, rendering.Turn(True, 90), None, 64)

    assert Image.open(io.BytesIO(content)).size == (36, 64)
    assert content == rendering.encode_jpeg(frame, rendering.Turn(True, 90), None, 64)
