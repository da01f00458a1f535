from __future__ import annotations

import pytest

from vvwatch.core.deliveries import PROBED_FROM, probe_pause
from vvwatch.core.events import EVENT_TYPES, TEST_EVENT, object_of
from vvwatch.core.retries import DELIVERY_DELAYS


def test_a_receiver_that_fails_seldom_is_not_left_alone() -> None:
    assert [probe_pause(failures, DELIVERY_DELAYS) for failures in range(PROBED_FROM)] == [None] * PROBED_FROM


def test_pauses_grow_as_those_of_a_delivery_up_to_an_hour() -> None:
    pauses = [probe_pause(PROBED_FROM + more, DELIVERY_DELAYS) for more in range(7)]
    assert pauses == [30, 120, 600, 3_600, 3_600, 3_600, 3_600]


def test_without_delays_there_is_no_pause() -> None:
    assert probe_pause(99, ()) is None


@pytest.mark.parametrize(
    ("event_type", "expected"),
    [
        ("media.created", "vid_1"),
        ("media.processing.completed", "vid_1"),
        ("prompt_run.progress", "run_1"),
        ("export.ready", "exp_1"),
        ("import_job.started", "job_1"),
        (TEST_EVENT, ""),
    ],
)
def test_each_event_tells_of_one_object(event_type: str, expected: str) -> None:
    data = {"video_id": "vid_1", "run_id": "run_1", "export_id": "exp_1", "job_id": "job_1"}
    assert object_of(event_type, data) == expected


def test_every_event_but_the_test_can_be_subscribed_to() -> None:
    assert len(set(EVENT_TYPES)) == 19
    assert TEST_EVENT not in EVENT_TYPES
    assert object_of("media.created", {}) == ""
