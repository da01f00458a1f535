"""What verdicts cost: CPU of the decoder's children for a 1080p clip and for pictures, beside another checkout.

Usage: python bench/verdicts.py [--against PYTHON] [--rounds N]

PYTHON is the interpreter of another checkout's environment, for instance of the last release. Each round asks both in
turn, ours first in every other round; a file is probed and processed as at an import and its run, so the start of two
children is within the figure. Medians count. The exit status is 1 when a ratio is over its bar.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from processor import make_clip
from vvwatch.processors.media.sample_clips import write_picture

PICTURES = 12
PICTURE_SIZE = (640, 360)
BARS = {"1080p H.264": 1.10, "JPEG 640x360": 1.20, "PNG 640x360": 1.20}
PROGRAM = """
import os, resource, sys, tempfile
from pathlib import Path
import anyio
from vvwatch.core.media import RunSettings
from vvwatch.ports.processing import Prompt
from vvwatch.processors.technical.processor import TECHNICAL_PROMPT, Limits, TechnicalProcessor

async def judge(path, folder):
    processor = TechnicalProcessor(limits=Limits(), work_dir=folder)
    prompt = Prompt(TECHNICAL_PROMPT["prompt_text"], TECHNICAL_PROMPT["json_schema"], None)
    fd = os.open(path, os.O_RDONLY)
    await processor.probe(fd)
    result = await processor.measure(fd, prompt, RunSettings(), lambda _: None)
    os.close(fd)
    assert not result.damage, result.damage

with tempfile.TemporaryDirectory() as folder:
    for path in sys.argv[1:]:
        anyio.run(judge, path, Path(folder))
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_utime + usage.ru_stime)
"""


def cpu_seconds(python: str, files: Sequence[Path]) -> float:
    """CPU seconds of the children that judge `files`, in the environment of `python`."""
    ended = subprocess.run(
        [python, "-c", PROGRAM, *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ.get("PATH", "")},
    )
    return float(ended.stdout)


def material(folder: Path) -> dict[str, list[Path]]:
    """The files of each measurement."""
    jpeg = write_picture(folder / "p.jpg", PICTURE_SIZE)
    png = write_picture(folder / "p.png", PICTURE_SIZE, "png")
    return {
        "1080p H.264": [make_clip(folder / "clip.mp4")],
        "JPEG 640x360": [jpeg] * PICTURES,
        "PNG 640x360": [png] * PICTURES,
    }


def measure(pythons: Sequence[str], files: Sequence[Path], rounds: int) -> list[list[float]]:
    """CPU seconds of each round for each environment; who is asked first changes from round to round."""
    found: list[list[float]] = [[] for _ in pythons]
    for number in range(rounds + 1):
        order = list(enumerate(pythons))
        for index, python in order if number % 2 else reversed(order):
            spent = cpu_seconds(python, files)
            if number:  # the first round fills caches
                found[index].append(spent)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", metavar="PYTHON", help="the interpreter of the other environment")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    pythons = [sys.executable, *([arguments.against] if arguments.against else [])]
    over = False
    with tempfile.TemporaryDirectory() as folder:
        for name, files in material(Path(folder)).items():
            spent = [statistics.median(rounds) for rounds in measure(pythons, files, arguments.rounds)]
            line = f"{name:14} {spent[0] / len(files):7.3f} CPU s a file"
            if len(spent) > 1:
                ratio = spent[0] / spent[1]
                over |= ratio > BARS[name]
                line += f"   other {spent[1] / len(files):7.3f}   ratio {ratio:.2f}, bar {BARS[name]:.2f}"
            print(line, flush=True)
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
