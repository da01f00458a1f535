"""Damage of which FFmpeg's log is the only trace."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests import samples
from tests.processors.conftest import Technical
from vvwatch.errors import MediaUnreadable
from vvwatch.processors.media.complaints import Complaints

pytestmark = pytest.mark.anyio


def noise(path: Path, **options: Any) -> Path:
    """A picture that does not compress, so that a hole in it is a hole in its coded pixels."""
    Image.effect_noise((160, 90), 80).convert("P").save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.tif"])
async def test_a_hole_in_a_picture_that_its_decoder_conceals_is_found(
    technical: Technical, tmp_path: Path, name: str
) -> None:
    options = {"compression": "tiff_lzw"} if name == "a.tif" else {}
    whole = noise(tmp_path / name, **options)
    assert (await technical.probe(whole)).damage == ()
    with pytest.raises(MediaUnreadable, match="damaged"):
        await technical.probe(samples.holed(whole, tmp_path / f"holed-{name}", 0.5, 0.7))


async def test_damage_in_a_later_picture_of_an_animation_is_told(
    technical: Technical, tmp_path: Path
) -> None:
    whole, frames = tmp_path / "a.gif", [Image.effect_noise((160, 90), 80).convert("P") for _ in range(4)]
    frames[0].save(whole, save_all=True, append_images=frames[1:], duration=200)
    assert (await technical.process(whole)).damage == ()
    holed = samples.holed(whole, tmp_path / "holed.gif", 0.6, 0.7)
    assert "later pictures" in (await technical.process(holed)).damage[0]


@pytest.mark.parametrize(
    ("name", "line", "counts"),
    [
        ("gif", "LZW decode failed", (1, 0)),
        ("matroska,webm", "Invalid track number 6746", (0, 1)),
        ("h264", "co located POCs unavailable", (0, 0)),
        ("mjpeg", "could not parse EXIF data", (0, 0)),
        ("null", "Application provided invalid timestamps", (0, 0)),
    ],
)
def test_only_lines_about_lost_data_count(name: str, line: str, counts: tuple[int, int]) -> None:
    heard = Complaints()
    heard.emit(logging.LogRecord(f"libav.{name}", logging.ERROR, "", 0, line, None, None))
    assert (heard.count, heard.skips) == counts


@pytest.mark.parametrize("task", ["probe", "process", "plan"])
def test_complaints_are_heard_from_before_the_media_is_opened(task: str) -> None:
    """What FFmpeg says of an index while it opens the media is the only trace of some damage."""
    code = (
        "import sys\n"
        "from vvwatch.processors.media import child, opening\n"
        "def open_media(*_):\n"
        "    raise SystemExit('vvwatch.processors.media.complaints' not in sys.modules)\n"
        "opening.open_media = open_media\n"
        f"child._answer({{'task': {task!r}, 'fd': 0, 'limits': {{'max_pixels': 1, 'max_seconds': 1}}}})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
