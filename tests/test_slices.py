"""A slice leaves out no function that is cheap, and seeds that follow each other leave out no case."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from tests import slices
from tests.databases import DIALECTS
from tests.slices import Case, choose, rounds, sample

ONE_IN = {"tests/a/": 3, "tests/a/test_x.py::test_many": 5}
TURNS = {"tests/slow/": 3}
BOTH = ("tests/both/",)
WHOLE = {"tests/docs/": 4}
CASES = [
    *(
        Case("tests/a/test_x.py::test_many", str(number), engine)
        for number in range(17)
        for engine in DIALECTS
    ),
    *(Case("tests/a/test_x.py::test_few", str(number)) for number in range(2)),
    Case("tests/a/test_x.py::test_one", ""),
    *(Case(f"tests/slow/test_z.py::test_{name}", "", engine) for name in "abcdefg" for engine in DIALECTS),
    *(
        Case("tests/both/test_y.py::test_each", str(number), engine)
        for number in range(2)
        for engine in DIALECTS
    ),
    *(Case("tests/c.py::test_table", str(number)) for number in range(9)),
    *(Case(f"tests/docs/test_d.py::test_{name}", "") for name in "abc"),
    *(Case("tests/docs/test_d.py::test_on_engines", "", engine) for engine in DIALECTS),
]


def chosen(seed: str) -> set[Case]:
    return choose(CASES, seed, ONE_IN, TURNS, BOTH, WHOLE)


def test_each_function_runs_with_each_seed_but_the_slow_ones() -> None:
    functions = {case.function for case in CASES if not case.function.startswith(tuple(WHOLE))}
    slow = {function for function in functions if function.startswith("tests/slow/")}
    for seed in ("0", "1", "17", "2026-12-01", "any word"):
        found = {case.function for case in chosen(seed) if case.function in functions}
        assert found - slow == functions - slow
        assert len(found & slow) in (2, 3)


def test_each_case_runs_with_one_of_some_seeds_that_follow_each_other() -> None:
    for first in range(30):
        seeds = range(first, first + rounds(ONE_IN, TURNS, WHOLE))
        assert set().union(*(chosen(str(seed)) for seed in seeds)) == set(CASES)


def test_a_seed_chooses_the_same_again_in_any_order() -> None:
    assert chosen("7") == choose(CASES[::-1], "7", ONE_IN, TURNS, BOTH, WHOLE)
    assert chosen("7") != chosen("8")


def test_a_function_runs_one_case_in_so_many_on_one_engine() -> None:
    many = [case for case in chosen("3") if case.function.endswith("test_many")]
    assert len(many) in (3, 4)
    assert len({case.id for case in many}) == len(many)


def test_where_engines_differ_each_case_runs_on_both() -> None:
    assert len([case for case in chosen("4") if case.function.startswith(BOTH)]) == 4


def test_what_shares_much_runs_together_or_not_at_all() -> None:
    found = [
        len([case for case in chosen(str(seed)) if case.function.startswith("tests/docs/")])
        for seed in range(8)
    ]
    assert sorted(found) == [0, 0, 0, 0, 0, 0, 4, 4]


def test_a_table_that_is_not_cut_runs_whole() -> None:
    assert len([case for case in chosen("5") if case.function == "tests/c.py::test_table"]) == 9


def test_the_longest_name_says_how_much_runs() -> None:
    few = {case for case in CASES if case.function.startswith("tests/a/")}
    assert len(choose(few, "3", {"tests/a/": 2}, {}, (), {})) == 9 + 1 + 1
    assert len(choose(few, "3", {"tests/a/": 2, "tests/a/test_x.py::test_many": 17}, {}, (), {})) == 1 + 1 + 1


def test_samples_of_seeds_that_follow_each_other_reach_all_in_order() -> None:
    points = list(range(29))
    samples = [sample(points, 6, str(seed), full=False) for seed in range(5)]
    assert sorted(chain(*samples)) == points
    assert all(sorted(one) == one and 0 < len(one) <= 6 for one in samples)
    assert sample(points, 6, "3", full=True) == points
    assert sample(points, 60, "3", full=False) == points


def test_contributors_are_told_how_many_seeds_run_every_case() -> None:
    assert rounds() == 46, "CONTRIBUTING.md says 46"


def test_each_name_of_a_table_is_that_of_tests() -> None:
    for name in (*slices.ONE_IN, *slices.TURNS, *slices.WHOLE):
        path, _, function = name.partition("::")
        found = list(Path(__file__).parents[1].glob(f"{path}*"))
        assert found, name
        assert not function or f"def {function}" in found[0].read_text(), name
