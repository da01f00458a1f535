"""The pictures of an item: where each stands in its pack, and what it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

MOST_PICTURES: Final = 480
"""The most pictures that a pack holds, and that are kept while media are decoded."""

MOST_SEGMENTS: Final = 5_000
"""Segments beyond these have no picture."""

MOST_TILES: Final = 100


@dataclass(frozen=True, slots=True)
class Picture:
    """One JPEG file within the pack."""

    offset: int
    size_bytes: int
    width: int
    height: int
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Storyboard:
    """One sheet of equal tiles, row by row. Tile N shows the media from `times[N]` to the next, or to `end_seconds`."""

    sheet: Picture
    columns: int
    tile_width: int
    tile_height: int
    times: tuple[float, ...]
    end_seconds: float


@dataclass(frozen=True, slots=True)
class PictureContents:
    """What a pack holds. `poster` and each of `segments`, by ordinal, are numbers of `pictures`, None without one."""

    pictures: tuple[Picture, ...]
    poster: int | None
    segments: tuple[int | None, ...]
    storyboard: Storyboard | None = None

    @property
    def every(self) -> Iterator[Picture]:
        """Yield all pictures, the sheet included."""
        yield from self.pictures
        if self.storyboard is not None:
            yield self.storyboard.sheet

    def find_poster(self) -> Picture | None:
        """Return the picture of the item as a whole."""
        return None if self.poster is None else self.pictures[self.poster]

    def find_thumbnail(self, ordinal: int) -> Picture | None:
        """Return the picture of a segment."""
        number = self.segments[ordinal] if 0 <= ordinal < len(self.segments) else None
        return None if number is None else self.pictures[number]


@dataclass(frozen=True, slots=True)
class PicturePack:
    """A pack on the disk of `node` (empty: the only one); `file` is its name below the folder of pictures."""

    file: str
    node: str
    size_bytes: int
    contents: PictureContents


def may_be_on(node: str, pack: PicturePack) -> bool:
    """Return whether the pack may be on the disk of `node`: a single node has no name, and may get one."""
    return pack.node == node or not pack.node or not node


def check_contents(contents: PictureContents, size_bytes: int) -> None:
    """Raise ValueError unless all that the contents name is within a pack of `size_bytes`."""
    board, count = contents.storyboard, len(contents.pictures)
    if count > MOST_PICTURES or len(contents.segments) > MOST_SEGMENTS:
        raise ValueError("too many pictures")
    for picture in contents.every:
        if picture.offset < 0 or picture.size_bytes < 1 or picture.offset + picture.size_bytes > size_bytes:
            raise ValueError("a picture outside its file")
        if picture.width < 1 or picture.height < 1:
            raise ValueError("a picture without a size")
    if any(
        number is not None and not 0 <= number < count for number in (contents.poster, *contents.segments)
    ):
        raise ValueError("a picture that is not there")
    if board is not None:
        _check_storyboard(board)


def _check_storyboard(board: Storyboard) -> None:
    rows = -(-len(board.times) // max(1, board.columns))
    if not 1 <= len(board.times) <= MOST_TILES or board.columns < 1:
        raise ValueError("a storyboard without tiles, or with too many")
    if min(board.tile_width, board.tile_height) < 1:
        raise ValueError("a storyboard of empty tiles")
    if board.columns * board.tile_width > board.sheet.width or rows * board.tile_height > board.sheet.height:
        raise ValueError("a tile outside its sheet")
    if list(board.times) != sorted(board.times) or board.times[0] < 0:
        raise ValueError("the tiles of a storyboard are not in order")


def parse_contents(stored: Mapping[str, Any]) -> PictureContents:
    """Return the contents that `asdict` made a JSON object of."""
    board = stored["storyboard"]
    return PictureContents(
        tuple(Picture(**each) for each in stored["pictures"]),
        stored["poster"],
        tuple(stored["segments"]),
        None
        if board is None
        else Storyboard(**{**board, "sheet": Picture(**board["sheet"]), "times": tuple(board["times"])}),
    )
