"""When the frames of a medium come: their exact rate, their first timecode, and the start of the pictures."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

from av.container import InputContainer
from av.video.stream import VideoStream

from vvwatch.core.timecode import exact_rate, is_timecode

_LONGEST: Final = 16
_TOLERANCE: Final = 0.002
_SLACK_STEPS: Final = 2
"""The first or the last picture may be out of place: AVI has no times."""


def read_exact_rate(pictures: VideoStream) -> str | None:
    """Return the rate of `pictures` as 30000/1001 or 25; None where they come at varying distances."""
    mean, base = pictures.average_rate, pictures.base_rate
    rate = exact_rate(mean, base) if mean and base else None
    return None if rate is None else str(rate)


def is_rate_met(stated: str | None, steps: tuple[int, float] | None) -> bool:
    """Return whether pictures come at the rate `stated`, by how many steps were counted in how many seconds.

    A header may state a rate that the pictures do not keep. Each of two fields may come alone. True if nobody knows.
    """
    if stated is None or steps is None:
        return True
    count, seconds = steps
    expected = seconds * float(Fraction(stated))
    return any(abs(count - each) <= _SLACK_STEPS + _TOLERANCE * each for each in (expected, 2 * expected))


def read_timecode(container: InputContainer) -> str | None:
    """Return the timecode of the first frame: by the timecode track, else by a tag; None if neither states one."""
    return next(iter((*_track_timecodes(container), *_tagged_timecodes(container))), None)


def find_timecode_warnings(container: InputContainer) -> list[str]:
    """Return in words where the timecode track says another timecode than a tag."""
    track, tags = _track_timecodes(container), _tagged_timecodes(container)
    others = sorted({tag for tag in tags if track and _digits(tag) != _digits(track[0])})
    return [f"the timecode track begins at {track[0]}, a tag says {tag}: the track counts" for tag in others]


def _track_timecodes(container: InputContainer) -> list[str]:
    return _read_tags(stream for stream in container.streams if stream.type == "data")


def _tagged_timecodes(container: InputContainer) -> list[str]:
    return _read_tags((*container.streams.video, container))


def _read_tags(bearers: Any) -> list[str]:
    """Return the timecodes among the tags; Matroska writes their names in capitals."""
    tags = (tag for bearer in bearers for tag in bearer.metadata.items())
    stated = (value.strip() for name, value in tags if name.lower() == "timecode" and len(value) <= _LONGEST)
    return [value for value in stated if is_timecode(value)]


def _digits(timecode: str) -> str:
    return "".join(filter(str.isdigit, timecode))
