"""The story of a running daemon: state from events, whatever they are."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.stories import DEMO, told
from vvwatch.cli.dev_story import _CHANGES, Artefact, DevState, Trouble, apply_event, has_failures, reason_of
from vvwatch.telemetry import CATALOGUE


def test_a_window_gathers_until_it_closes() -> None:
    window = told(DEMO, until=102).window
    assert window is not None
    assert (window.id, window.opened_at, window.due_at, window.count) == ("win_1", 101.0, 105.0, 4)
    assert told(DEMO, until=105).window is None


def test_a_batch_is_followed_from_import_to_export() -> None:
    [batch] = told(DEMO, until=106).batches
    assert (batch.files, batch.imported, batch.failed, batch.import_status) == (4, 3, 1, "completed")
    assert (batch.items, batch.items_done, dict(batch.partly)) == (3, 0, {"vid_a": 0.5})
    assert batch.under_way
    [batch] = told(DEMO).batches
    assert (batch.items_done, batch.run_status, batch.export_status) == (
        3,
        "completed_with_failures",
        "completed",
    )
    assert not batch.under_way
    assert dict(batch.partly) == {}


def test_every_failure_is_kept_with_its_reason() -> None:
    story = told(DEMO)
    assert [(each.subject, each.what) for each in story.troubles] == [
        ("notes.txt", "skipped"),
        ("b.mp4", "failed"),
        ("c.mp4", "partial"),
    ]
    assert all(each.reason for each in story.troubles)
    assert (story.imported, story.failed, story.skipped, story.accepted, story.exported) == (3, 1, 1, 4, 1)
    assert story.artefacts == (Artefact("exp_1", "file:///out%20put/exp_1.json", 1200),)


def test_what_is_told_twice_counts_once() -> None:
    skipped = (100.2, "change.skipped", {"object_key": "notes.txt", "reason": "unsupported_media_type"})
    assert told((*DEMO, skipped, skipped)) == told(DEMO)


def test_reasons_are_words() -> None:
    assert reason_of({"reason": "zero_byte"}).startswith("it is empty")
    assert reason_of({"reason": "media_unreadable"}).startswith("it is no media file")
    assert reason_of({"reason": "media_unreadable", "message": "cut short"}) == "cut short"
    assert reason_of({"reason": "something new"}) == "something new"
    assert reason_of({"error": "refused"}) == "refused"
    assert reason_of({}) == "the log says more"


def test_an_export_whose_import_was_before_this_start_is_told() -> None:
    story = apply_event(
        DevState(), "export.finished", {"export": "exp_9", "run": "run_9", "uri": "file:///x"}, 1.0
    )
    assert story.exported == 1
    assert not story.batches[0].under_way
    story = apply_event(
        DevState(), "run.item_finished", {"run": "run_9", "media": "v", "status": "completed"}, 1.0
    )
    assert (story.batches[0].run, story.batches[0].items_done) == ("run_9", 1)


def test_an_export_that_failed_needs_somebody() -> None:
    story = apply_event(
        DevState(), "export.failed", {"export": "exp_9", "run": "r", "error": "the folder is full"}, 1.0
    )
    assert story.exports_failed == 1
    assert story.troubles == (Trouble("exp_9", "failed", "the folder is full"),)


def test_an_alarm_lasts_until_the_folder_can_be_listed_again() -> None:
    story = apply_event(DevState(), "scan.failed", {"error": "the folder is gone", "hint": "mount it"}, 1.0)
    assert story.alarm == "the folder is gone; mount it"
    assert apply_event(story, "scan.finished", {}, 2.0).alarm == ""


def test_a_part_that_failed_counts_where_it_is_wanted() -> None:
    ended = {"run": "run_9", "media": "v", "object_key": "a.mp4", "status": "partial", "message": ""}
    story = apply_event(DevState(), "run.item_finished", ended, 1.0)
    assert story.troubles[0].reason.startswith("it is damaged, or segments of it failed")
    assert not has_failures(story)
    assert has_failures(story, even_in_part=True)


def test_what_a_processor_waits_for_is_told_until_it_works_again() -> None:
    away = {"run": "run_9", "media": "v", "error": "the connection failed", "hint": "see that it is up"}
    story = apply_event(DevState(), "run.item_waits", away, 1.0)
    assert story.waiting == "the connection failed; see that it is up"
    assert apply_event(story, "scan.finished", {}, 2.0).waiting
    assert (
        apply_event(
            story, "run.item_finished", {"run": "run_9", "media": "v", "status": "completed"}, 3.0
        ).waiting
        == ""
    )


def test_a_long_story_stays_small() -> None:
    story = DevState()
    for number in range(500):
        story = apply_event(story, "import.started", {"import_job": f"job_{number}", "files": 1}, 1.0)
        fields = {"import_job": f"job_{number}", "object_key": f"{number}", "status": "failed", "reason": "x"}
        story = apply_event(story, "import.file_finished", fields, 1.0)
    assert story.failed == 500
    assert len(story.batches) < 10
    assert len(story.troubles) == 50


def test_every_event_the_story_knows_is_in_the_catalogue() -> None:
    assert _CHANGES.keys() <= CATALOGUE.keys()


@pytest.mark.parametrize("event", [*_CHANGES, "unheard.of"])
def test_no_event_can_disturb_the_work(event: str) -> None:
    """Without any of its fields, and upon any story."""
    for story in (DevState(), told(DEMO), told(DEMO, until=102)):
        assert isinstance(apply_event(story, event, {}, 1.0), DevState)


@given(st.lists(st.sampled_from(DEMO), max_size=40))
def test_events_in_any_order_make_a_story(events: list[tuple[float, str, dict[str, object]]]) -> None:
    assert asdict(told(events))["imported"] >= 0
