"""Photographs stored as a grid of tiles: each tile is measured, and the results are combined."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from vvwatch.processors.media.measurements import Pictures

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
