"""The programs that come with vvwatch, as the documentation configures them."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.processing import item_of
from tests.processors.commanding import Bench
from tests.processors.conftest import Shelf
from vvwatch.config import load
from vvwatch.config.processors import CommandProcessor
from vvwatch.core.media import ProcessingResult, RunSettings
from vvwatch.errors import ProcessorPaused
from vvwatch.ports.processing import Prompt
from vvwatch.processors.command.processor import open_processor

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
PYTHON = Path(sys.executable).resolve()
SHARED = "/usr/local/share/vvwatch/config"
EVERY_SECOND = RunSettings(video_segmentation_type="fixed", video_segment_duration=1)
FRAME = """
state_dir = "{folder}/state"
[local]
roots = ["{folder}/media"]
[connectors.rushes]
type = "local"
path = "{folder}/media/rushes"
[indexes.rushes]
[automations.rushes]
index = "rushes"
connector = "rushes"
"""


def documented(name: str) -> str:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "processors.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if f"[processors.{name}]" in block]
    return str(block).replace(SHARED, str(ROOT / "config"))


async def run(name: str, path: Path, tmp_path: Path, **fields: Any) -> ProcessingResult:
    """What the program says about the file at `path`."""
    (tmp_path / "media" / "rushes").mkdir(parents=True)
    given = tmp_path / "vvwatch.toml"
    given.write_text(FRAME.format(folder=tmp_path) + documented(name))
    config = load(given, {})
    declared = config.prompts[name]
    prompt = Prompt(declared.prompt_text, declared.json_schema, None)
    table = config.processors[name]
    assert isinstance(table, CommandProcessor)
    bench = Bench(tmp_path)
    processor = open_processor(name, table, None, bench.resources())
    processor.check_prompt(prompt)
    try:
        return await processor.process(item_of(path, prompt, EVERY_SECOND, **fields))
    finally:
        await processor.aclose()
        assert bench.left() == []


def title_card(path: Path, text: str) -> Path:
    font = ImageFont.load_default(size=72)
    picture = Image.new("RGB", (1280, 360), "white")
    ImageDraw.Draw(picture).text((60, 120), text, fill="black", font=font)
    picture.save(path)
    return path


@pytest.mark.skipif(
    shutil.which("tesseract") is None,
    reason="Debian's tesseract-ocr is not installed; a stub stands in below",
)
async def test_text_on_screen_is_read_by_the_real_tesseract(tmp_path: Path) -> None:
    card = title_card(tmp_path / "card.png", "Harbour master")

    result = await run("screen_text", card, tmp_path, media_type="image")

    assert result.segments[0].metadata == {"lines": ["Harbour master"]}
    assert result.segments[0].metadata_text == "Harbour master"


STUB = """#!/bin/sh
# tesseract PICTURE stdout OPTIONS...
[ "$2 $3 $4" = "stdout -l eng" ] || exit 1
head -c 2 "$1" | od -An -tx1
echo
echo "Harbour master"
"""


def as_tesseract(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put `program` in front of any tesseract that is there."""
    (folder / "bin").mkdir()
    stub = folder / "bin" / "tesseract"
    stub.write_text(program)
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}/bin{os.pathsep}{os.environ['PATH']}")


async def test_text_on_screen_is_read_by_whatever_is_called_tesseract(
    tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_tesseract(tmp_path, STUB, monkeypatch)

    result = await run("screen_text", shelf.usual("mp4"), tmp_path)

    assert [segment.error for segment in result.segments if segment.error] == []
    assert result.segments[0].metadata == {"lines": ["ff d8", "Harbour master"]}


async def test_a_tesseract_that_fails_fails_the_segment_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_tesseract(tmp_path, "#!/bin/sh\necho 'no such language: eng' >&2; exit 1\n", monkeypatch)

    result = await run("screen_text", title_card(tmp_path / "card.png", "x"), tmp_path, media_type="image")

    assert result.segments[0].error == "the program ended with status 1: no such language: eng"


async def test_without_any_tesseract_the_processor_pauses_and_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(PYTHON)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")

    with pytest.raises(ProcessorPaused, match="apt-get install tesseract-ocr"):
        await run("screen_text", title_card(tmp_path / "card.png", "x"), tmp_path, media_type="image")


async def test_sound_has_no_text_on_screen_and_that_is_no_failure(tmp_path: Path, shelf: Shelf) -> None:
    result = await run("screen_text", shelf.usual("wav"), tmp_path, media_type="audio")

    assert {segment.warning for segment in result.segments} == {
        "skipped by the program: there is no picture in it"
    }


async def test_loudness_is_measured_in_ten_lines(tmp_path: Path, shelf: Shelf) -> None:
    result = await run("loudness", shelf.usual("mp4"), tmp_path)

    assert [segment.error for segment in result.segments if segment.error] == []
    assert any(segment.metadata["peak"] > 0.01 for segment in result.segments)
    code = (ROOT / "config" / "processors" / "loudness.py").read_text().partition('"""\n\n')[2]
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 10
