"""Which tests a run takes: all that are cheap, and some cases of the others.

A test that is parametrised over engines runs on one of them, unless its folder stands in `BOTH_ENGINES`. A function
in `ONE_IN` runs with one of so many cases. In `TURNS` all cases of a folder, module or function take turns: one of so
many runs. Those in `WHOLE` run together or not at all. The seed chooses; each case runs with one of `rounds` seeds that
follow each other. Only a run of everything is cut: what is named on the command line runs with all its cases.

The numbers give every folder a share of the CPU time of a run that fits its risk: see "Test" in CONTRIBUTING.md.
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
    "tests/senders/": 3,
    "tests/systemd/": 3,
    "tests/test_processors_docs.py": 3,
}
"""Of how many cases one runs; at least one of each function."""

TURNS: Final[Mapping[str, int]] = {
    "tests/api/": 17,
    "tests/api/openapi/": 2,
    "tests/cli/": 3,
    "tests/cli/test_db": 11,  # killed at every step
    "tests/cli/test_dev.py": 7,  # each starts Python several times
    "tests/conformance/": 5,
    "tests/contract/": 13,  # providers, their servers, faults
    "tests/crash/": 17,  # real daemons, killed again and again
    "tests/crash/test_crash.py::test_every_commit_of_the_pipeline_is_a_point": 3,
    "tests/daemon/": 7,
    "tests/daemon/test_deletions.py": 11,
    "tests/daemon/test_event_queues.py": 11,
    "tests/e2e/": 23,  # real daemons, real waits
    "tests/e2e/test_way_of_the_data.py::test_the_whole_way": 1,
    "tests/media/": 5,
    "tests/model/": 17,
    "tests/processors/": 17,  # formats, decoders, models, programs
    "tests/processors/openai/": 3,
    "tests/processors/openai/test_real_model.py": 7,
    "tests/processors/sandbox/test_under_the_unit.py": 7,
    "tests/providers/": 7,
    "tests/sdk/": 11,
    "tests/store/": 7,
    "tests/store/db/": 5,
    "tests/store/watching/test_burst.py": 7,
    "tests/test_docs.py::test_a_newcomers_first_command": 11,  # installs everything
    "tests/test_docs.py::test_dev_on_a_folder": 3,
    "tests/test_docs.py::test_every_benchmark_runs": 11,
    "tests/test_docs.py::test_every_other_command_runs": 7,
    "tests/test_docs_upgrade.py": 3,
    "tests/test_docs_webhooks.py": 2,
    "tests/test_guardian.py": 5,
    "tests/test_monitoring.py::test_a_prometheus": 3,  # a daemon that is measured
    "tests/test_monitoring.py::test_a_running_daemon": 3,
    "tests/test_otel.py": 5,
    "tests/test_postgres_server.py": 3,
    "tests/test_processors_docs.py::test_a": 5,  # newcomers with models and programs
    "tests/test_rolling_update.py": 5,
    "tests/test_supply.py::test_the_bill_of_materials": 5,
    "tests/test_supply.py::test_the_page_on_licences": 5,
    "tests/test_typed_rows.py": 3,  # mypy over everything
    "tests/wire/": 5,
    "tests/workflow/": 11,
}
"""Of how many cases one runs; of some functions none. Primes: a table of six providers is not met at one of them."""

WHOLE: Final[Mapping[str, int]] = {
    "tests/browser/": 3,  # starts a browser and fills a daemon
    "tests/test_docs_failures.py": 4,  # a daemon in thirty troubles
    "tests/test_docs_start.py": 4,
}
"""Of how many runs one takes all their cases: what the cases share costs more than they do."""


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
    whole: Mapping[str, int] = WHOLE,
) -> set[Case]:
    """Return the cases that run with this seed: at least one of each function that takes no turns."""
    families: dict[str, dict[tuple[str, str], list[Case]]] = defaultdict(lambda: defaultdict(list))
    for case in sorted(set(cases)):
        family = _longest(case.function, (*turns, *whole)) or case.function
        families[family][case.function, case.id].append(case)
    chosen: set[Case] = set()
    for family, groups in families.items():
        turn = crc32(family.encode()) + _number(seed)
        every = whole.get(family) or turns.get(family)
        every = every or min(one_in.get(_longest(family, one_in), 1), len(groups))
        for place, group in enumerate(groups.values()):
            if turn % every == (0 if family in whole else place % every):
                one = group[(turn // every + place) % len(group)]
                chosen.update(group if family.startswith(both) else [one])
    return chosen


def rounds(
    one_in: Mapping[str, int] = ONE_IN,
    turns: Mapping[str, int] = TURNS,
    whole: Mapping[str, int] = WHOLE,
    engines: int = 2,
) -> int:
    """Return after how many seeds that follow each other each case has run."""
    return engines * max([1, *one_in.values(), *turns.values(), *whole.values()])


def sample(items: Sequence[T], count: int, seed: str = SEED, *, full: bool = FULL) -> list[T]:
    """Return at most `count` items in their order (VVWATCH_FULL=1: all); seeds that follow each other reach all."""
    every = 1 if full else -(-len(items) // count)
    return list(items[_number(seed) % every :: every])


def _longest(function: str, names: Iterable[str]) -> str:
    return max((name for name in names if function.startswith(name)), key=len, default="")


def _number(seed: str) -> int:
    return int(seed) if seed.isdigit() else crc32(seed.encode())
