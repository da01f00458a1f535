from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from vvwatch.core.deliveries import PROBED_FROM, probe_pause, sign_message
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


@pytest.mark.parametrize(
    ("secret", "given"),
    [
        (
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDwoERgKDuXLU=",
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDwoERgKDuXLU=",
        ),
        ("a secret of our own", "whsec_" + base64.b64encode(b"a secret of our own").decode()),
        ("whsec_Zm9v-_YmFy", "whsec_" + base64.b64encode(b"whsec_Zm9v-_YmFy").decode()),
        ("whsec_not padded", "whsec_" + base64.b64encode(b"whsec_not padded").decode()),
    ],
)
def test_a_verifier_of_standard_webhooks_accepts_every_secret(secret: str, given: str) -> None:
    """`given` is what the receiver gives its verifier."""
    now = datetime.now(UTC)
    body = '{"id": "evt_1", "title": "Café"}'
    headers = {
        "webhook-id": "del_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": sign_message(secret, "del_1", int(now.timestamp()), body.encode()),
    }
    assert Verifier(given).verify(body, headers) == {"id": "evt_1", "title": "Café"}
    with pytest.raises(WebhookVerificationError):
        Verifier(given).verify(body + " ", headers)


def test_every_event_but_the_test_can_be_subscribed_to() -> None:
    assert len(set(EVENT_TYPES)) == 19
    assert TEST_EVENT not in EVENT_TYPES
    assert object_of("media.created", {}) == ""
