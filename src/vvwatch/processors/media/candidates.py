"""Pictures kept while media are decoded: small, as JPEG files in memory, bounded in number and bytes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any, Final, NamedTuple

from av.packet import Packet
from av.video.frame import VideoFrame

from vvwatch.core.pictures import MOST_PICTURES
from vvwatch.errors import MediaError
from vvwatch.processors.media.opening import DECODER_FAILURES, Bounds, check_pixels
from vvwatch.processors.media.rendering import Press, Turn, fit_size, read_turn

_FIRST_STEP_SECONDS: Final = 1.0
_LONGEST_FIRST_STEP_SECONDS: Final = 2.0
_ENOUGH_PICTURES: Final = 300
_AFTER_CUT_SECONDS: Final = 0.4
"""The first pictures of a shot may still be part of a fade."""

_OF_FRAME: Final = ("pts", "time_base", "colorspace", "color_trc", "color_primaries")
"""What encoding changes of a frame that is still to be measured."""


_NO_TIME_BASE: Final = Fraction(0)


class Candidate(NamedTuple):
    """A picture that may be kept."""

    at: float
    jpeg: bytes
    size: tuple[int, int]


class Candidates:
    """Takes a picture every second or two; when there are too many, the step doubles and all closer ones are dropped.

    `due` is the time from which the next is taken. `turn` returns how a frame is displayed, `aspect` is that of its
    pixels. Nothing here fails an item: a picture that cannot be converted is left out, and a lack of memory ends it.
    """

    def __init__(self, width: int, most_bytes: int) -> None:
        self.width = width
        self.turn: Callable[[VideoFrame], Turn] = read_turn
        self.aspect: Any = None
        self.due = 0.0
        self.kept: list[Candidate] = []
        self._most_bytes = most_bytes
        self._step = _FIRST_STEP_SECONDS
        self._bytes = 0
        self._press = Press()

    def expect(self, seconds: float) -> None:
        """Take fewer of media of this stated length, which may be wrong: the step gets at most twice as long."""
        wanted = max(_FIRST_STEP_SECONDS, seconds / _ENOUGH_PICTURES)
        self._step = min(_LONGEST_FIRST_STEP_SECONDS, wanted)

    def offer(self, at: float, frame: VideoFrame) -> None:
        """Keep `frame`, shown at `at`, as it is now; it is unchanged afterwards."""
        self.due = at + self._step
        before = {name: getattr(frame, name) for name in _OF_FRAME}
        try:
            turn = self.turn(frame)
            size = fit_size((frame.width, frame.height), self.aspect, turn, self.width)
            self._keep(Candidate(at, self._press.encode(frame, turn, size), size))
        except MemoryError:
            self.stop()
            self.kept.clear()
        except DECODER_FAILURES:
            pass
        finally:
            for name, value in before.items():
                setattr(frame, name, _NO_TIME_BASE if value is None and name == "time_base" else value)

    def hasten(self, cut: float) -> None:
        """Take the next soon after this cut, unless the last one is too near."""
        self.due = min(self.due, max(cut + _AFTER_CUT_SECONDS, self.due - self._step / 2))

    def stop(self) -> None:
        """Take no more."""
        self.due = float("inf")

    def _keep(self, candidate: Candidate) -> None:
        self.kept.append(candidate)
        self._bytes += len(candidate.jpeg)
        while len(self.kept) > 1 and (len(self.kept) > MOST_PICTURES or self._bytes > self._most_bytes):
            self._step *= 2
            self._drop_closer()
            self.due = self.kept[-1].at + self._step

    def _drop_closer(self) -> None:
        spaced = self.kept[:1]
        for candidate in self.kept[1:]:
            if candidate.at - spaced[-1].at >= self._step:
                spaced.append(candidate)
        self.kept = spaced
        self._bytes = sum(len(candidate.jpeg) for candidate in spaced)


def take_cover(candidates: Candidates, packet: Packet[Any], bounds: Bounds) -> None:
    """Keep the cover of a sound file, if it can be decoded; it is no part of what is measured."""
    if candidates.kept:
        return
    candidates.aspect = packet.stream.sample_aspect_ratio
    with suppress(MediaError, *DECODER_FAILURES):
        for frame in packet.decode():
            check_pixels(frame.width, frame.height, bounds)
            candidates.offer(0.0, frame)
            candidates.stop()
            return
