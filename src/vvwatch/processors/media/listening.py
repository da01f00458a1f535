"""Reads the sound of a stretch of media: 16 kHz, one channel, 16 bits, in sync with the pictures."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.packet import Packet

from vvwatch.processors.media.opening import DECODER_FAILURES, Bounds, Medium
from vvwatch.processors.media.places import Stamped, TrackReader

RATE: Final = 16_000
_SAMPLE_BYTES: Final = 2
_LEAD_SECONDS: Final = 0.5
"""Decoders need some preceding sound, and always get the same amount."""

_GAP_SECONDS: Final = 0.1
_KEPT_SECONDS: Final = 2 * _LEAD_SECONDS
_KEPT_PACKETS: Final = 5000


class SoundReader:
    """The sound of one track by stretches of time, requested in rising order."""

    def __init__(
        self,
        medium: Medium,
        track: int | None,
        bounds: Bounds,
        report: Callable[[float], None],
        channel: int | None = None,
    ) -> None:
        """`channel` is one of the first two that is listened to alone; None for the mix of all."""
        streams = {stream.index: stream for stream in medium.container.streams.audio}
        self._place = TrackReader(
            medium, streams.get(-1 if track is None else track, medium.sounds), bounds, report
        )
        self._context: Any = self._place.stream.codec_context
        self._context.thread_count = 1
        self._channel = channel
        self._recent: deque[Stamped] = deque(maxlen=_KEPT_PACKETS)

    def between(self, start: float, end: float, most_bytes: int) -> bytes:
        """Return the samples of [start, end), at most `most_bytes`; empty if nothing can be decoded.

        Gaps are silent; nothing follows the last decodable sample.
        """
        samples = _SampleBuffer(start, min(end, start + most_bytes / _SAMPLE_BYTES / RATE), self._channel)
        self._context.flush_buffers()
        for packet in self._packets(start - _LEAD_SECONDS, end):
            for frame in self._decode(packet):
                samples.add(frame, self._seconds(frame))
        return samples.finish()

    def check_readable(self) -> None:
        """Raise StorageUnavailable if the sound ended because a disk or a network failed."""
        self._place.check_readable()

    def _packets(self, start: float, end: float) -> Iterator[Packet[Any]]:
        """Yield the packets from the first heard at `start` or later to the last before `end`."""
        for stamped in self._read_packets(start):
            if stamped.at >= end:
                return
            if stamped.at >= start:
                yield stamped.packet

    def _read_packets(self, start: float) -> Iterator[Stamped]:
        """Yield recently read packets and then the following; keep those that the next stretch may begin with."""
        if self._place.leap(start):
            self._recent.clear()
        yield from list(self._recent)
        while (stamped := self._place.read()) is not None:
            self._recent.append(stamped)
            while self._recent[0].at < stamped.at - _KEPT_SECONDS:
                self._recent.popleft()
            yield stamped

    def _decode(self, packet: Packet[Any]) -> list[AudioFrame]:
        try:
            frames: list[AudioFrame] = self._context.decode(packet)
        except MemoryError:
            raise
        except DECODER_FAILURES:
            return []
        return frames

    def _seconds(self, frame: AudioFrame) -> float | None:
        return None if frame.pts is None else self._place.seconds(frame.pts)


class _SampleBuffer:
    """Resampled samples from `start` to `end` of the clock."""

    def __init__(self, start: float, end: float, channel: int | None) -> None:
        self._start = start
        self._channel = channel
        self._wanted = max(0, round((end - start) * RATE))
        self._resampler: AudioResampler | None = None
        self._shape: object = None
        self._heard_to: float | None = None
        self._skipped = 0
        self._kept = bytearray()

    def add(self, frame: AudioFrame, seconds: float | None) -> None:
        """Add a frame that is heard at `seconds`, or right after the last one."""
        at = self._heard_to if seconds is None else seconds
        at = self._start if at is None else at
        shape = (frame.sample_rate, frame.layout.name, frame.format.name)
        if shape != self._shape or self._heard_to is None or abs(at - self._heard_to) > _GAP_SECONDS:
            self._drain()
            self._resampler, self._shape = self._build_resampler(), shape
            self._go_to(at)
        self._heard_to = at + frame.samples / frame.sample_rate
        self._resample(frame)

    def finish(self) -> bytes:
        """Return the samples; no frame may follow."""
        self._drain()
        return bytes(self._kept[: self._wanted * _SAMPLE_BYTES])

    def _go_to(self, at: float) -> None:
        """Let the next sample be that of time `at`: insert silence, or drop the first samples."""
        place = round((at - self._start) * RATE)
        have = len(self._kept) // _SAMPLE_BYTES
        self._skipped = max(0, have - place) if have or place < 0 else 0
        self._kept.extend(bytes(max(0, min(place, self._wanted) - have) * _SAMPLE_BYTES))

    def _drain(self) -> None:
        if self._resampler is not None:
            self._resample(None)
            self._resampler = None

    def _resample(self, frame: AudioFrame | None) -> None:
        if self._resampler is None or len(self._kept) >= self._wanted * _SAMPLE_BYTES:
            return
        try:
            resampled = self._resampler.resample(frame)
        except MemoryError:
            raise
        except DECODER_FAILURES:
            return
        for part in resampled:
            skipped = min(self._skipped, part.samples)
            self._skipped -= skipped
            self._kept += self._pick_samples(part)[skipped * _SAMPLE_BYTES :]

    def _build_resampler(self) -> AudioResampler:
        return AudioResampler(format="s16", layout="mono" if self._channel is None else "stereo", rate=RATE)

    def _pick_samples(self, part: AudioFrame) -> bytes:
        content = bytes(part.planes[0])
        if self._channel is None:
            return content[: part.samples * _SAMPLE_BYTES]
        return array("h", content[: 2 * part.samples * _SAMPLE_BYTES])[self._channel :: 2].tobytes()
