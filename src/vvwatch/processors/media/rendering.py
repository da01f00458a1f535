"""Encodes decoded pictures as JPEG: turned as displayed, with their proportions, bounded in size."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Final, NamedTuple

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from vvwatch.processors.media.graphs import Chain, forget_colours
from vvwatch.processors.media.structure import ByteSource

_TAGGED_BYTES: Final = 128 << 10
_TALLEST: Final = 2
"""The height limit as a multiple of the width: portrait pictures fit, taller ones shrink."""

_ODDEST: Final = Fraction(8)
_QUALITY: Final = 4
_UNSPECIFIED: Final = 2
_FULL_RANGE: Final = 2
_STANDARD_HEIGHT: Final = 576
_MATRICES: Final = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "bt470bg", 7: "smpte240m", 9: "bt2020"}
_AS_JPEG: Final = "out_color_matrix=bt470bg:out_range=pc"
_PQ: Final = 16
_PQ_TO_SDR: Final = (
    "st(0, pow(clip((val-64)/876, 0, 1), 1/78.84375));"
    "st(1, 49.26*pow(max(ld(0)-0.8359375, 0)/(18.8515625-18.6875*ld(0)), 1/0.1593017578));"
    "64+876*min(1, pow(ld(1)*(1+ld(1)/24)/(1+ld(1)), 1/2.2))"
)
"""Brightness in nits, with paper white (203) as 1, compressed so that lights of 1000 nits keep detail."""


_ORIENTATION: Final = re.compile(
    rb"\x12\x01\x03\0\x01\0\0\0([\x01-\x08])\0|\x01\x12\0\x03\0\0\0\x01\0([\x01-\x08])"
)
"""The EXIF tag: PyAV reports only the rotation of a mirrored still."""


class Turn(NamedTuple):
    """How to display a picture: mirror it left to right, then turn it clockwise."""

    mirrored: bool = False
    degrees: int = 0

    @property
    def filters(self) -> list[tuple[str, str]]:
        """Return the filters that apply it."""
        turns = {
            90: [("transpose", "clock")],
            180: [("hflip", ""), ("vflip", "")],
            270: [("transpose", "cclock")],
        }
        return [*([("hflip", "")] if self.mirrored else []), *turns.get(self.degrees, [])]


_MIRRORED: Final = {
    2: (Turn(False, 180), Turn(True, 0)),
    4: (Turn(False, 0), Turn(True, 180)),
    5: (Turn(False, 90), Turn(True, 270)),
    7: (Turn(False, 270), Turn(True, 90)),
}
"""For each mirrored orientation, PyAV's reading and the true one."""


def read_turn(frame: VideoFrame) -> Turn:
    """Return the turn that `frame` states, in right angles.

    The display matrix also states mirroring, but PyAV 18.1 crashes on the side data of some pictures.
    """
    return Turn(False, -frame.rotation % 360 // 90 * 90)


def read_ends(source: ByteSource) -> bytes:
    """Return the parts of a picture's file that may hold its tag."""
    return source.at(0, _TAGGED_BYTES) + source.at(max(0, source.size - _TAGGED_BYTES), _TAGGED_BYTES)


def read_still_turn(frame: VideoFrame, ends: bytes) -> Turn:
    """Return the turn of a possibly mirrored picture, by the tag in one of the `ends` of its file."""
    turn = read_turn(frame)
    tags = {found[1] or found[2] for found in _ORIENTATION.finditer(ends)}
    mirrored = (_MIRRORED[tag[0]] for tag in tags if tag[0] in _MIRRORED)
    return next((found for shown_as, found in mirrored if shown_as == turn), turn)


def fit_size(size: tuple[int, int], aspect: Fraction | None, turn: Turn, width: int) -> tuple[int, int]:
    """Return the size at which a picture of `size` pixels with pixel `aspect` is drawn within `width`."""
    wide, high = Fraction(size[0]), Fraction(size[1])
    if aspect is not None and 1 / _ODDEST <= aspect <= _ODDEST:
        wide, high = (wide * aspect, high) if aspect > 1 else (wide, high / aspect)
    if turn.degrees % 180:
        wide, high = high, wide
    scale = min(Fraction(1), width / wide, width * _TALLEST / high)
    return max(1, round(wide * scale)), max(1, round(high * scale))


class Press:
    """Encodes one picture after the other; one like the last goes through the same filters and encoder."""

    def __init__(self) -> None:
        self._likeness: object = None
        self._filters: Chain | None = None
        self._encoder: Any = None
        self._count = 0

    def encode(self, frame: VideoFrame, turn: Turn, size: tuple[int, int]) -> bytes:
        """Return `frame` as displayed at `size`, as a JPEG file; equal frames give equal files."""
        likeness = (
            frame.width,
            frame.height,
            frame.format.name,
            frame.color_range,
            _look_of(frame),
            turn,
            size,
        )
        is_like_last, self._likeness = (
            likeness == self._likeness,
            None,
        )  # after a failure, nothing is used again
        if self._filters is None or not is_like_last:
            self._filters, self._encoder = _build_filters(frame, turn, size), None
        forget_colours(frame)
        frame.pts, frame.time_base = 0, Fraction(1)
        self._filters.source.push(frame)
        drawn: Any = self._filters.sink.pull()
        self._encoder = self._encoder or _open_encoder(drawn)
        drawn.pts, self._count = self._count, self._count + 1
        coded = b"".join(bytes(packet) for packet in self._encoder.encode(drawn))
        if not _is_transparent(frame):  # `overlay` waits for a next picture
            self._likeness = likeness
        return coded


def encode_jpeg(frame: VideoFrame, turn: Turn, aspect: Fraction | None, width: int) -> bytes:
    """Return `frame` as displayed, as a JPEG file; equal frames give equal files."""
    return Press().encode(frame, turn, fit_size((frame.width, frame.height), aspect, turn, width))


def make_grey_picture() -> bytes:
    """Return a small JPEG file."""
    frame = VideoFrame(128, 72, "yuvj420p")
    for plane in frame.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    return code_jpeg(frame)


def code_jpeg(drawn: VideoFrame) -> bytes:
    """Return a picture of the format yuvj420p as a JPEG file."""
    drawn.pts = 0
    return b"".join(bytes(packet) for packet in _open_encoder(drawn).encode(drawn))


def _open_encoder(drawn: VideoFrame) -> Any:
    """Return an encoder of pictures like `drawn`, which gives each when it has it."""
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = drawn.width, drawn.height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.qmin = encoder.qmax = _QUALITY
    encoder.options = {"flags": "+bitexact"}
    return encoder


def _look_of(frame: VideoFrame) -> tuple[str, bool]:
    """Return the option for its colour matrix, and whether its brightness is in nits."""
    return _matrix_option(frame), frame.color_trc == _PQ


def _build_filters(frame: VideoFrame, turn: Turn, size: tuple[int, int]) -> Chain:
    """Return filters that draw frames like `frame` as displayed."""
    matrix, is_pq = _look_of(frame)
    wide, high = size if turn.degrees % 180 == 0 else size[::-1]
    scaled = f"{wide}:{high}:flags=area+accurate_rnd+bitexact"
    graph = Graph()
    graph.threads = 1
    source: Any = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)
    )
    if _is_transparent(frame):
        end = _link_filters(graph, source, ("scale", scaled), *turn.filters, ("format", "rgba"))
        end = _lay_over_white(graph, end, size)
        end = _link_filters(graph, end, ("scale", _AS_JPEG))
    elif is_pq:
        lit = ("lutyuv", f"y='{_PQ_TO_SDR}'")
        end = _link_filters(graph, source, ("scale", scaled), ("format", "yuv420p10le"), lit)
        end = _link_filters(graph, end, ("scale", f"{matrix}:{_AS_JPEG}"), *turn.filters)
    else:
        end = _link_filters(graph, source, ("scale", f"{scaled}:{matrix}:{_AS_JPEG}"), *turn.filters)
    sink = _link_filters(graph, end, ("format", "yuvj420p"), ("buffersink", ""))
    graph.configure(auto_buffer=False)
    return Chain(graph, source, sink)


def _link_filters(graph: Graph, end: Any, *filters: tuple[str, str]) -> Any:
    """Append filters after `end`, and return the last."""
    for name, arguments in filters:
        added = graph.add(name, arguments or None)
        end.link_to(added)
        end = added
    return end


def _lay_over_white(graph: Graph, end: Any, size: tuple[int, int]) -> Any:
    paper, overlay = (
        graph.add("color", f"c=white:s={size[0]}x{size[1]}:r=1"),
        graph.add("overlay", "format=rgb"),
    )
    paper.link_to(overlay, 0, 0)
    end.link_to(overlay, 0, 1)
    return overlay


def _is_transparent(frame: VideoFrame) -> bool:
    return frame.format.has_palette or any(component.is_alpha for component in frame.format.components)


def _matrix_option(frame: VideoFrame) -> str:
    """Return the option that names the colour matrix, if known: by the size if not stated."""
    matrix = _MATRICES.get(int(frame.colorspace))
    is_studio_range = frame.color_range != _FULL_RANGE
    if int(frame.colorspace) == _UNSPECIFIED and is_studio_range and frame.height > _STANDARD_HEIGHT:
        matrix = "bt709"
    return f"in_color_matrix={matrix or 'auto'}"
