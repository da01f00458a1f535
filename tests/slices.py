"""Which cases of the parametrised tests a run takes: each function runs, not with each of its cases.

A test that is parametrised over engines runs on one of them, unless its folder stands in `BOTH_ENGINES`. A folder,
module or function in `ONE_IN` runs one of so many cases. The seed chooses; each case runs with one of `rounds` seeds
that follow each other. Only a run of everything is cut: what is named on the command line runs with all its cases.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar
from zlib import crc32

T = TypeVar("T")

FULL: Final = bool(os.environ.get("VVWATCH_FULL"))
SEED: Final = os.environ.get("VVWATCH_SEED") or os.environ.setdefault(
    "PYTEST_SEED", str(random.randrange(1000))
)
"""Of this run: workers inherit it."""

BOTH_ENGINES: Final = ("tests/store/db/",)
ONE_IN: Final[Mapping[str, int]] = {}


class Case(NamedTuple):
    """One test: `id` is that of its parameters without the engine, which is empty where it has none."""

    function: str
    id: str
    engine: str = ""


def rate(function: str, one_in: Mapping[str, int] = ONE_IN) -> int:
    """Return of how many cases of a function one runs, as the longest name in `one_in` that it begins with says."""
    found = [name for name in one_in if function.startswith(name)]
    return one_in[max(found, key=len)] if found else 1


def choose(
    cases: Iterable[Case], seed: str, one_in: Mapping[str, int] = ONE_IN, both: tuple[str, ...] = BOTH_ENGINES
) -> set[Case]:
    """Return the cases that run with this seed; of each function at least one."""
    engines: dict[str, dict[str, list[Case]]] = defaultdict(lambda: defaultdict(list))
    for case in sorted(set(cases)):
        engines[case.function][case.id].append(case)
    chosen: set[Case] = set()
    for function, groups in engines.items():
        turn = crc32(function.encode()) + _number(seed)
        every = min(rate(function, one_in), len(groups))
        for place, group in enumerate(groups.values()):
            if place % every == turn % every:
                one = group[(turn // every + place) % len(group)]
                chosen.update(group if function.startswith(both) else [one])
    return chosen


def rounds(one_in: Mapping[str, int] = ONE_IN, engines: int = 2) -> int:
    """Return after how many seeds that follow each other each case has run."""
    return engines * max(one_in.values(), default=1)


def sample(items: Sequence[T], count: int, seed: str = SEED, *, full: bool = FULL) -> list[T]:
    """Return at most `count` items in their order (VVWATCH_FULL=1: all); seeds that follow each other reach all."""
    every = 1 if full else -(-len(items) // count)
    return list(items[_number(seed) % every :: every])


def _number(seed: str) -> int:
    return int(seed) if seed.isdigit() else crc32(seed.encode())
