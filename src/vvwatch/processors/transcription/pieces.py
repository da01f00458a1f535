"""The sound of an item in pieces that a model can take, cut where it is quiet.

It is decoded in the confined process: 16 kHz, one channel, in sync with the pictures, silence where there is none.
"""

from __future__ import annotations

import wave
from array import array
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio.to_thread

from vvwatch.ports.processing import Item
from vvwatch.processors.media.cutting import Cutter, Extract, ExtractSettings

RATE: Final = 16_000
SAMPLE_BYTES: Final = 2
_SPAN_SECONDS: Final = 30.0
_LONGEST_SECONDS: Final = 600
_WINDOW: Final = RATE // 4
_STEP: Final = 16
_AUDIBLE: Final = 33
"""The least level of sound, of 32,768: -60 dB."""

_MOST_OTHERS: Final = 15

_MIXES: Final = (None, 0, 1)
"""What is listened to, until something is heard: the mix, then each channel: opposite channels cancel out."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of sound from `start_time` on, in seconds; samples of 16 bits.

    `track` is the number of its track where that is not the usual one.
    """

    start_time: float
    samples: bytes
    track: int | None = None

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / SAMPLE_BYTES / RATE


async def read_pieces(cutter: Cutter, item: Item) -> AsyncGenerator[Piece, None]:
    """Yield what can be heard of the item, in order; nothing of silent sound. Raises as `Cutter.extract`.

    Where the usual track is silent, the loudest of the others is heard.
    """
    for channel in _MIXES:
        is_heard = False
        async with aclosing(_read_all(cutter, item, channel)) as pieces:
            async for piece in pieces:
                if await anyio.to_thread.run_sync(_is_audible, piece):
                    is_heard = True
                    yield piece
        if is_heard:
            return
    loudest = await _find_loudest(cutter, item)
    if loudest is None:
        return
    async with aclosing(_read_all(cutter, item, *loudest)) as pieces:
        async for piece in pieces:
            if await anyio.to_thread.run_sync(_is_audible, piece):
                yield piece


async def _find_loudest(cutter: Cutter, item: Item) -> tuple[int | None, int] | None:
    """Return the channel, None for the mix, and the number among the others of the loudest track, if any is heard."""
    best, found = 0, None
    for other in range(_MOST_OTHERS):
        for channel in _MIXES:
            level, is_there = 0, False
            async with aclosing(_read_all(cutter, item, channel, other)) as pieces:
                async for piece in pieces:
                    is_there = is_there or piece.track is not None
                    if await anyio.to_thread.run_sync(_is_audible, piece):
                        level += await anyio.to_thread.run_sync(_measure, piece)
            if level > best:
                best, found = level, (channel, other)
            if not is_there or level:
                break
        if not is_there:
            return found
    return found


def _measure(piece: Piece) -> int:
    """Return how loud a piece is, as a sum."""
    return sum(map(abs, array("h", piece.samples)[::_STEP]))


async def _read_all(
    cutter: Cutter, item: Item, channel: int | None, other: int | None = None
) -> AsyncGenerator[Piece, None]:
    length = item.duration_seconds or 0.0
    spans = {
        number: (number * _SPAN_SECONDS, min((number + 1) * _SPAN_SECONDS, length))
        for number in range(int(length // _SPAN_SECONDS) + 1)
        if number * _SPAN_SECONDS < length
    }
    wanted = ExtractSettings(sound=True, channel=channel, other=other)
    start, kept, track = 0.0, bytearray(), None
    async with item.open() as fd, cutter.extract(fd, spans, wanted) as extracts:
        async for extract in extracts:
            track = track if other is None or extract.track is None else extract.track
            kept += await anyio.to_thread.run_sync(_read_span, extract)
            await extracts.release(extract)
            if len(kept) >= _LONGEST_SECONDS * RATE * SAMPLE_BYTES:
                cut = _find_quiet(kept)
                yield Piece(start, bytes(kept[:cut]), track)
                start += cut / SAMPLE_BYTES / RATE
                del kept[:cut]
    if kept:
        yield Piece(start, bytes(kept), track)


def _read_span(extract: Extract) -> bytes:
    """Return the samples of a span, as many as it is long."""
    wanted = round((extract.end_time - extract.start_time) * RATE) * SAMPLE_BYTES
    return _read_wave(extract.sound, wanted).ljust(wanted, b"\0") if extract.sound else bytes(wanted)


def _read_wave(path: Path, most_bytes: int) -> bytes:
    with wave.open(str(path), "rb") as file:
        return file.readframes(most_bytes // SAMPLE_BYTES)[:most_bytes]


def _find_quiet(samples: bytearray) -> int:
    """Return the middle of the quietest quarter of a second near the end, in bytes."""
    tail = array("h", bytes(samples[-int(_SPAN_SECONDS) * RATE * SAMPLE_BYTES :]))
    levels = {
        start: sum(map(abs, tail[start : start + _WINDOW : _STEP]))
        for start in range(0, len(tail) - _WINDOW, _WINDOW)
    }
    quietest = min(levels, key=lambda start: levels[start], default=0)
    return len(samples) - (len(tail) - quietest - _WINDOW // 2) * SAMPLE_BYTES


def _is_audible(piece: Piece) -> bool:
    samples = array("h", piece.samples)
    return bool(samples) and (max(samples) >= _AUDIBLE or min(samples) <= -_AUDIBLE)


def describe_track(track: int | None) -> str:
    """Return what a transcript's origin says about the track that was heard."""
    return "" if track is None else f", track {track}: the usual one is silent"
