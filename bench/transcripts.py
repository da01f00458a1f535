"""Speech: seconds of sound per second of CPU, beside a bare run of faster-whisper with the same settings.

Usage: python bench/transcripts.py [sound [model_dir]]

Without a file, a synthetic voice reads for half a minute; without a model it is tiny.en, as int8. Ours counts
everything: the decoder's processes, a process for each piece, the model's loading. The bare run loads it once and
decodes the file itself. Both run in turn, one thread each.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import anyio
from tests.fakes import FakeStorage
from tests.processing import item_of
from tests.speech import model_dir, speak

from vvwatch.config.transcription import SpeechTable
from vvwatch.core.transcripts import Transcript
from vvwatch.ports.processing import Prompt
from vvwatch.processors.media.cutting import Cutter
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.transcription.speech import SpeechModel

ROUNDS = 2
BAR = 1.1
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


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = [Path(each) for each in sys.argv[1:]]
        sound = given[0] if given else speak(TEXT, folder / "voice.wav")
        model = given[1] if len(given) > 1 else model_dir()
        with wave.open(str(sound)) as file:
            seconds = file.getnframes() / file.getframerate()
        ours, bare = [], []
        for _ in range(ROUNDS):
            bare.append(run_bare(model, sound))
            ours.append(anyio.run(run_ours, model, sound, seconds, folder))
    (our_cpu, our_words), (bare_cpu, bare_words) = min(ours), min(bare)
    print(f"{seconds:.0f} s of sound, {model}")
    print(f"ours: {our_cpu:.1f} CPU s, {seconds / our_cpu:.1f} x real time per core, {our_words} words")
    print(f"bare: {bare_cpu:.1f} CPU s, {seconds / bare_cpu:.1f} x real time per core, {bare_words} words")
    print(f"ratio {our_cpu / bare_cpu:.2f}, bar {BAR}")


if __name__ == "__main__":
    main()
