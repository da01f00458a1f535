"""Cuts media into segments and extracts their pictures and sound, in the confined process.

A model or a command is asked segment by segment. Its input comes from here: first the plan of the cuts, then for each
segment a few pictures and its sound, as files that are removed when the segment is done.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
from pydantic import TypeAdapter

from vvwatch.core.cues import repair_cues, to_language, to_plain_text
from vvwatch.core.media import Plan, RunSettings
from vvwatch.core.objects import MEDIA_TYPES
from vvwatch.core.transcripts import Cue, Transcript, TranscriptSource
from vvwatch.errors import MediaLimit, ProcessorCrashed
from vvwatch.ports.processing import PictureDraft
from vvwatch.processors.media import asking
from vvwatch.processors.media.forking import Template
from vvwatch.processors.media.isolation import Conversation, Limits, open_conversation
from vvwatch.processors.media.packs import describe_output, keep_pictures

_PLAN: Final = TypeAdapter(Plan)
_EXTRACT: Final = TypeAdapter(dict[str, Any])


@dataclass(frozen=True, slots=True)
class ExtractSettings:
    """What to extract from each segment.

    At most `frames` pictures, chosen by shot, as displayed and not larger than `width` (and twice that in height);
    with `sound`, its sound as a WAV file of 16 kHz in one channel: the mix of all, or this `channel` of the first two,
    of the usual track, or of the one with this number among the `other` ones.
    """

    frames: int = 0
    width: int = 640
    sound: bool = False
    channel: int | None = None
    other: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture as a JPEG file in a private folder; removed when the segment is done."""

    at_seconds: float
    path: Path


@dataclass(frozen=True, slots=True)
class Extract:
    """The files of one segment; `warning` says what could not be extracted, such as damaged pictures.

    `track` is the number in the file of the track that `sound` is of.
    """

    ordinal: int
    start_time: float
    end_time: float
    frames: tuple[Frame, ...] = ()
    sound: Path | None = None
    warning: str | None = None
    track: int | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Return all its files."""
        return (*(frame.path for frame in self.frames), *((self.sound,) if self.sound else ()))


Spans = Mapping[int, tuple[float, float]]


class Extracts:
    """The extracted segments in order of time. Each must be released before others can follow.

    Iteration raises MediaError if the media cannot be read, StorageUnavailable if its bytes cannot.
    """

    def __init__(
        self, talk: Conversation, spans: Spans, wanted: ExtractSettings, limits: Limits, most_files: int
    ) -> None:
        self._talk = talk
        self._spans = spans
        self._wanted = wanted
        self._limits = limits
        self._most_files = most_files
        self._waiting = set(spans)

    async def __aiter__(self) -> AsyncIterator[Extract]:
        async for line in self._talk.lines():
            said = asking.read_line(line, lambda _: None)
            if said is not None:
                extract = asking.read_answer(self._parse_extract, said)
                await anyio.to_thread.run_sync(self._check_files, extract)
                yield extract
        asking.check_ending(await self._talk.end(), self._limits, is_answered=not self._waiting)

    async def release(self, extract: Extract) -> None:
        """Remove the files of `extract` and let the process continue."""
        await anyio.to_thread.run_sync(_remove_files, extract.files)
        await self._talk.tell(b"\n")

    def _parse_extract(self, said: Mapping[str, Any]) -> Extract:
        extract = asking.validate_strictly(_EXTRACT, said["extract"])
        ordinal, moments = extract["ordinal"], [float(moment) for moment in extract["frames"]]
        self._waiting.remove(ordinal)
        if len(moments) > self._wanted.frames:
            raise ValueError(len(moments))
        name, warning = str(self._talk.folder / str(ordinal)), extract["warning"]
        return Extract(
            ordinal,
            *self._spans[ordinal],
            tuple(Frame(at, Path(f"{name}-{number}.jpg")) for number, at in enumerate(moments)),
            Path(f"{name}.wav") if extract["sound"] and self._wanted.sound else None,
            None if warning is None else str(warning),
            None if (track := extract.get("track")) is None else int(track),
        )

    def _check_files(self, extract: Extract) -> None:
        """Raise unless all files exist, are regular, and are not too large."""
        with os.scandir(self._talk.folder) as entries:
            found = {
                entry.name: entry.stat(follow_symlinks=False)
                for entry in islice(entries, self._most_files + 1)
            }
        if len(found) > self._most_files:
            raise ProcessorCrashed(f"the decoder process left more than {self._most_files} files")
        if not all(path.name in found for path in extract.files) or not all(
            stat.S_ISREG(one.st_mode) for one in found.values()
        ):
            raise ProcessorCrashed("the decoder process left something else than files")
        if sum(one.st_size for one in found.values()) > self._limits.extracted_bytes:
            raise MediaLimit(
                f"the pictures and sounds exceed {self._limits.extracted_bytes >> 20} MiB",
                "Ask for fewer or smaller frames, or use shorter segments.",
            )


class Cutter:
    """Cuts media and extracts pictures and sound, each time in a separate process.

    `work_dir` holds the working folders of these processes. They are forked from the `template` if there is one.
    """

    def __init__(self, *, limits: Limits, work_dir: Path, template: Template | None = None) -> None:
        self._limits = limits
        self._how: dict[str, Any] = {"limits": limits, "work_dir": work_dir, "template": template}

    async def plan(
        self,
        fd: int,
        settings: RunSettings,
        progress: Callable[[float], None],
        draft: PictureDraft | None = None,
    ) -> Plan:
        """Return the cuts of the media behind `fd`, and keep pictures in `draft`; damaged media as far as readable.

        Raises MediaUnreadable, MediaLimit, ProcessorCrashed, StorageUnavailable, and InvalidInput for settings
        without a length.
        """
        asking.check_settings(settings)
        task = {"task": "plan", "settings": asdict(settings), **describe_output(draft)}
        output = None if draft is None else draft.fd
        answer = await asking.ask_child(task, fd, progress, output_fd=output, **self._how)
        plan = asking.read_answer(_read_plan, answer)
        return replace(plan, pictures=await keep_pictures(answer, draft))

    async def captions(self, fd: int, duration_seconds: float | None) -> Transcript | str:
        """Return what the captions in the media behind `fd` say, or why there are none. Raises as `plan`."""
        task = {"task": "captions", "duration_seconds": duration_seconds}
        answer = await asking.ask_child(task, fd, lambda _: None, **self._how)
        return await anyio.to_thread.run_sync(asking.read_answer, _read_captions, answer)

    @asynccontextmanager
    async def extract(
        self,
        fd: int,
        spans: Spans,
        wanted: ExtractSettings,
        *,
        shots: Sequence[float] = (),
        sound_track: int | None = None,
        ahead: int = 4,
    ) -> AsyncIterator[Extracts]:
        """Extract `wanted` from `spans`, segments by ordinal, of the media behind `fd`.

        At most `ahead` segments are extracted but not released. `shots` and `sound_track` are those of the plan. When
        the block ends, the process and its files are gone.
        """
        task = {
            "task": "extract",
            "spans": sorted((start, end, ordinal) for ordinal, (start, end) in spans.items()),
            "shots": list(shots),
            "sound_track": sound_track,
            "wanted": asdict(wanted),
            "ahead": ahead,
        }
        most_files, most_bytes = ahead * (wanted.frames + 1), self._limits.extracted_bytes
        async with open_conversation(
            asking.COMMAND,
            asking.build_request(task, fd, self._limits),
            fd=fd,
            keeps_stdin=True,
            has_too_much=partial(_has_too_much, most_files=most_files, most_bytes=most_bytes),
            **self._how,
        ) as talk:
            yield Extracts(talk, spans, wanted, self._limits, most_files)


def _read_plan(answer: asking.Answer) -> Plan:
    plan = asking.validate_strictly(_PLAN, answer.of("plan"))
    spans, shots = (tuple(answer.lists[name]) for name in ("spans", "shots"))
    plan = replace(plan, spans=spans + plan.spans, shots=shots + plan.shots)
    if plan.probe is not None and plan.probe.media_type not in MEDIA_TYPES.values():
        raise ValueError(plan.probe.media_type)
    if not plan.spans:
        raise ValueError("no spans")
    return plan


def _read_captions(answer: asking.Answer) -> Transcript | str:
    said = asking.validate_strictly(asking.ANY_OBJECT, answer.of("captions"))
    if "why" in said:
        return to_plain_text(said["why"])
    cues = (Cue(start, end, to_plain_text(text)) for start, end, text in answer.lists["cues"])
    origin, language = to_plain_text(said["origin"]), to_language(said["language"])
    return Transcript(TranscriptSource.EMBEDDED, origin, language, repair_cues(cues, None))


def _has_too_much(folder: Path, *, most_files: int, most_bytes: int) -> bool:
    """Return whether a process fills the disk that it shares with the database; blocks."""
    files = size = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in islice(entries, most_files + 1):
            files += 1
            with suppress(FileNotFoundError):  # it was just used and released
                size += entry.stat(follow_symlinks=False).st_size
    return files > most_files or size > most_bytes


def _remove_files(files: Sequence[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)
