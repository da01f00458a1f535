from __future__ import annotations

import random

import pytest

from vvwatch.core.presence import KeySpan, SeenKeys, explain_doubt, most_disjoint_rows


def numbered(count: int, start: int = 0) -> list[str]:
    return [f"{number:09}" for number in range(start, start + count)]


def test_what_was_seen_is_never_absent_in_whatever_order_it_came() -> None:
    keys = numbered(10_000)
    shuffled = random.Random(7).sample(keys, len(keys))
    seen = SeenKeys(len(keys), 7)
    for start in range(0, len(keys), 100):
        seen.add(shuffled[start : start + 100], 100)
    assert seen.absent(keys) == set()


def test_at_most_one_unseen_key_in_sixteen_is_taken_for_seen_and_another_with_another_salt() -> None:
    keys, others = numbered(200_000), numbered(20_000, 200_000)
    missed = []
    for salt in (0x1D872B41D872B41, 0x0F4A1C93E07B55D):
        seen = SeenKeys(len(keys), salt)
        seen.add(keys, len(keys))
        missed.append(set(others) - seen.absent(others))
    assert all(len(each) < len(others) / 14 for each in missed)
    assert len(missed[0] & missed[1]) < len(others) / 100


def test_all_between_two_ends_may_be_seen_at_once() -> None:
    seen = SeenKeys(0, 0)
    seen.cover("d", "k", 10)
    seen.cover("b", "e", 5)
    seen.cover("m", "n", 2)
    assert seen.absent(["a", "b", "dd", "k", "l", "m", "n", "o"]) == {"a", "l", "o"}
    assert seen.last_key == "n"


def test_what_came_twice_counts_once() -> None:
    assert most_disjoint_rows([]) == 0
    assert most_disjoint_rows([KeySpan("a", "c", 3), KeySpan("d", "f", 3)]) == 6
    assert most_disjoint_rows([KeySpan("a", "c", 3), KeySpan("c", "f", 4)]) == 4
    whole = [KeySpan("a", "b", 2), KeySpan("c", "d", 2), KeySpan("e", "f", 2)]
    assert most_disjoint_rows([*whole, KeySpan("a", "e", 3), *whole]) == 6


def test_stretches_that_lie_apart_are_counted_as_brute_force_does() -> None:
    chance = random.Random(3)
    for _ in range(200):
        some = [
            KeySpan(min(ends), max(ends), chance.randint(0, 5))
            for ends in [chance.choices("abcdefgh", k=2) for _ in range(chance.randint(0, 6))]
        ]
        assert most_disjoint_rows(some) == _most(some)


def _most(some: list[KeySpan]) -> int:
    if not some:
        return 0
    first, *rest = some
    free = [each for each in rest if each.highest < first.lowest or each.lowest > first.highest]
    return max(_most(rest), first.rows + _most(free))


@pytest.mark.parametrize(
    ("listed", "seen", "missing", "doubtful"),
    [
        (0, 0, 0, False),
        (0, 0, 1, True),
        (5, 0, 10, False),
        (5, 0, 11, True),
        (100, 12, 11, False),
        (100, 11, 12, True),
        (100, 12, 12, False),
    ],
)
def test_a_listing_that_is_suddenly_empty_or_lacks_most_proves_nothing(
    listed: int, seen: int, missing: int, doubtful: bool
) -> None:
    assert bool(explain_doubt(listed, seen, missing)) is doubtful


def test_one_object_is_told_as_one() -> None:
    assert (
        explain_doubt(0, 0, 1)
        == "the listing is empty, although 1 object is known: nothing is taken for gone"
    )
    assert (
        explain_doubt(0, 0, 30)
        == "the listing is empty, although 30 objects are known: nothing is taken for gone"
    )
