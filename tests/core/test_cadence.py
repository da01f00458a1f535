from __future__ import annotations

import json

import pytest

from vvwatch.core.cadence import (
    MOST_HOT,
    Pace,
    ScanSchedule,
    after_failure,
    after_full,
    after_poll,
    list_ends,
    note_new_keys,
    update_hot,
)

NOW = 1_790_000_000.0
FREE = Pace(60, None, polls=True)
HOT = {"in/": "in/z", "in/a/": "in/a/9", "in/b/": "in/b/9"}


def test_without_a_budget_each_look_is_a_full_listing_at_the_interval() -> None:
    learnt, wait = after_full(FREE, NOW, 1_000, {})
    assert (wait, learnt.stretched, learnt.calls_per_hour) == (60, False, 60_000)
    assert learnt.full_is_due(NOW + 1)


def test_what_fits_the_budget_is_not_stretched() -> None:
    learnt, wait = after_full(Pace(60, 120, polls=True), NOW, 2, HOT)
    assert (wait, learnt.stretched, learnt.calls_per_hour) == (60, False, 120)


def test_half_of_the_budget_goes_to_full_listings_and_half_to_the_ends() -> None:
    pace = Pace(60, 1_000, polls=True)
    learnt, wait = after_full(pace, NOW, 1_000, HOT)
    assert learnt.stretched
    assert learnt.next_full_at == NOW + 7_200
    assert wait == 60
    assert not learnt.full_is_due(NOW + wait)
    assert learnt.full_is_due(NOW + 7_200)
    assert learnt.calls_per_hour <= 1_000


def test_a_poll_is_paid_for_by_waiting_and_puts_off_no_full_listing() -> None:
    pace = Pace(60, 100, polls=True)
    learnt, _ = after_full(pace, NOW, 1_000, HOT)
    assert after_poll(learnt, pace, NOW, 10, HOT)[1] == 720
    assert learnt.next_full_at is not None
    assert after_poll(learnt, pace, learnt.next_full_at - 5, 10, HOT)[1] == 5


@pytest.mark.parametrize("pace", [Pace(60, 100, polls=False), Pace(3_600, 100, polls=False)])
def test_where_polls_are_of_no_use_all_of_the_budget_is_for_full_listings(pace: Pace) -> None:
    learnt, wait = after_full(pace, NOW, 1_000, {})
    assert wait == 36_000
    assert learnt.calls_per_hour == 100
    assert list_ends(HOT, pace) == {}
    assert after_poll(learnt, pace, NOW + 10, 0, {}) == (learnt, 35_990)


def test_a_small_location_is_better_listed_in_full_more_often() -> None:
    _, wait = after_full(Pace(60, 10, polls=True), NOW, 3, HOT)
    assert wait == 1_080


def test_a_clock_that_was_set_back_and_a_resumption_make_a_full_listing_due() -> None:
    learnt, _ = after_full(Pace(60, 10, polls=True), NOW, 1_000, HOT)
    assert learnt.full_is_due(NOW - 1)
    assert learnt.restart().full_is_due(NOW + 1)
    assert learnt.restart().hot == HOT


def test_a_failure_is_paid_for_as_well() -> None:
    assert after_failure(FREE, 30, 900) == 30
    assert after_failure(Pace(60, 3_600, polls=False), 30, 900) == 900


def test_the_ends_are_the_whole_and_the_latest_folders_that_the_budget_allows() -> None:
    assert list(list_ends(HOT, Pace(60, 10, polls=True))) == ["in/", "in/b/"]
    assert list(list_ends(HOT, Pace(60, 10_000, polls=True))) == ["in/", "in/b/", "in/a/"]
    shown = {"in/": "in/b/5", "in/b/": "in/b/5"}
    assert list(list_ends(shown, Pace(60, 10_000, polls=True))) == ["in/"]


def test_the_folders_of_the_latest_new_keys_are_learnt() -> None:
    newest: dict[str, str] = {}
    note_new_keys(newest, ["in/b/2", "in/b/1", "in/c/1", "out/x", "in/top"])
    hot = update_hot(HOT, "in/", "in/c/1", newest)
    assert hot == {"in/": "in/z", "in/a/": "in/a/9", "in/b/": "in/b/9", "in/c/": "in/c/1"}
    assert next(iter(hot)) == "in/"
    note_new_keys(newest, [f"in/{number:02}/x" for number in range(40)])
    assert len(newest) == MOST_HOT
    assert len(update_hot(hot, "in/", "", newest)) == 1 + MOST_HOT


def test_what_was_learnt_outlives_a_restart_and_a_later_version() -> None:
    learnt, _ = after_full(Pace(60, 1_000, polls=True), NOW, 1_000, HOT)
    stored = json.loads(json.dumps(learnt.document()))
    assert ScanSchedule.of(stored | {"of_tomorrow": 1}) == learnt
    assert list(ScanSchedule.of(stored).hot) == list(HOT)
    assert ScanSchedule.of(None) == ScanSchedule()
