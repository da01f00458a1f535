"""Steps at random, and the least of them that still break a promise."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import anyio

from tests.model.world import Setup, Step, World

KEYS: Final = (
    "a.mp4", "b.mov", "in/a.mp4", "in/b.mp4", "in/c.mov", "in/deep/a.mp4", "in/deep/b+c.mp4", "out/a.mp4",
    "in/notes.txt", "in/a.mp4.part", "in/z.mp4", "z.mp4",
)  # fmt: skip
BODIES: Final = ("one", "two", "three", "")
_RULES: Final[tuple[dict[str, Any], ...]] = (
    {"prefix": ""}, {"prefix": "in/"}, {"prefix": "in/deep/"}, {"pattern": "*"}, {"pattern": "*.mp4"},
    {"pattern": "a*"}, {"recursive": True}, {"recursive": False}, {"enabled": False}, {"enabled": True},
    {"enabled": True}, {"scan_seconds": 200.0}, {"scan_seconds": 300.0},
)  # fmt: skip
_WEIGHTS: Final = {
    "put": 30, "delete": 10, "deliver": 22, "drop": 4, "repeat": 5, "wait": 14, "fail": 4, "blind": 1, "die": 4,
    "during": 6, "scan": 4, "listen": 1, "lose_jobs": 1, "jump": 1, "pause": 3, "edit": 4, "steer": 4,
    "ail": 3, "spoil": 4, "heal": 4, "remount": 1,
}  # fmt: skip


_ILLS: Final = ("denied", "lost", "digest")
_MEANWHILE: Final = ("put", "put", "delete", "edit", "pause", "scan", "deliver", "wait", "ail", "heal")
_THINNING_SECONDS: Final = 30.0


class Broken(AssertionError):
    """A promise was broken; tells the setup with its seed, and the fewest steps found that break it."""


_DRAWN: Final[Mapping[str, Callable[[random.Random], Step]]] = {
    "put": lambda dice: ("put", dice.choice(KEYS), dice.choice(BODIES), dice.random() < 0.7),
    "delete": lambda dice: ("delete", dice.choice(KEYS)),
    "deliver": lambda dice: ("deliver", dice.randrange(20), dice.randint(1, 6), dice.random() < 0.5),
    "drop": lambda dice: ("drop", dice.randrange(20)),
    "repeat": lambda dice: ("repeat", dice.randrange(20)),
    "wait": lambda dice: ("wait", dice.choice((1, 30, 60, 60, 110, 220))),
    "fail": lambda dice: ("fail", dice.randrange(6)),
    "blind": lambda dice: ("blind", dice.randint(1, 3)),
    "die": lambda dice: ("die", dice.randrange(25)),
    "during": lambda dice: ("during", _DRAWN[dice.choice(_MEANWHILE)](dice)),
    "scan": lambda dice: ("scan", dice.randrange(2)),
    "listen": lambda dice: ("listen", dice.random() < 0.5),
    "lose_jobs": lambda _: ("lose_jobs",),
    "jump": lambda dice: ("jump", dice.choice((-3600, 3600))),
    "pause": lambda dice: ("pause", dice.randrange(2), dice.random() < 0.3),
    "ail": lambda dice: ("ail", dice.choice(KEYS), dice.choice(_ILLS)),
    "spoil": lambda dice: ("spoil", dice.choice(KEYS), dice.choice(BODIES), dice.choice(_ILLS)),
    "heal": lambda dice: ("heal", dice.choice(KEYS)),
    "remount": lambda _: ("remount",),
    "steer": lambda dice: ("steer", dice.randrange(2), dice.choice(("hold", "release", "release", "fire"))),
    "edit": lambda dice: ("edit", dice.randrange(2), dict(dice.choice(_RULES))),
}


def drawn(dice: random.Random) -> Step:
    """One step."""
    [name] = dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
    return _DRAWN[name](dice)


def steps_of(seed: int, count: int) -> list[Step]:
    dice = random.Random(seed)
    return [drawn(dice) for _ in range(count)]


def failure(setup: Setup, steps: Sequence[Step]) -> AssertionError | None:
    """Play them in a fresh world; what was broken, if anything."""

    async def play() -> AssertionError | None:
        async with World(setup, Path(folder) / "world.db").alive() as world:
            try:
                for step in steps:
                    await world.take(step)
                await world.rest()
            except AssertionError as error:
                return error
        return None

    with tempfile.TemporaryDirectory() as folder:
        return anyio.run(play)


def thinned(setup: Setup, steps: list[Step], seconds: float) -> list[Step]:
    """Fewer of the steps that still break something, as few as are found in so many seconds."""
    until = time.monotonic() + seconds
    size = len(steps) // 2
    while size and time.monotonic() < until:
        start = 0
        while start < len(steps) and time.monotonic() < until:
            fewer = steps[:start] + steps[start + size :]
            if failure(setup, fewer) is None:
                start += size
            else:
                steps = fewer
        size //= 2
    return steps


def hold(setup: Setup, steps: list[Step]) -> None:
    """Raises Broken, with the fewest steps found that do it, when they break a promise."""
    broken = failure(setup, steps)
    if broken is not None:
        least = thinned(setup, steps, _THINNING_SECONDS)
        told = "\n".join(f"    {step!r}," for step in least)
        raise Broken(f"{broken}\n{setup}\nsteps = [\n{told}\n]")
