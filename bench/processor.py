"""The technical processor: seconds of 1080p H.264 per second of CPU, beside a bare decode of every picture.

Usage: python bench/processor.py [clip]

Without a clip it makes one: 24 s at 30 frames per second and up to 4 Mb/s, four moving patterns, B pictures as
x264's `veryfast` places them, a tone with a pause. The CPU time of the processor is that of its whole child, start and
imports included. The bare decode is PyAV in this process, one thread, nothing done with the pictures.
"""

from __future__ import annotations

import itertools
import os
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import anyio
import av
from av.video.frame import PictureType

from vvwatch.core.media import ProcessingResult, RunSettings
from vvwatch.ports.processing import Prompt
from vvwatch.processors.media.sample_clips import generate_pattern, generate_tone
from vvwatch.processors.technical.processor import TECHNICAL_PROMPT, Limits, TechnicalProcessor

ROUNDS = 5
SECONDS = 24
RATE = 30
SIZE = (1920, 1080)
PATTERNS = ("testsrc2", "mandelbrot=end_scale=0.05", "gradients=seed=5:speed=0.05", "sierpinski=seed=4")
BAR = 10.0


def cpu_seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def pictures(seconds: int, size: tuple[int, int]) -> Iterator[av.VideoFrame]:
    each = seconds * RATE // len(PATTERNS)
    numbers = itertools.count()
    for pattern in PATTERNS:
        for frame in itertools.islice(generate_pattern(pattern, size, RATE), each):
            frame.pts, frame.time_base = next(numbers), Fraction(1, RATE)
            frame.pict_type = PictureType.NONE
            yield frame


def make_clip(
    path: Path, seconds: int = SECONDS, size: tuple[int, int] = SIZE, bit_rate: int = 4_000_000
) -> Path:
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        video.width, video.height, video.pix_fmt, video.bit_rate = *size, "yuv420p", bit_rate
        audio: Any = container.add_stream("aac", rate=48_000, layout="stereo")
        tone = itertools.takewhile(lambda frame: (frame.time or 0) < seconds, generate_tone([(7, 9)]))
        for stream, frames in ((video, pictures(seconds, size)), (audio, tone)):
            for frame in frames:
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def bare_decode(path: Path) -> float:
    """CPU seconds to decode every picture."""
    before = cpu_seconds(resource.RUSAGE_SELF)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for _ in container.decode(stream):
            pass
    return cpu_seconds(resource.RUSAGE_SELF) - before


def process(path: Path, work_dir: Path) -> tuple[float, ProcessingResult]:
    """CPU seconds of the child, and what it found."""
    prompt = Prompt(TECHNICAL_PROMPT["prompt_text"], TECHNICAL_PROMPT["json_schema"], None)
    processor = TechnicalProcessor(limits=Limits(), work_dir=work_dir)
    before = cpu_seconds(resource.RUSAGE_CHILDREN)
    fd = os.open(path, os.O_RDONLY)
    try:
        result = anyio.run(processor.measure, fd, prompt, RunSettings(), lambda _: None)
    finally:
        os.close(fd)
    return cpu_seconds(resource.RUSAGE_CHILDREN) - before, result


def report(clip: Path, result: ProcessingResult, bare: Sequence[float], ours: Sequence[float]) -> None:
    """The best round of each counts: what else ran on this machine can only have slowed them down."""
    probe, seconds = result.metadata["probe"], result.metadata["analysed_seconds"]
    megabits = clip.stat().st_size * 8 / seconds / 1e6
    print(
        f"clip       {seconds:.1f} s, {probe['width']}x{probe['height']} {probe['video_codec']}, {megabits:.1f} Mb/s"
    )
    print(f"found      {result.metadata_text}")
    for name, spent in (("bare", bare), ("technical", ours)):
        speed = seconds / min(spent)
        rounds = " ".join(f"{round_:.2f}" for round_ in spent)
        print(f"{name:10} {speed:5.1f} x real time per core   {min(spent):.2f} CPU s   (rounds: {rounds})")
    print(f"ratio      {min(bare) / min(ours):.2f}, bar: technical >= {BAR:g} x real time per core")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work_dir = Path(folder)
        clip = Path(sys.argv[1]) if len(sys.argv) > 1 else make_clip(work_dir / "clip.mp4")
        bare, ours = [], []
        for _ in range(ROUNDS):
            bare.append(bare_decode(clip))
            spent, result = process(clip, work_dir)
            ours.append(spent)
        report(clip, result, bare, ours)


if __name__ == "__main__":
    main()
