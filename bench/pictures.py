"""Pictures: what the poster, the thumbnails and the storyboard add to the CPU time of the technical pass.

Usage: python bench/pictures.py [clip]

Side by side in one run, on and off in turn; the clip is that of bench/processor.py. The CPU time is that of the whole
child, start and imports included. The best round of each counts.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from pathlib import Path

import anyio

from processor import cpu_seconds, make_clip
from vvwatch.core.media import ProcessingResult, RunSettings
from vvwatch.core.pictures import PictureContents, PicturePack
from vvwatch.ports.processing import Prompt
from vvwatch.processors.technical.processor import TECHNICAL_PROMPT, Limits, TechnicalProcessor

ROUNDS = 7
BAR_PERCENT = 15.0


class Draft:
    """Implements `PictureDraft` in an unnamed file."""

    width = 320
    most_bytes = 8 << 20

    def __init__(self, fd: int) -> None:
        self.fd = fd

    async def keep(self, contents: PictureContents) -> PicturePack | None:
        """Keep it as long as the file is open."""
        return PicturePack("", "", os.fstat(self.fd).st_size, contents)


def process(path: Path, work_dir: Path, *, pictures: bool) -> tuple[float, ProcessingResult]:
    """Return the CPU seconds of the child, and its result."""
    prompt = Prompt(TECHNICAL_PROMPT["prompt_text"], TECHNICAL_PROMPT["json_schema"], None)
    processor = TechnicalProcessor(limits=Limits(), work_dir=work_dir)
    before = cpu_seconds(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as pack, path.open("rb") as media:
        draft = Draft(pack.fileno()) if pictures else None
        arguments = media.fileno(), prompt, RunSettings(), lambda _: None, draft
        result = anyio.run(processor.measure, *arguments)
    return cpu_seconds(resource.RUSAGE_CHILDREN) - before, result


def report(result: ProcessingResult, spent: dict[bool, list[float]]) -> None:
    """Print both, and the difference."""
    pack = result.pictures
    assert pack is not None
    board = pack.contents.storyboard
    tiles = 0 if board is None else len(board.times)
    kept = f"{len(pack.contents.pictures)} pictures, {tiles} tiles, {pack.size_bytes:,} bytes"
    print(f"kept       {kept} of {result.metadata['analysed_seconds']:.1f} s")
    for name, rounds in (("off", spent[False]), ("on", spent[True])):
        print(f"{name:10} {min(rounds):.2f} CPU s   (rounds: {' '.join(f'{each:.2f}' for each in rounds)})")
    percent = (min(spent[True]) / min(spent[False]) - 1) * 100
    print(f"pictures   {percent:+.1f} % CPU, bar: <= {BAR_PERCENT:g} %")


def main() -> None:
    """Measure in turn."""
    with tempfile.TemporaryDirectory() as folder:
        work_dir = Path(folder)
        clip = Path(sys.argv[1]) if len(sys.argv) > 1 else make_clip(work_dir / "clip.mp4")
        spent: dict[bool, list[float]] = {False: [], True: []}
        for number in range(2 * ROUNDS):
            wanted = bool(number % 2)
            seconds, result = process(clip, work_dir, pictures=wanted)
            spent[wanted].append(seconds)
        report(result, spent)


if __name__ == "__main__":
    main()
