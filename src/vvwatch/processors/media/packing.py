"""Chooses the pictures of an item among the candidates, and writes them into its pack."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import av
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from vvwatch.core.pictures import MOST_SEGMENTS, MOST_TILES, Picture, PictureContents, Storyboard
from vvwatch.processors.media.candidates import Candidate
from vvwatch.processors.media.measurements import Pictures
from vvwatch.processors.media.opening import DECODER_FAILURES
from vvwatch.processors.media.rendering import Turn, code_jpeg, fit_size

_TILE_WIDTH: Final = 160
_COLUMNS: Final = 10
_DARK_SHARE: Final = 0.9
_EARLY: Final = Fraction(2, 3)
_INSTANT_SECONDS: Final = 0.001
"""The length of a picture that is no video, for this purpose."""

_TICK: Final = Fraction(1, 25)

Span = tuple[float, float]


class Packer:
    """Writes pictures one after the other into the file behind `fd`, up to `most_bytes`."""

    def __init__(self, fd: int, most_bytes: int) -> None:
        self._fd = fd
        self._room = most_bytes
        self._offset = 0

    def pack(
        self, candidates: Sequence[Candidate], spans: Sequence[Span], series: Pictures | None, seconds: float
    ) -> PictureContents | None:
        """Write the poster, the storyboard, and one picture a segment; return where they stand, None for none.

        A storyboard needs two pictures. Raises OSError if the file cannot be written.
        """
        if not candidates:
            return None
        good = [each for each in candidates if not _is_dark(each.at, series)]
        numbers: dict[int, int] = {}
        pictures: list[Picture] = []

        def number(chosen: Candidate | None) -> int | None:
            if chosen is None:
                return None
            if id(chosen) not in numbers:
                picture = self._write(chosen.jpeg, chosen.size, chosen.at)
                if picture is None:
                    return None
                numbers[id(chosen)] = len(pictures)
                pictures.append(picture)
            return numbers[id(chosen)]

        poster = number(_choose_poster(good or candidates, candidates[0], seconds))
        board = self._write_storyboard(candidates, seconds) if len(candidates) > 1 else None
        chosen = (_choose_thumbnail(candidates, good, span) for span in spans[:MOST_SEGMENTS])
        segments = tuple(number(each) for each in chosen)
        return PictureContents(tuple(pictures), poster, segments, board)

    def _write(self, jpeg: bytes, size: tuple[int, int], at: float) -> Picture | None:
        if len(jpeg) > self._room:
            return None
        view = memoryview(jpeg)
        while view:
            view = view[os.write(self._fd, view) :]
        picture = Picture(self._offset, len(jpeg), *size, round(at, 3))
        self._offset, self._room = self._offset + len(jpeg), self._room - len(jpeg)
        return picture

    def _write_storyboard(self, candidates: Sequence[Candidate], seconds: float) -> Storyboard | None:
        shown = [each for each in candidates if each.size == candidates[0].size]
        if len(shown) > MOST_TILES:
            shown = [shown[round(place * (len(shown) - 1) / (MOST_TILES - 1))] for place in range(MOST_TILES)]
        tile = fit_size(shown[0].size, None, Turn(), _TILE_WIDTH)
        tile = max(2, tile[0] // 2 * 2), max(2, tile[1] // 2 * 2)
        columns = min(_COLUMNS, len(shown))
        try:
            frame = _lay_out([each.jpeg for each in shown], shown[0].size, tile, columns)
            jpeg = code_jpeg(frame)
        except (MemoryError, *DECODER_FAILURES):
            return None
        sheet = self._write(jpeg, (frame.width, frame.height), shown[0].at)
        if sheet is None:
            return None
        times = tuple(round(each.at, 3) for each in shown)
        return Storyboard(sheet, columns, *tile, times, round(max(seconds, times[-1]), 3))


def _is_dark(at: float, series: Pictures | None) -> bool:
    """Return whether the nearest sample is nearly black."""
    times = series.sample_times if series is not None else ()
    if series is None or not times:
        return False
    place = min(bisect_left(times, at), len(times) - 1)
    if place and at - times[place - 1] < times[place] - at:
        place -= 1
    return series.dark[place] > _DARK_SHARE


def _choose_poster(good: Sequence[Candidate], first: Candidate, seconds: float) -> Candidate:
    """Return the picture with the most detail, for which its size speaks: not the first one, and none near the end."""
    later = [each for each in good if each is not first]
    early = [each for each in later if each.at <= seconds * _EARLY]
    return max(early or later or good, key=lambda each: len(each.jpeg))


def _choose_thumbnail(
    candidates: Sequence[Candidate], good: Sequence[Candidate], span: Span
) -> Candidate | None:
    """Return the picture nearest to the middle of the segment, a good one if there is one; none of another segment."""
    start, end = span
    for some in (good, candidates):
        first, last = (
            bisect_left(some, at, key=_time_of) for at in (start, max(end, start + _INSTANT_SECONDS))
        )
        if first < last:
            return min(some[first:last], key=lambda each: abs(each.at - (start + end) / 2))
    return None


def _time_of(candidate: Candidate) -> float:
    return candidate.at


def _lay_out(
    jpegs: Sequence[bytes], size: tuple[int, int], tile: tuple[int, int], columns: int
) -> VideoFrame:
    """Return the pictures as one, row by row."""
    rows = -(-len(jpegs) // columns)
    graph = Graph()
    graph.threads = 1
    source: Any = graph.add_buffer(
        width=size[0], height=size[1], format=VideoFormat("yuvj420p", *size), time_base=_TICK
    )
    scaled = f"{tile[0]}:{tile[1]}:flags=area:in_range=pc:out_range=pc"
    laid = f"{columns}x{rows}:nb_frames={len(jpegs)}"
    filters = (("scale", scaled), ("format", "yuvj420p"), ("tile", laid), ("buffersink", ""))
    chain = [source, *(graph.add(name, arguments or None) for name, arguments in filters)]
    graph.link_nodes(*chain)
    graph.configure(auto_buffer=False)
    decoder: Any = av.CodecContext.create("mjpeg", "r")
    decoder.thread_count = 1
    for place, jpeg in enumerate(jpegs):
        for frame in decoder.decode(av.Packet(jpeg)):
            frame.pts, frame.time_base = place, _TICK
            source.push(frame)
    source.push(None)
    sheet: VideoFrame = chain[-1].pull()
    return sheet
