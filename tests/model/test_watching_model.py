"""Whatever happens in whatever order: each version is imported once, windows fire in time, and nothing is missing.

`VVWATCH_MODEL_STEPS` says how many steps are taken in all (default: 10,200). A failure names its setup with the
seed, and the fewest steps found that lead to it; given to `hold`, they do so again.
"""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path

import anyio
import pytest

from tests import slices
from tests.model.mutants import MUTANTS
from tests.model.oracle import rows
from tests.model.steps import failure, hold, steps_of
from tests.model.world import Process, Setup, Step, World

STEPS_A_WORLD = 300
WORLDS = int(os.environ.get("VVWATCH_MODEL_STEPS", "10200")) // STEPS_A_WORLD
MOST_STEPS_OF_A_MUTANT = 3_000
TAKE_ALL: Step = ("deliver", 0, 99, False)


def put(key: str, body: str) -> Step:
    return "put", key, body, True


def setup_of(seed: int) -> Setup:
    few = 5 if seed % 3 == 0 else 10_000
    return Setup(seed, generations=seed % 2 == 1, etagless=seed % 5 == 4, max_objects=few)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(WORLDS))
def test_watching_keeps_its_promises(seed: int) -> None:
    hold(setup_of(seed), steps_of(seed, STEPS_A_WORLD))


TROUBLES: list[Step] = [
    put("a.mp4", "one"),
    ("spoil", "in/a.mp4", "one", "denied"),
    ("spoil", "in/b.mp4", "one", "lost"),
    ("spoil", "in/z.mp4", "one", "digest"),
    TAKE_ALL,
    ("wait", 220),
    ("wait", 220),
    ("heal", "in/a.mp4"),
    ("heal", "in/b.mp4"),
    ("heal", "in/z.mp4"),
    ("wait", 220),
    ("wait", 220),
    put("a.mp4", "two"),
    TAKE_ALL,
    ("wait", 220),
    ("remount",),
    ("scan", 0),
    ("wait", 220),
]


@pytest.mark.parametrize("etagless", [False, True])
def test_each_trouble_passes(etagless: bool) -> None:
    hold(Setup(0, etagless=etagless), TROUBLES)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_watcher_is_caught(mutant: type[Process]) -> None:
    seeds = range(MOST_STEPS_OF_A_MUTANT // STEPS_A_WORLD)
    lives = chain([(0, TROUBLES)], ((seed, steps_of(seed, STEPS_A_WORLD)) for seed in seeds))
    assert any(failure(Setup(seed, etagless=mutant.etagless, process=mutant), steps) for seed, steps in lives)


FOUND_BEFORE: dict[str, list[Step]] = {
    "a version that was overtaken in its window comes back": [
        put("a.mp4", "one"),
        TAKE_ALL,
        put("a.mp4", "two"),
        TAKE_ALL,
        ("wait", 220),
        put("a.mp4", "one"),
        TAKE_ALL,
    ],
    "the event of an older version comes after the listing of the newer one": [
        put("a.mp4", "one"),
        put("a.mp4", "two"),
        ("scan", 0),
        ("deliver", 0, 1, False),
        ("drop", 0),
    ],
    "an older version fails after a newer one of its key": [
        put("in/a.mp4", "one"),
        ("ail", "in/a.mp4", "lost"),
        TAKE_ALL,
        ("steer", 1, "hold"),
        ("wait", 60),
        put("in/a.mp4", "three"),
        TAKE_ALL,
        ("wait", 110),
        put("in/a.mp4", "two"),
        ("scan", 1),
        ("steer", 1, "release"),
        ("wait", 220),
        ("wait", 220),
    ],
    "an object comes back while it is looked for after its removal": [
        put("a.mp4", "one"),
        TAKE_ALL,
        ("wait", 220),
        ("delete", "a.mp4"),
        ("during", put("a.mp4", "two")),
        ("during", ("scan", 0)),
        ("during", ("wait", 110)),
        TAKE_ALL,
        ("wait", 220),
    ],
}


@pytest.mark.parametrize("steps", FOUND_BEFORE.values(), ids=FOUND_BEFORE)
def test_what_the_model_found_stays_mended(steps: list[Step]) -> None:
    hold(Setup(0), steps)


def life_of(key: str) -> list[Step]:
    """A short life of an object, in which everything happens once."""
    return [put(key, "one"), TAKE_ALL, put(key, "two"), ("scan", 1), ("delete", key), TAKE_ALL, ("wait", 110)]


@pytest.mark.timeout(180)
def test_kill_at_every_await_of_watching(tmp_path: Path) -> None:
    """Trap 27: the process dies at each await of a short life, or at a slice of them, in one life after the other."""
    awaits = anyio.run(awaits_of, tmp_path / "world.db", life_of("in/0.mp4"))
    assert awaits > 50
    lives = [
        [("die", number), *life_of(f"in/{number}.mp4"), put(f"in/{number}.mp4", "three")]
        for number in slices.sample(range(awaits), 20)
    ]
    hold(Setup(0), [step for life in lives for step in life])


async def awaits_of(path: Path, steps: list[Step]) -> int:
    async with World(Setup(0), path).alive() as world:
        before = world.fuse.left
        for step in steps:
            await world.take(step)
        return before - world.fuse.left


def test_drop_10pct_events_are_recovered_by_the_next_sweep_which_counts_them(tmp_path: Path) -> None:
    """Trap 16."""
    anyio.run(drop_every_tenth, tmp_path / "world.db")


async def drop_every_tenth(path: Path) -> None:
    async with World(Setup(0), path).alive() as world:
        await world.take(("wait", 60))  # the first listing of all
        await world.take(("listen", True))
        for number in range(100):
            await world.take(put(f"in/{number:03}.mp4", "one"))
        for number in range(0, 90, 9):
            await world.take(("drop", number))
        await world.take(("deliver", 0, 100, True))
        assert rows(world.database, "select count(*) from import_files") == [(2 * 90,)]
        await world.take(("wait", 900))
        assert rows(world.database, "select count(*), count(distinct key) from media") == [(2 * 100, 100)]
        counted = "select automation_id, sum(recovered) from reconciles group by automation_id order by 1"
        assert rows(world.database, counted) == [("auto_0", 10), ("auto_1", 10)]
        await world.rest()
