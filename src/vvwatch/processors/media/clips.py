"""Clips of media, in the parent: which container each gets, and the request to cut it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from vvwatch.errors import MediaLimit, MediaUnsupported
from vvwatch.processors.media import asking
from vvwatch.processors.media.forking import Template
from vvwatch.processors.media.isolation import Limits

_ANY: Final = "matroska"
_MUXERS: Final = {
    **dict.fromkeys(("mp4", "m4v", "m4a", "m4b", "f4v", "3gp", "3g2"), "mp4"),
    "mov": "mov",
    "webm": "webm",
    **dict.fromkeys(("ts", "m2t", "mts", "m2ts"), "mpegts"),
    "mp3": "mp3",
    "wav": "wav",
    "flac": "flac",
}
_ENDINGS: Final = {"mp4": "mp4", "mov": "mov", "webm": "webm", "mpegts": "ts", "matroska": "mkv"}


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip: the ending of its name, and the stretch of the media that it covers."""

    ending: str
    start_time: float
    end_time: float


@dataclass(frozen=True, slots=True)
class _Cut:
    """The child's answer."""

    muxer: str
    start_time: float
    end_time: float


_CUT: Final = TypeAdapter(_Cut)


def choose_ending(extension: str) -> str:
    """Return the ending of the clip of a file with this extension, if its container can hold the clip."""
    muxer = _MUXERS.get(extension, _ANY)
    return _ENDINGS.get(muxer, muxer)


class Clipper:
    """Cuts clips, each in a separate process with its working folder below `work_dir`.

    It is forked from the `template` if there is one.
    """

    def __init__(self, *, limits: Limits, work_dir: Path, template: Template | None = None) -> None:
        self._how: dict[str, Any] = {"limits": limits, "work_dir": work_dir, "template": template}

    async def cut(
        self, fd: int, span: tuple[float, float], extension: str, output_fd: int, most_bytes: int
    ) -> Clip:
        """Write the stretch `span` of the media behind `fd` to `output_fd`, an empty file, and return what it is.

        What the container of this extension cannot hold goes into Matroska.

        Raises MediaError if it cannot be cut, StorageUnavailable if it cannot be read, MachineShortage.
        """
        muxer = _MUXERS.get(extension, _ANY)
        try:
            return await self._try(fd, span, muxer, output_fd, most_bytes)
        except MediaUnsupported:
            if muxer == _ANY:
                raise
        os.ftruncate(output_fd, 0)
        os.lseek(output_fd, 0, os.SEEK_SET)
        return await self._try(fd, span, _ANY, output_fd, most_bytes)

    async def _try(
        self, fd: int, span: tuple[float, float], muxer: str, output_fd: int, most_bytes: int
    ) -> Clip:
        output = {"fd": output_fd, "most_bytes": most_bytes}
        task = {"task": "clip", "span": span, "muxer": muxer, "output": output}
        answer = await asking.ask_child(task, fd, lambda _: None, output_fd=output_fd, **self._how)
        if os.fstat(output_fd).st_size > most_bytes:
            raise MediaLimit("the segment is larger than the room for it", "download the whole file")
        cut = asking.read_answer(lambda said: asking.validate_strictly(_CUT, said), answer.of("clip"))
        return Clip(_ENDINGS.get(muxer, muxer), cut.start_time, cut.end_time)
