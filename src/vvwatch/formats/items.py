"""What a format is, and what it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, BinaryIO

from vvwatch.core.transcripts import Transcript


class NotApplicable(Exception):
    """This item has nothing for this format, such as captions without a transcript; the text says why."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How the frames of a source are counted; `formats.timing.timing_of` reads it from a probe.

    `rate` is in frames a second, exact (30000/1001), None where frames come at varying distances or nobody knows.
    `start_frame` is the number of the first frame by the source's timecode, counted at `counted_at`; None where it
    states none. `drop_frame`: its timecodes skip numbers. `counted_at` is `rate`, or the rate at which frames are
    counted for want of one. `first_picture_seconds` is when the first frame comes, in the times of segments. `notes`
    say to people what is assumed.
    """

    rate: Fraction | None = None
    start_frame: int | None = None
    drop_frame: bool = False
    counted_at: Fraction = Fraction(25)
    first_picture_seconds: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportedItem:
    """The results of one run for one media item.

    `document` is the element of the JSON document: `video`, `segments`, `video_result`. `run` is the run's document.
    """

    document: Mapping[str, Any]
    run: Mapping[str, Any]
    transcript: Transcript | None = None
    timing: Timing = Timing()


class Scope(StrEnum):
    """How much one file of a format may hold: a single item, or as many as there are."""

    ITEM = "item"
    RUN = "run"


Write = Callable[[BinaryIO, Iterable[ExportedItem]], None]
"""Writes the items, one after the other and keeping none. Raises NotApplicable, and then has written nothing."""


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file: its name in settings, the end of its file name with the dot, and how it is written.

    A format of scope ITEM is given exactly one item. `extra` names the optional packages that it needs.
    """

    name: str
    suffix: str
    content_type: str
    scope: Scope
    write: Write
    extra: str | None = None
