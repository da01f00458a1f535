"""What processors that ask about segments cost beside what they ask: a section each.

Usage: python bench/processors.py [section ...] [--seconds N] [--clip FILE]

`extraction`: CPU seconds of the confined process that takes frames and sound out of a clip of 1080p H.264, start and
imports included, beside a bare decode of every picture (PyAV in this process, one thread, nothing done with the
pictures). Five frames of each 10 s, then one frame of each 10 s, then five with the sound. Without a clip it makes
one of N seconds (20): see bench/processor.py.

`calls`: what the processor of models adds to the calls themselves: see bench/model_calls.py.

`command`: what the processor of programs adds to the programs themselves: see bench/program_runs.py.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio

import model_calls
import program_runs
from processor import bare_decode, cpu_seconds, make_clip
from vvwatch.core.media import Plan, RunSettings
from vvwatch.processors.media.cutting import Cutter, ExtractSettings
from vvwatch.processors.media.isolation import Limits

ROUNDS = 3
FIXED = RunSettings(video_segmentation_type="fixed", video_segment_duration=10)
WANTED = {
    "5 frames in 10 s": (ExtractSettings(frames=5), 1.2),
    "1 frame in 10 s": (ExtractSettings(frames=1), None),
    "5 frames and sound": (ExtractSettings(frames=5, sound=True), None),
    "sound": (ExtractSettings(sound=True), None),
}


@dataclass(frozen=True)
class Table:
    """Where the sections work, and on what."""

    folder: Path
    seconds: int
    clip: Path | None


def extract(path: Path, plan: Plan, wanted: ExtractSettings, work_dir: Path) -> float:
    """CPU seconds of the child that takes `wanted` out of each segment of the plan."""
    cutter = Cutter(limits=Limits(), work_dir=work_dir)

    async def take() -> None:
        spans = dict(enumerate(plan.spans))
        async with cutter.extract(
            fd, spans, wanted, shots=plan.shots, sound_track=plan.sound_track
        ) as extracts:
            async for one in extracts:
                await extracts.release(one)

    before = cpu_seconds(resource.RUSAGE_CHILDREN)
    fd = os.open(path, os.O_RDONLY)
    try:
        anyio.run(take)
    finally:
        os.close(fd)
    return cpu_seconds(resource.RUSAGE_CHILDREN) - before


def plan_of(path: Path, work_dir: Path) -> Plan:
    fd = os.open(path, os.O_RDONLY)
    try:
        return anyio.run(Cutter(limits=Limits(), work_dir=work_dir).plan, fd, FIXED, lambda _: None)
    finally:
        os.close(fd)


def extraction(table: Table) -> None:
    """The best of the rounds counts: what else ran on this machine can only have slowed them down."""
    clip = table.clip or make_clip(table.folder / "clip.mp4", table.seconds)
    before = cpu_seconds(resource.RUSAGE_CHILDREN)
    plan = plan_of(clip, table.folder)
    planned = cpu_seconds(resource.RUSAGE_CHILDREN) - before
    bare = min(bare_decode(clip) for _ in range(ROUNDS))
    print(f"extraction: {plan.spans[-1][1]:.1f} s of {clip.name}, {len(plan.shots)} changes of shot")
    print(f"{'bare decode':20} {bare:6.2f} CPU s")
    print(f"{'plan':20} {planned:6.2f} CPU s   {planned / bare:.2f} x the bare decode")
    for name, (wanted, bar) in WANTED.items():
        spent = min(extract(clip, plan, wanted, table.folder) for _ in range(ROUNDS))
        told = "" if bar is None else f", bar: <= {bar:g}"
        print(f"{name:20} {spent:6.2f} CPU s   {spent / bare:.2f} x the bare decode{told}")


SECTIONS: dict[str, Callable[[Table], None]] = {
    "extraction": extraction,
    "calls": lambda table: model_calls.calls(table.folder),
    "command": lambda table: program_runs.runs(table.folder),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sections", nargs="*", help=", ".join(SECTIONS))
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--clip", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for section in arguments.sections or SECTIONS:
            SECTIONS[section](Table(Path(folder), arguments.seconds, arguments.clip))


if __name__ == "__main__":
    main()
