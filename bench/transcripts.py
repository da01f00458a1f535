"""Speech: seconds of sound per second of CPU, beside a bare run of faster-whisper with the same settings.

Usage: python bench/transcripts.py [--base | --model FOLDER] [--sound WAV | --readings N] [--rounds N]

Without a file, a synthetic voice reads half a minute of text N times (1); without a model it is tiny.en, with `--base`
it is Whisper base (145 MB, fetched once), both as int8. Ours counts everything: the decoder's processes, a process for
each piece, the model's loading. The bare run loads it once and decodes the file itself. Both run in turn, one thread
each; the figures are medians.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import anyio
from tests.fakes import FakeStorage
from tests.processing import item_of
from tests.speech import base_model_dir, model_dir, speak

from vvwatch.config.transcription import SpeechTable
from vvwatch.core.transcripts import Transcript
from vvwatch.ports.processing import Prompt
from vvwatch.processors.media.cutting import Cutter
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.transcription.speech import SpeechModel

BAR = 1.1
BAR_SPEED = 15
TEXT = (
    "Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse, and "
    "nothing particular to interest me on shore, I thought I would sail about a little and see the watery part of "
    "the world. It is a way I have of driving off the spleen, and regulating the circulation. There is nothing "
    "surprising in this. If they but knew it, almost all men in their degree, some time or other, cherish very "
    "nearly the same feelings towards the ocean with me."
)
BARE = """
import sys
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
segments, _ = model.transcribe(
    sys.argv[2], vad_filter=True, word_timestamps=True, condition_on_previous_text=False)
print(sum(len(segment.words) for segment in segments))
"""


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime + own.ru_utime + own.ru_stime


def run_bare(model: Path, sound: Path) -> tuple[float, int]:
    before = cpu_seconds()
    command = [sys.executable, "-c", BARE, str(model), str(sound)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return cpu_seconds() - before, int(done.stdout)


async def run_ours(model: Path, sound: Path, seconds: float, folder: Path) -> tuple[float, int]:
    source = SpeechModel(
        SpeechTable(model_dir=model), Cutter(limits=Limits(), work_dir=folder), Limits(), folder
    )
    item = item_of(sound, Prompt("", {}, None), media_type="audio", duration_seconds=seconds)
    before = cpu_seconds()
    found = await source.find(item, FakeStorage())
    assert isinstance(found, Transcript), found
    return cpu_seconds() - before, sum(len(cue.words) for cue in found.cues)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", action="store_true")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--sound", type=Path)
    parser.add_argument("--readings", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def describe(name: str, runs: list[tuple[float, int]], seconds: float) -> str:
    cpu = statistics.median(used for used, _ in runs)
    each = ", ".join(f"{used:.2f}" for used, _ in runs)
    return f"{name}: {cpu:.2f} CPU s ({each}), {seconds / cpu:.1f} x real time per core, {runs[0][1]} words"


def main() -> None:
    options = read_options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sound = options.sound or speak(" ".join([TEXT] * options.readings), folder / "voice.wav")
        model = options.model or (base_model_dir() if options.base else model_dir())
        with wave.open(str(sound)) as file:
            seconds = file.getnframes() / file.getframerate()
        ours, bare = [], []
        for _ in range(options.rounds):
            bare.append(run_bare(model, sound))
            ours.append(anyio.run(run_ours, model, sound, seconds, folder))
    ratio = statistics.median(used for used, _ in ours) / statistics.median(used for used, _ in bare)
    print(f"{seconds:.0f} s of sound, {model}, load {os.getloadavg()[0]:.1f}")
    print(f"{describe('ours', ours, seconds)}; bar {BAR_SPEED}")
    print(describe("bare", bare, seconds))
    print(f"ratio {ratio:.3f}, bar {BAR}")


if __name__ == "__main__":
    main()
