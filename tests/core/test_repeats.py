"""Equal troubles are told once, then at growing intervals with their number, and once when they are over."""

from __future__ import annotations

from vvwatch.core.repeats import Past, Repeats, Report


def told_at(repeats: Repeats, moments: range) -> dict[int, Report]:
    noted = {moment: repeats.note("trouble", float(moment)) for moment in moments}
    return {moment: told for moment, told in noted.items() if told is not None}


def test_a_trouble_is_told_at_growing_intervals_with_how_many_came_since() -> None:
    told = told_at(Repeats(first_seconds=30, longest_seconds=300), range(1000))

    assert list(told) == [0, 30, 150, 450, 750]
    assert told[30] == Report(unreported=29, lasts_seconds=30)
    assert told[150] == Report(unreported=119, lasts_seconds=150)


def test_a_minute_of_trouble_is_two_lines_and_one_for_its_end() -> None:
    repeats = Repeats()

    assert list(told_at(repeats, range(60))) == [0, 30]
    assert repeats.lasts("trouble")
    assert repeats.end("trouble", 60) == Past(times=60, lasted_seconds=60)
    assert repeats.end("trouble", 61) is None
    assert not repeats.lasts("trouble")


def test_what_comes_and_goes_is_not_told_each_time() -> None:
    repeats = Repeats()
    lines = 0
    for second in range(0, 3600, 2):
        lines += repeats.note("trouble", second) is not None
        lines += repeats.end("trouble", second + 1) is not None

    assert 20 <= lines <= 40


def test_a_second_outage_soon_after_a_long_one_is_told_half_a_minute_later() -> None:
    repeats = Repeats()
    told_at(repeats, range(5_000))
    repeats.end("trouble", 5_000)

    assert list(told_at(repeats, range(5_010, 5_100))) == [5_030]
    assert repeats.end("trouble", 5_100) is not None


def test_a_trouble_that_comes_back_much_later_is_a_new_one() -> None:
    repeats = Repeats()
    repeats.note("trouble", 0)
    repeats.end("trouble", 1)

    assert repeats.note("trouble", 1000) == Report(0, 0.0)
    assert repeats.end("trouble", 1002) == Past(times=1, lasted_seconds=2)


def test_troubles_are_told_apart_and_no_number_of_them_fills_the_memory() -> None:
    repeats = Repeats()

    assert all(repeats.note(number, 0.0) for number in range(5_000))
    assert repeats.note(4_999, 1.0) is None
    assert not repeats.lasts(0)
