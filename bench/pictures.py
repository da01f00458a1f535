"""Pictures: what the poster, the thumbnails and the storyboard add to the CPU time of the technical pass.

Usage: python bench/pictures.py [clip]

Side by side in one run, on and off in turn, of two clips: that of bench/processor.py, and ten minutes of 320 x 180,
the same patterns 25 times over and no sound. The CPU time is that of the whole child, start and imports included. The
best round of each counts.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import av

from processor import SECONDS, cpu_seconds, make_clip
from vvwatch.core.media import ProcessingResult, RunSettings
from vvwatch.core.pictures import PictureContents, PicturePack
from vvwatch.ports.processing import Prompt
from vvwatch.processors.technical.processor import TECHNICAL_PROMPT, Limits, TechnicalProcessor

ROUNDS = 5
BAR_PERCENT = 15.0
SMALL = (320, 180)
SMALL_BIT_RATE = 400_000
REPEATS = 25


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


def repeat_pictures(source: Path, path: Path) -> Path:
    """Write the pictures of the clip several times, one after the other and coded once."""
    with av.open(str(path), "w") as container:
        stream: Any = None
        for number in range(REPEATS):
            with av.open(str(source)) as clip:
                stream = stream or container.add_stream_from_template(clip.streams.video[0])
                for packet in clip.demux(video=0):
                    if packet.dts is not None and packet.pts is not None and packet.time_base is not None:
                        later = round(number * SECONDS / packet.time_base)
                        packet.dts, packet.pts, packet.stream = packet.dts + later, packet.pts + later, stream
                        container.mux(packet)
    return path


def measure(name: str, clip: Path, work_dir: Path) -> None:
    """Measure in turn, and print what is found."""
    print(f"{name}:")
    spent: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * ROUNDS):
        wanted = bool(number % 2)
        seconds, result = process(clip, work_dir, pictures=wanted)
        spent[wanted].append(seconds)
    report(result, spent)


def main() -> None:
    """Measure both clips, or the one that is named."""
    with tempfile.TemporaryDirectory() as folder:
        work_dir = Path(folder)
        if len(sys.argv) > 1:
            measure(sys.argv[1], Path(sys.argv[1]), work_dir)
            return
        measure("24 s of 1080p", make_clip(work_dir / "clip.mp4"), work_dir)
        once = make_clip(work_dir / "once.mkv", size=SMALL, bit_rate=SMALL_BIT_RATE)
        measure("600 s of 320 x 180", repeat_pictures(once, work_dir / "small.mkv"), work_dir)


if __name__ == "__main__":
    main()
