"""Each object has one verdict: the first rule that speaks against it, in the order of the rules."""

from __future__ import annotations

import pytest

from vvwatch.core.cadence import ScanSchedule
from vvwatch.core.filters import ObjectFilter, Reason
from vvwatch.core.objects import StorageObject
from vvwatch.core.selection import Baseline, Choice, Facts, KnownKeys, Selected, choose, is_worth_examining

RULES = ObjectFilter("", "*.{mp4,txt}", True)
ALL = Facts({"own.mp4"}, KnownKeys({"had.mp4"}, {"may.mp4"}), Baseline(100.0, None))


def obj(key: str, size: int = 5, changed_at: float = 200.0, *, archived: bool = False) -> StorageObject:
    return StorageObject(key, "v", size, changed_at, changed_at, archived)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (obj("a.mp4"), Reason.ACCEPTED),
        (obj("own.mp4", 0), Reason.OWN_OUTPUT),
        (obj("a.mov"), Reason.PATTERN_MISMATCH),
        (obj("had.mp4", 0), Reason.ZERO_BYTE),
        (obj("had.mp4", changed_at=1.0), Reason.NEW_ONLY_KNOWN_KEY),
        (obj("may.mp4"), Reason.NEW_ONLY_KNOWN_KEY),
        (obj("old.mp4", changed_at=99.0), Reason.EXISTING),
        (obj("old.mp4", changed_at=99.0, archived=True), Reason.ARCHIVED),
    ],
)
def test_the_first_rule_decides(found: StorageObject, reason: Reason) -> None:
    assert choose(RULES, found, ALL).reason is reason


def test_the_ledger_records_what_is_never_imported_but_not_while_a_first_version_may_fail() -> None:
    keys = ("own.mp4", "had.mp4", "may.mp4", "new.mp4", "a.txt")
    choices = [choose(RULES, obj(key), ALL) for key in (*keys, "old.mp4")]
    choices[-1] = choose(RULES, obj("old.mp4", changed_at=1.0), ALL)
    selected = Selected(choices, ALL.earlier)
    assert [each.key for each in selected.list_never_imported()] == ["own.mp4", "had.mp4", "old.mp4"]
    assert [each.key for each in selected.list_wanted()] == ["new.mp4"]
    assert [(each.key, each.reason) for each in selected.list_skipped()] == [
        ("a.txt", Reason.UNSUPPORTED_MEDIA_TYPE)
    ]


def test_a_skipped_object_has_its_detail_behind_the_explanation() -> None:
    skipped = Choice(obj("a.doc"), Reason.UNSUPPORTED_MEDIA_TYPE, "doc").to_skipped()
    assert skipped.detail.endswith("format (doc)")
    assert (skipped.key, skipped.version, skipped.size_bytes) == ("a.doc", "v", 5)


def test_the_baseline_is_by_the_clock_of_the_store_and_spares_what_was_wanted_before_an_edit() -> None:
    first = Baseline.of(ScanSchedule(), created_at=100.0, store_seconds=10.0)
    assert first.is_existing(obj("a.mp4", changed_at=109.0))
    assert not first.is_existing(obj("a.mp4", changed_at=110.0))
    edited = ScanSchedule(since=500.0, covered=("", "*.mov", True))
    after = Baseline.of(edited, created_at=100.0, store_seconds=0.0)
    assert after.is_existing(obj("a.mp4", changed_at=400.0))
    assert not after.is_existing(obj("a.mov", changed_at=400.0))


@pytest.mark.parametrize(
    ("key", "worth"), [("a.mp4", True), ("a.txt", True), ("a.mov", False), ("d/", False)]
)
def test_an_unwanted_name_is_not_examined(key: str, worth: bool) -> None:
    assert is_worth_examining(RULES, key) is worth
