"""HEIF photographs as one picture: joined from a grid of tiles, and turned as the file says."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from av.filter import Graph
from av.video.frame import VideoFrame

from vvwatch.processors.media.measurements import Pictures
from vvwatch.processors.media.opening import DECODER_FAILURES, Bounds, Medium, check_pixels, is_decodable
from vvwatch.processors.media.rendering import Turn
from vvwatch.processors.media.structure import HeifPicture, read_heif_picture


def read_photograph(medium: Medium, bounds: Bounds) -> tuple[VideoFrame, Turn] | None:
    """Return the picture of a HEIF file and its turn; None for other files and broken pictures."""
    picture = read_heif_picture(medium.source)
    if picture is None or medium.pictures is None:
        return None
    check_pixels(picture.width, picture.height, bounds)
    streams = {stream.id: stream for stream in medium.container.streams.video if is_decodable(stream)}
    tiles = [streams[tile] for tile in picture.tiles if tile in streams]
    is_grid = bool(tiles) and len(tiles) == len(picture.tiles)
    frames = _decode_first_frames(medium, tiles if is_grid else [medium.pictures])
    if frames is None:
        return None
    return _join_tiles(frames, picture) if len(frames) > 1 else frames[0], _picture_turn(picture)


def _picture_turn(picture: HeifPicture) -> Turn:
    """Return our turn for a file's: HEIF rotates before it mirrors, we mirror first."""
    if not picture.mirror:
        return Turn(False, picture.rotation_degrees)
    over = 180 if picture.mirror == "vertical" else 0
    return Turn(True, (over - picture.rotation_degrees) % 360)


def _decode_first_frames(medium: Medium, streams: Sequence[Any]) -> list[VideoFrame] | None:
    frames: dict[int, VideoFrame] = {}
    try:
        for packet in medium.container.demux(*streams):
            if packet.size and packet.stream.index not in frames:
                packet.stream.codec_context.thread_count = 1
                decoded: Any = [*packet.decode(), *packet.stream.codec_context.decode(None)]
                if decoded:
                    frames[packet.stream.index] = decoded[0]
            if len(frames) == len(streams):
                break
    except MemoryError:
        raise
    except DECODER_FAILURES:
        return None
    return [frames[s.index] for s in streams] if len(frames) == len(streams) else None


def _join_tiles(frames: Sequence[VideoFrame], picture: HeifPicture) -> VideoFrame:
    """Return the tiles, row by row, as one picture; those at the right and bottom edges extend beyond it."""
    width, height = picture.width, picture.height
    if picture.rotation_degrees % 180:
        width, height = height, width
    graph = Graph()
    graph.threads = 1
    rows = len(frames) // picture.columns
    stack: Any = graph.add("xstack", f"inputs={picture.columns * rows}:grid={picture.columns}x{rows}")
    sources: list[Any] = []
    for number, frame in enumerate(frames[: picture.columns * rows]):
        source: Any = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)
        )
        source.link_to(stack, 0, number)
        sources.append(source)
    sink: Any = graph.add("buffersink")
    crop: Any = graph.add("crop", f"{width}:{height}:0:0:exact=1")
    stack.link_to(crop)
    crop.link_to(sink)
    graph.configure(auto_buffer=False)
    for source, frame in zip(sources, frames, strict=False):
        frame.pts, frame.time_base = 0, Fraction(1)
        source.push(frame)
    joined: VideoFrame = sink.pull()
    joined.color_range, joined.colorspace = frames[0].color_range, frames[0].colorspace
    return joined


Size = tuple[int, int]


def visible_parts(whole: Size, tile: Size, count: int) -> list[Size]:
    """Return the visible size of each tile, row by row; empty unless `count` of them fill `whole`.

    Tiles at the right and bottom edges are as large as the others, and extend beyond the picture.
    """
    if not all(whole) or not all(tile):
        return []
    columns, rows = -(-whole[0] // tile[0]), -(-whole[1] // tile[1])
    if count < 2 or columns * rows > count:
        return []
    return [
        (min(tile[0], whole[0] - column * tile[0]), min(tile[1], whole[1] - row * tile[1]))
        for row in range(rows)
        for column in range(columns)
    ]


def merge_tiles(tiles: Sequence[Pictures], parts: Sequence[Size]) -> Pictures:
    """Return the brightness of the whole picture: the mean of its tiles, weighted by their visible size."""
    weights = [width * height for width, height in parts]
    whole = Pictures(times=array("d", [0.0]), motion=array("f", [0.0]), sample_times=array("d", [0.0]))
    for name in ("luma", "dark", "shift"):
        values = [getattr(tile, name)[0] for tile in tiles]
        mean = sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)
        getattr(whole, name).append(mean)
    return whole
