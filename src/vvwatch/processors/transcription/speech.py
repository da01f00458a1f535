"""A speech model on this machine, in a process of its own for each piece of sound."""

from __future__ import annotations

import os
import tempfile
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio.to_thread

from vvwatch.config.transcription import SpeechTable
from vvwatch.core.cues import repair_cues, to_language, to_plain_text
from vvwatch.core.transcripts import Cue, Transcript, TranscriptSource, Word
from vvwatch.errors import ProcessorPaused
from vvwatch.ports import Storage
from vvwatch.ports.processing import Item
from vvwatch.processors.isolated import isolated_command
from vvwatch.processors.media import asking
from vvwatch.processors.media.cutting import Cutter
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.transcription.pieces import Piece, describe_track, read_pieces

_COMMAND: Final = isolated_command("vvwatch.processors.transcription.child")
_SPARE_SECONDS: Final = 600
_LONGEST_SILENCE_SECONDS: Final = 600.0


@dataclass(frozen=True)
class SpeechModel:
    """Implements `Source` with faster-whisper; a piece whose process dies fails the transcript, not the daemon."""

    table: SpeechTable
    cutter: Cutter
    limits: Limits
    work_dir: Path
    name = TranscriptSource.SPEECH

    async def find(self, item: Item, storage: Storage) -> Transcript | str:  # noqa: ARG002
        """Return what the model hears; without speech a transcript without cues.

        Raises MediaError, StorageUnavailable, MachineShortage, and ProcessorPaused if the model cannot be used.
        """
        if why := explain_no_sound(item):
            return why
        cues: list[Cue] = []
        language, track = self.table.language, None
        async with aclosing(read_pieces(self.cutter, item)) as pieces:
            async for piece in pieces:
                track = piece.track
                found, heard = await self._listen(piece, language)
                cues += found
                language = language or heard
        repaired = await anyio.to_thread.run_sync(repair_cues, cues, item.duration_seconds)
        origin = to_plain_text(self.table.model_dir.name + describe_track(track))
        return Transcript(TranscriptSource.SPEECH, origin, language if repaired else None, repaired)

    async def _listen(self, piece: Piece, language: str | None) -> tuple[list[Cue], str | None]:
        task = {
            "task": "listen",
            "model_dir": str(self.table.model_dir),
            "threads": self.table.threads,
            "language": language,
        }
        seconds = piece.seconds * self.table.cpu_per_second + _SPARE_SECONDS
        limits = replace(
            self.limits,
            memory_bytes=self.table.memory_bytes,
            cpu_seconds_max=int(seconds),
            silent_seconds=_LONGEST_SILENCE_SECONDS + 10 * seconds,
        )
        file = await anyio.to_thread.run_sync(_write_samples, self.work_dir, piece.samples)
        try:
            answer = await asking.ask_child(
                task,
                file.fileno(),
                lambda _: None,
                limits=limits,
                work_dir=self.work_dir,
                command=_COMMAND,
            )
        finally:
            file.close()
        if answer.of("refused") is not None:
            raise ProcessorPaused(to_plain_text(str(answer.of("refused"))), "see docs/transcripts.md")
        return await anyio.to_thread.run_sync(partial(asking.read_answer, _read_cues, (answer, piece)))


def explain_no_sound(item: Item) -> str | None:
    """Return why there is nothing to listen to, as far as the probe says."""
    if item.probe and item.probe.get("audio_codec") is None:
        return "no sound"
    return None if item.duration_seconds else "its length is unknown"


def _write_samples(folder: Path, samples: bytes) -> Any:
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # it outlives this function
    file.write(samples)
    file.flush()
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return file


def _read_cues(given: tuple[asking.Answer, Piece]) -> tuple[list[Cue], str | None]:
    answer, piece = given
    said = asking.validate_strictly(asking.ANY_OBJECT, answer.of("heard"))
    cues = [
        Cue(
            piece.start_time + start,
            piece.start_time + end,
            to_plain_text(text),
            tuple(Word(piece.start_time + at, piece.start_time + to, word) for at, to, word in words),
        )
        for start, end, text, words in answer.lists["heard"]
    ]
    return cues, to_language(said["language"])
