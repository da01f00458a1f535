"""Several orders of the same things made one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

Place = tuple[int, int]
"""Item and ordinal."""

_SOFTENING: Final = 60


def fuse_orders(orders: Iterable[Sequence[Place]]) -> list[Place]:
    """Return each place once, by reciprocal rank fusion; of equals the newest item, then the first ordinal."""
    worth: dict[Place, float] = {}
    for order in orders:
        for rank, place in enumerate(order, 1):
            worth[place] = worth.get(place, 0.0) + 1 / (_SOFTENING + rank)
    return sorted(worth, key=lambda place: (-worth[place], -place[0], place[1]))
