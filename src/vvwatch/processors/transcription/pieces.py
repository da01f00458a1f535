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

_MIXES: Final = (None, 0, 1)
"""What is listened to, until something is heard: the mix, then each channel: opposite channels cancel out."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of sound from `start_time` on, in seconds; samples of 16 bits."""

    start_time: float
    samples: bytes

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / SAMPLE_BYTES / RATE


async def read_pieces(cutter: Cutter, item: Item) -> AsyncGenerator[Piece, None]:
    """Yield what can be heard of the item, in order; nothing of silent sound. Raises as `Cutter.extract`."""
    for channel in _MIXES:
        is_heard = False
        async with aclosing(_read_all(cutter, item, channel)) as pieces:
            async for piece in pieces:
                if await anyio.to_thread.run_sync(_is_audible, piece):
                    is_heard = True
                    yield piece
        if is_heard:
            return


async def _read_all(cutter: Cutter, item: Item, channel: int | None) -> AsyncGenerator[Piece, None]:
    length = item.duration_seconds or 0.0
    spans = {
        number: (number * _SPAN_SECONDS, min((number + 1) * _SPAN_SECONDS, length))
        for number in range(int(length // _SPAN_SECONDS) + 1)
        if number * _SPAN_SECONDS < length
    }
    wanted = ExtractSettings(sound=True, channel=channel)
    start, kept = 0.0, bytearray()
    async with item.open() as fd, cutter.extract(fd, spans, wanted) as extracts:
        async for extract in extracts:
            kept += await anyio.to_thread.run_sync(_read_span, extract)
            await extracts.release(extract)
            if len(kept) >= _LONGEST_SECONDS * RATE * SAMPLE_BYTES:
                cut = _find_quiet(kept)
                yield Piece(start, bytes(kept[:cut]))
                start += cut / SAMPLE_BYTES / RATE
                del kept[:cut]
    if kept:
        yield Piece(start, bytes(kept))


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
