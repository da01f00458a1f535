"""Finds the captions that pictures carry (ATSC A/53) and those of QuickTime's caption tracks (EIA-608).

The bytes are read here, from the packets: nothing is decoded, neither a picture nor by a decoder of captions.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Final

from av.packet import Packet
from av.stream import Discard
from av.subtitles.stream import SubtitleStream

from vvwatch.core.line21 import FRAME_SECONDS, Pair, decode_pairs, read_triplets
from vvwatch.core.transcripts import Cue
from vvwatch.processors.media.opening import DECODER_FAILURES, Medium, check_not_storage

LOOKED_AT: Final = 24
"""Of a video, so many packets are looked at: who sends captions sends them, or padding, with each picture."""

_HEADS: Final = {
    "h264": b"\xb5\x00\x31GA94\x03",
    "hevc": b"\xb5\x00\x31GA94\x03",
    "libdav1d": b"\xb5\x00\x31GA94\x03",
    "mpeg2video": b"\x00\x00\x01\xb2GA94\x03",
}
"""What comes before the captions, by the codec of the pictures."""

_SEARCHED_BYTES: Final = 64 << 10
_HAS_CAPTIONS: Final = 0x40
_MOST_TRIPLETS: Final = 0x1F
_MARKED: Final = 0xF8
_REORDERED: Final = 32
"""No codec shows a picture more than 16 after the one that follows it in the file."""

_Stamped = tuple[float, int, bytes]


def has_captions(packet: Packet[Any]) -> bool:
    """Return whether the picture of a packet carries captions, if only padding."""
    return bool(_find_triplets(packet))


def read_hidden_captions(
    medium: Medium, report: Callable[[float], None], *, is_moved: bool
) -> dict[str, list[Cue]] | None:
    """Return the cues of each channel that the pictures carry; None where the first pictures carry none.

    `is_moved`: the container has been read before. Raises StorageUnavailable, and TooManyCues.
    """
    if medium.pictures is None or medium.pictures.codec_context.name not in _HEADS:
        return None
    for stream in medium.container.streams:
        stream.discard = Discard.default if stream is medium.pictures else Discard.all
    pictures = _iter_pictures(medium, report, is_moved=is_moved)
    first = next(pictures, None)
    return None if first is None else decode_pairs(_iter_pairs(_sort(chain([first], pictures))))


def read_caption_track(
    medium: Medium, track: SubtitleStream, packets: Iterable[Packet[Any]]
) -> dict[str, list[Cue]]:
    """Return the cues of each channel of a track. Raises TooManyCues."""
    tick = float(track.time_base or 0)

    def iter_pairs() -> Iterator[Pair]:
        for packet in packets:
            content = bytes(packet)
            lasts = (packet.duration or 0) * tick * 3 / max(3, len(content))
            at = (packet.pts or 0) * tick - medium.origin_seconds
            yield from read_triplets(content, at, min(lasts, FRAME_SECONDS) or FRAME_SECONDS)

    return decode_pairs(iter_pairs())


def _iter_pictures(medium: Medium, report: Callable[[float], None], *, is_moved: bool) -> Iterator[_Stamped]:
    """Yield time, number and triplets of the pictures that carry some, as they come in the file."""
    stream: Any = medium.pictures
    tick = float(stream.time_base or 0)
    is_met = False
    try:
        if is_moved:
            medium.container.seek(0)
        for number, packet in enumerate(medium.container.demux(stream)):
            if number >= LOOKED_AT and not is_met:
                return
            report((packet.pos or 0) / max(1, medium.source.size))
            stamp = packet.dts if packet.pts is None else packet.pts
            content = _find_triplets(packet) if stamp is not None else b""
            is_met = is_met or bool(content)
            if content and stamp is not None:
                yield stamp * tick - medium.origin_seconds, number, content
    except MemoryError:
        raise
    except DECODER_FAILURES as error:
        check_not_storage(error)


def _sort(pictures: Iterable[_Stamped]) -> Iterator[_Stamped]:
    """Yield pictures in the order in which they are shown."""
    waiting: list[_Stamped] = []
    for picture in pictures:
        if len(waiting) < _REORDERED:
            heapq.heappush(waiting, picture)
        else:
            yield heapq.heappushpop(waiting, picture)
    yield from sorted(waiting)


def _iter_pairs(pictures: Iterable[_Stamped]) -> Iterator[Pair]:
    """Yield the pairs; those of one picture that repeats fields are all shown with it."""
    for at, _, content in pictures:
        yield from read_triplets(content, at)


def _find_triplets(packet: Packet[Any]) -> bytes:
    """Return the triplets that a packet carries; they precede its picture."""
    head = _HEADS.get(packet.stream.codec_context.name)
    if head is None or not packet.size:
        return b""
    content = bytes(memoryview(packet)[:_SEARCHED_BYTES])
    found = []
    place = content.find(head)
    while place >= 0:
        start = place + len(head) + 2
        triplets = (
            content[start : start + 3 * (content[start - 2] & _MOST_TRIPLETS)]
            if start < len(content)
            else b""
        )
        if triplets and content[start - 2] & _HAS_CAPTIONS and all(one >= _MARKED for one in triplets[::3]):
            found.append(triplets)
        place = content.find(head, start)
    return b"".join(found)
