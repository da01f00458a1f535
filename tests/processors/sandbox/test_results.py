"""What the sandbox costs in results: nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import vvwatch
from tests.processors.conftest import Shelf, opened
from vvwatch.core.media import RunSettings
from vvwatch.processors.media import asking
from vvwatch.processors.media.isolation import Limits, open_conversation

pytestmark = pytest.mark.anyio

ROOT = str(Path(vvwatch.__file__).parents[1])
START = "import sys; sys.path.insert(0, sys.argv[1]); import vvwatch.processors.media.child as child; "
OPEN = (
    sys.executable,
    "-I",
    "-c",
    f"{START}child.sandbox.enter_sandbox = lambda folder: None; child.main()",
    ROOT,
)
KINDS = (
    *("mp4", "mov", "mkv", "webm", "avi", "mxf", "ts", "mpg", "wmv", "flv"),
    *("wav", "mp3", "flac", "ogg", "aac", "png", "gif", "heic"),
)
SETTINGS = {"settings": asdict(RunSettings())}
WANTED = {
    "spans": [(0.0, 2.0, 0), (2.0, 4.0, 1)],
    "shots": [2.0],
    "sound_track": None,
    "wanted": {"frames": 2, "width": 320, "sound": True},
    "ahead": 9,
}
TASKS: dict[str, dict[str, Any]] = {"probe": {}, "process": SETTINGS, "plan": SETTINGS, "extract": WANTED}


async def answered(command: tuple[str, ...], task: str, media: Path, work_dir: Path) -> Any:
    """Its answers but those of progress, how it ended, and the files that it left."""
    limits = Limits()
    with opened(media) as fd:
        request = asking.build_request({"task": task, **TASKS[task]}, fd, limits)
        async with open_conversation(command, request, fd=fd, limits=limits, work_dir=work_dir) as talk:
            lines = [json.loads(line) async for line in talk.lines()]
            ending = await talk.end()
            files = {path.name: path.read_bytes() for path in talk.folder.iterdir()}
    return [line for line in lines if "progress" not in line], ending, files


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", KINDS)
async def test_the_sandbox_changes_no_result(shelf: Shelf, tmp_path: Path, kind: str, task: str) -> None:
    media = shelf.usual(kind)

    answers, ending, files = await answered(asking.COMMAND, task, media, tmp_path)

    assert (ending.status, ending.stderr_tail) == (0, b"")
    assert "error" not in answers[-1]
    assert bool(files) == (task == "extract")
    assert (answers, ending, files) == await answered(OPEN, task, media, tmp_path)
