"""What is said in media: cues with their words, and what one segment takes of them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

_SIDECAR_REASON: Final = re.compile(
    r"sidecar: .*?(?=; (?:endpoint: |speech: |nothing transcribes )|\Z)", re.DOTALL
)


class TranscriptSource(StrEnum):
    """Where a transcript comes from, best first."""

    EMBEDDED = "embedded"
    SIDECAR = "sidecar"
    ENDPOINT = "endpoint"
    SPEECH = "speech"


@dataclass(frozen=True, slots=True)
class Word:
    """A spoken word; times in seconds from the start of the media."""

    start_time: float
    end_time: float
    text: str


@dataclass(frozen=True, slots=True)
class Cue:
    """A line that is shown or said from `start_time` to `end_time`, in seconds from the start of the media.

    `text` is plain: no markup, no control characters but line feeds. `words` is empty where the source has no times
    of words.
    """

    start_time: float
    end_time: float
    text: str
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """The cues of one media item in order of their starts.

    `origin` says which of its `source`: the track, the key of the sidecar, the model. `language` is a code (ISO 639
    or BCP 47), None where nobody knows.
    """

    source: TranscriptSource
    origin: str
    language: str | None
    cues: tuple[Cue, ...]


def replace_sidecar_reason(error: str, reason: str) -> str:
    """Return why there is no transcript, with another reason for the captions beside the media."""
    return _SIDECAR_REASON.sub(lambda _: f"sidecar: {reason}", error, count=1)


def cues_within(cues: Iterable[Cue], start_time: float, end_time: float) -> tuple[Cue, ...]:
    """Return the cues of the segment [start_time, end_time): those whose middle is in it.

    Each cue belongs to exactly one of the segments that tile the media.
    """
    return tuple(cue for cue in cues if start_time <= (cue.start_time + cue.end_time) / 2 < end_time)


class CueFinder:
    """Finds what `cues_within` does, for many segments of the same media: it looks at no other cues."""

    def __init__(self, cues: Sequence[Cue]) -> None:
        self._cues = cues
        ordered = sorted(((cue.start_time + cue.end_time) / 2, number) for number, cue in enumerate(cues))
        self._middles = [middle for middle, _ in ordered]
        self._numbers = [number for _, number in ordered]

    def find(self, start_time: float, end_time: float) -> tuple[Cue, ...]:
        """Return the cues of the segment [start_time, end_time), in their order."""
        first, last = bisect_left(self._middles, start_time), bisect_left(self._middles, end_time)
        return tuple(self._cues[number] for number in sorted(self._numbers[first:last]))


def describe_said(found: Transcript, start_time: float, end_time: float) -> dict[str, Any]:
    """Return what a segment says, as results and exports show it."""
    return describe_cues(found, cues_within(found.cues, start_time, end_time))


def describe_cues(found: Transcript, cues: Sequence[Cue]) -> dict[str, Any]:
    """Return what these cues say, as results and exports show it."""
    words = [word for cue in cues for word in cue.words]
    return {
        "text": "\n".join(cue.text for cue in cues),
        "language": found.language,
        "source": found.source.value,
        "words": [
            {"text": word.text, "start_time": word.start_time, "end_time": word.end_time} for word in words
        ],
    }


def texts_within(cues: Iterable[Cue], spans: Iterable[tuple[float, float]]) -> list[str]:
    """Return what is said in each span [start, end), as `cues_within` cuts it, for many spans at once."""
    middles = sorted(
        ((cue.start_time + cue.end_time) / 2, number, cue.text) for number, cue in enumerate(cues)
    )
    times = [middle for middle, _, _ in middles]
    ranges = ((bisect_left(times, start), bisect_left(times, end)) for start, end in spans)
    return ["\n".join(text for _, _, text in middles[first:last]) for first, last in ranges]
