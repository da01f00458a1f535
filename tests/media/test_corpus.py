"""The corpus judged: another slice in each run of the tests; all of it with VVWATCH_FULL=1.

`VVWATCH_FULL=1 python -m pytest -n0 -s tests/media` makes and judges everything and prints the table of docs/media.md,
and writes it to the file that VVWATCH_TABLE names. VVWATCH_SEED chooses a slice: it is printed when a slice fails.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.media.judging import (
    Judged,
    damaged_recipes,
    false_alarms,
    judge,
    misses,
    table,
    valid_recipes,
)
from tests.media.recipe import Damaged, Recipe, order
from tests.slices import FULL, SEED

VALID, DAMAGED = 24, 16
"""How many files a slice has."""

LEAST_VALID, LEAST_DAMAGED, LEAST_FOUND = 300, 200, 0.98

OPEN: Final[frozenset[str]] = frozenset({"hevc--one-picture.mp4", "lossy-alpha--flips.webp"})
"""Damage that a peer finds and we do not, each with its reason in docs/media.md."""

pytestmark = pytest.mark.timeout(7200 if FULL else 600)


def slice_of(recipes: Sequence[Recipe | Damaged], count: int) -> list[Recipe | Damaged]:
    """`count` recipes that the seed picks, of as many containers as it may; all of them in the full run."""
    ordered = sorted(recipes, key=lambda recipe: order(recipe.name, SEED))
    if FULL:
        return ordered
    first = list({recipe.group: recipe for recipe in reversed(ordered)}.values())
    return (first + [recipe for recipe in ordered if recipe not in first])[:count]


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> list[Judged]:
    folder = tmp_path_factory.mktemp("valid")
    return anyio.run(lambda: judge(slice_of(valid_recipes(), VALID), folder, peers=FULL))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> list[Judged]:
    folder = tmp_path_factory.mktemp("damaged")
    recipes = [recipe for recipe in damaged_recipes() if FULL or recipe.name not in OPEN]
    return anyio.run(lambda: judge(slice_of(recipes, DAMAGED), folder))


def test_no_valid_file_is_called_damaged(valid: list[Judged]) -> None:
    assert false_alarms(valid) == [], f"VVWATCH_SEED={SEED}"


def test_lengths_sizes_and_rotation_are_true(valid: list[Judged]) -> None:
    assert [wrong for one in valid for wrong in one.wrong_figures] == [], f"VVWATCH_SEED={SEED}"


def test_damage_that_a_peer_or_the_structure_shows_is_found(damaged: list[Judged]) -> None:
    missed = misses(damaged)
    assert {line.partition(":")[0] for line in missed} <= OPEN, (f"VVWATCH_SEED={SEED}", missed)
    assert len(missed) <= (1 - LEAST_FOUND) * sum(one.knowable for one in damaged)


def test_the_table_holds_every_file(valid: list[Judged], damaged: list[Judged]) -> None:
    written = table([*valid, *damaged])
    print("\n" + written)
    if name := os.environ.get("VVWATCH_TABLE"):
        Path(name).write_text(written)
    totals = [int(cell) for cell in written.splitlines()[-1].split(" | ")[1:10]]
    assert (totals[0], totals[5]) == (len(valid), len(damaged))


def test_the_corpus_is_large_and_every_file_has_a_name_of_its_own() -> None:
    valid, damaged = valid_recipes(), damaged_recipes()
    assert len(valid) >= LEAST_VALID
    assert len(damaged) >= LEAST_DAMAGED
    names = [*(recipe.name for recipe in valid), *(recipe.name for recipe in damaged)]
    assert len(names) == len(set(names))
