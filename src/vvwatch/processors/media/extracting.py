"""Writes pictures and sound of each segment as files in the working folder of the confined process."""

from __future__ import annotations

import errno
import math
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from av.video.frame import VideoFrame

from vvwatch.core.segments import frame_times
from vvwatch.errors import SpoolFull
from vvwatch.processors.media.listening import RATE, SoundReader
from vvwatch.processors.media.mosaics import read_photograph
from vvwatch.processors.media.opening import DECODER_FAILURES, Bounds, Medium, is_decodable, open_media
from vvwatch.processors.media.picking import PictureReader
from vvwatch.processors.media.rendering import Turn, encode_jpeg, read_ends, read_still_turn, read_turn
from vvwatch.processors.media.structure import read_heif_picture

_WAV_HEAD_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Task:
    """What to extract; `spans` are (start, end, ordinal) in order.

    `fd` reads the pictures and `sound_fd` the sound, side by side, so they must not share a position.
    """

    fd: int
    sound_fd: int
    spans: Sequence[tuple[float, float, int]]
    shots: Sequence[float]
    sound_track: int | None
    frames: int
    width: int
    sound: bool
    file_bytes: int
    channel: int | None = None
    other: int | None = None


def extract_spans(task: Task, bounds: Bounds, report: Callable[[float], None]) -> Iterator[Mapping[str, Any]]:
    """Extract one span after the other; yield the names of its files when they are written.

    The files are named `ORDINAL-NUMBER.jpg` and `ORDINAL.wav`. Raises as `open_media`, and SpoolFull if there is no
    room for them.
    """
    with ExitStack() as stack:
        seen = heard = track = None
        if task.frames:
            medium = stack.enter_context(open_media(task.fd, bounds))
            seen = _PictureWriter(medium, task, bounds, report) if medium.pictures is not None else None
        if task.sound:
            medium = stack.enter_context(open_media(task.sound_fd, bounds))
            track = _choose_sound(medium, task)
            heard = SoundReader(medium, track, bounds, report, task.channel) if track is not None else None
        for start, end, ordinal in task.spans:
            moments, has_sound, missing = [], False, []
            if seen is not None:
                moments = seen.write_pictures(start, end, ordinal)
                missing += [] if moments else ["picture"]
                seen.check_readable()
            if heard is not None and end > start:
                has_sound = _write_sound(heard, start, end, ordinal, task.file_bytes)
                missing += [] if has_sound else ["sound"]
                heard.check_readable()
            yield {
                "ordinal": ordinal,
                "frames": moments,
                "sound": has_sound,
                "warning": _missing_warning(missing, start, end),
                "track": track if has_sound else None,
            }


def _choose_sound(medium: Medium, task: Task) -> int | None:
    """Return the number of the track that is asked for; None where there is none."""
    if medium.sounds is None:
        return None
    usable = [each.index for each in medium.container.streams.audio if is_decodable(each)]
    if task.other is not None:
        others = [index for index in usable if index != medium.sounds.index]
        return others[task.other] if task.other < len(others) else None
    return task.sound_track if task.sound_track in usable else medium.sounds.index


def _missing_warning(missing: Sequence[str], start: float, end: float) -> str | None:
    if not missing:
        return None
    return f"no {' and no '.join(missing)} could be decoded between {start:.1f} s and {end:.1f} s"


class _PictureWriter:
    """Writes the pictures of one span after the other."""

    def __init__(self, medium: Medium, task: Task, bounds: Bounds, report: Callable[[float], None]) -> None:
        self._task = task
        self._bounds = bounds
        self._medium = medium
        self._aspect = medium.pictures.sample_aspect_ratio if medium.pictures else None
        self._pictures = PictureReader(medium, bounds, report)

    def check_readable(self) -> None:
        """Raise StorageUnavailable if the pictures ended because a disk or a network failed."""
        self._pictures.check_readable()

    def write_pictures(self, start: float, end: float, ordinal: int) -> list[float]:
        """Write the pictures shown within [start, end), and return their times."""
        if read_heif_picture(self._medium.source) is not None and self._medium.media_type == "image":
            return [0.0] if self._write_photograph(ordinal) else []
        until = end if end > start else math.inf
        moments: list[float] = []
        last: float | None = None
        for wanted in frame_times(start, end, self._task.shots, self._task.frames):
            found = self._pictures.shown_at(wanted, until)
            if found is None or found.at == last:
                continue
            last = found.at
            if self._is_written(f"{ordinal}-{len(moments)}.jpg", found.frame, self._turn(found.frame)):
                moments.append(round(min(max(found.at, start), end), 3))
        return moments

    def _turn(self, frame: VideoFrame) -> Turn:
        if self._medium.media_type != "image":
            return read_turn(frame)
        return read_still_turn(frame, read_ends(self._medium.source))

    def _write_photograph(self, ordinal: int) -> bool:
        found = read_photograph(self._medium, self._bounds)
        return found is not None and self._is_written(f"{ordinal}-0.jpg", *found)

    def _is_written(self, name: str, frame: VideoFrame, turn: Turn) -> bool:
        """Write a picture; return False if it cannot be converted or is too large."""
        try:
            coded = encode_jpeg(frame, turn, self._aspect, self._task.width)
        except MemoryError:
            raise
        except DECODER_FAILURES:
            return False
        if len(coded) <= self._task.file_bytes:
            with _create_file(Path(name)) as file:
                file.write(coded)
        return len(coded) <= self._task.file_bytes


def _write_sound(heard: SoundReader, start: float, end: float, ordinal: int, most_bytes: int) -> bool:
    samples = heard.between(start, end, most_bytes - _WAV_HEAD_BYTES)
    if not samples:
        return False
    with _create_file(Path(f"{ordinal}.wav")) as created, wave.open(created, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples)
    return True


@contextmanager
def _create_file(path: Path) -> Iterator[BinaryIO]:
    """Create a file, which is the only opening that the sandbox allows. Raises SpoolFull."""
    try:
        with path.open("xb") as file:
            yield file
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SpoolFull(
            "no room for the pictures and sounds of an item", "Free some space in the state directory."
        ) from error
