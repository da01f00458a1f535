"""Choose the frames of a video segment: the middle of each shot, several for long shots."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

_SHORTEST_SHOT_SECONDS: Final = 0.1


def frame_times(start: float, end: float, shots: Sequence[float], most: int) -> tuple[float, ...]:
    """Return at most `most` moments within [start, end), in order; `shots` are shot changes, in order.

    Each shot gives its middle; if there are more than `most` shots, only the longest ones do. If there are fewer,
    long shots give several, evenly spaced. An empty stretch has one moment.
    """
    if most <= 0:
        return ()
    if end <= start:
        return (start,)
    lengths = _shots_within(start, end, shots)
    longest = sorted(lengths, key=lambda shot: (shot[0] - shot[1], shot[0]))[:most]
    counts = dict.fromkeys(longest, 1)
    for _ in range(most - len(longest)):
        sparse = max(longest, key=lambda shot: (shot[1] - shot[0]) / (counts[shot] + 1))
        counts[sparse] += 1
    return tuple(
        round(first + (last - first) * (number + 0.5) / count, 3)
        for (first, last), count in sorted(counts.items())
        for number in range(count)
    )


def _shots_within(start: float, end: float, shots: Sequence[float]) -> list[tuple[float, float]]:
    """Return the distinct parts of [start, end) between shot changes; a sliver joins its neighbour."""
    inner = shots[
        bisect_left(shots, start + _SHORTEST_SHOT_SECONDS) : bisect_right(shots, end - _SHORTEST_SHOT_SECONDS)
    ]
    return list(pairwise([start, *dict.fromkeys(inner), end]))
