"""Which tests a run takes: each function but the slow ones, and not with each of its cases.

A test that is parametrised over engines runs on one of them, unless its folder stands in `BOTH_ENGINES`. A folder,
module or function in `ONE_IN` runs one of so many cases. In `TURNS` the functions of a folder or module take
turns: one of so many runs. The seed chooses; each case runs with one of `rounds` seeds that follow each other. Only a
run of everything is cut: what is named on the command line runs with all its cases.
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
ONE_IN: Final[Mapping[str, int]] = {
    "tests/api/": 3,
    "tests/contract/": 6,  # providers, their servers, faults
    "tests/model/test_watching_model.py": 8,
    "tests/processors/": 6,  # formats, decoders, models, programs
    "tests/providers/": 4,
    "tests/sdk/": 2,  # both clients
    "tests/wire/": 3,
}
TURNS: Final[Mapping[str, int]] = {
    "tests/cli/test_dev.py": 3,  # each starts Python several times
    "tests/conformance/": 2,
    "tests/crash/": 8,  # real daemons, killed again and again
    "tests/crash/test_crash.py::test_every_commit_of_the_pipeline_is_a_point": 1,
    "tests/daemon/": 2,
    "tests/daemon/test_deletions.py": 3,
    "tests/daemon/test_event_queues.py": 3,
    "tests/e2e/": 8,  # real daemons, real waits
    "tests/processors/openai/test_real_model.py": 4,
    "tests/processors/sandbox/test_under_the_unit.py": 3,
    "tests/store/watching/test_burst.py": 3,
    "tests/test_docs.py::test_a_newcomers_first_command": 3,  # installs everything
    "tests/test_docs.py::test_every_benchmark_runs": 7,
    "tests/test_monitoring.py::test_a_prometheus": 2,  # a daemon that is measured
    "tests/test_monitoring.py::test_a_running_daemon": 2,
    "tests/test_processors_docs.py::test_a": 4,  # newcomers with models and programs
    "tests/test_rolling_update.py": 3,
    "tests/test_supply.py::test_the_bill_of_materials": 4,
    "tests/test_supply.py::test_the_page_on_licences": 4,
}
"""Of how many functions one runs; none may."""


class Case(NamedTuple):
    """One test: `id` is that of its parameters without the engine, which is empty where it has none."""

    function: str
    id: str
    engine: str = ""


def choose(
    cases: Iterable[Case],
    seed: str,
    one_in: Mapping[str, int] = ONE_IN,
    turns: Mapping[str, int] = TURNS,
    both: tuple[str, ...] = BOTH_ENGINES,
) -> set[Case]:
    """Return the cases that run with this seed: at least one of each function that takes no turns."""
    families: dict[str, dict[tuple[str, str], list[Case]]] = defaultdict(lambda: defaultdict(list))
    for case in sorted(set(cases)):
        families[_longest(case.function, turns) or case.function][case.function, case.id].append(case)
    chosen: set[Case] = set()
    for family, groups in families.items():
        turn = crc32(family.encode()) + _number(seed)
        every = turns.get(family) or min(one_in.get(_longest(family, one_in), 1), len(groups))
        for place, group in enumerate(groups.values()):
            if place % every == turn % every:
                one = group[(turn // every + place) % len(group)]
                chosen.update(group if family.startswith(both) else [one])
    return chosen


def rounds(one_in: Mapping[str, int] = ONE_IN, turns: Mapping[str, int] = TURNS, engines: int = 2) -> int:
    """Return after how many seeds that follow each other each case has run."""
    return engines * max([1, *one_in.values(), *turns.values()])


def sample(items: Sequence[T], count: int, seed: str = SEED, *, full: bool = FULL) -> list[T]:
    """Return at most `count` items in their order (VVWATCH_FULL=1: all); seeds that follow each other reach all."""
    every = 1 if full else -(-len(items) // count)
    return list(items[_number(seed) % every :: every])


def _longest(function: str, names: Iterable[str]) -> str:
    return max((name for name in names if function.startswith(name)), key=len, default="")


def _number(seed: str) -> int:
    return int(seed) if seed.isdigit() else crc32(seed.encode())
