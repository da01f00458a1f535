"""People are alerted of what needs attention: once, whatever dies, and when it is over."""

from __future__ import annotations

import base64
import json

import pytest
from standardwebhooks import Webhook

from tests import samples
from tests.daemon_process import SECRET, Daemon, wait_until
from tests.e2e.conftest import Make
from tests.fault_proxy import free_port
from tests.receiver import Receiver
from vvwatch.core.deliveries import sign_body


def alerting(make: Make, channel: Receiver) -> Daemon:
    daemon = make()
    (daemon.base / "slack-url").write_text(f"{channel.url}/services/T0/B0/secret-of-the-channel\n")
    (daemon.base / "slack-url").chmod(0o600)
    options = (
        '[alerts]\nafter = "0s"\nevery = "1s"\n[alerts.channel]\ntype = "slack"\n'
        f'url_file = "{daemon.base}/slack-url"\n'
    )
    daemon.config.write_text(daemon.config.read_text() + options)
    return daemon


def titles(channel: Receiver) -> list[str]:
    return [json.loads(each.body)["text"] for each in channel.received]


@pytest.mark.timeout(300)
def test_a_failed_file_is_one_alert_over_a_kill_and_one_recovery(make: Make) -> None:
    with Receiver() as channel:
        daemon = alerting(make, channel)
        whole = samples.video(daemon.base / "whole.mp4", seconds=2).read_bytes()
        (daemon.incoming / "@channel <!here> cut.mp4").write_bytes(whole[: len(whole) // 3])
        with daemon:
            wait_until(lambda: bool(channel.received), "an alert", 120)
            wait_until(lambda: bool(daemon.events("alert.sent")), "its receipt is recorded")
            daemon.kill()
            daemon.start()
            [found] = daemon.get("/status")["attention"]
            looked = len(daemon.events("daemon.measured"))
            wait_until(lambda: len(daemon.events("daemon.measured")) > looked, "a look", 60)
            code, answer = daemon.call("POST", "/alerts/channel/test")
            assert (code, answer["success"]) == (200, True)
            assert daemon.call("POST", "/alerts/nobody/test")[0] == 404
            assert titles(channel) == ["vvwatch: 1 new problem", "vvwatch: this is a test alert"]
            assert daemon.call("POST", f"/attention/{found['attention_id']}/dismiss")[0] == 200
            wait_until(lambda: "vvwatch: 1 recovered" in titles(channel), "the recovery", 90)
            [listed] = daemon.get("/alerts")
            assert (listed["receiver_id"], listed["last_status"]) == ("channel", "sent")
            daemon.stop()
        text = channel.received[0].body.decode()
        assert "cut.mp4" in text
        assert "<!here>" not in text
        assert "@channel" not in text
        log = daemon.log.read_text()
        assert "secret-of-the-channel" not in log


@pytest.mark.timeout(200)
def test_a_channel_that_is_away_gets_the_same_alert_later(make: Make) -> None:
    with Receiver([500]) as channel:
        daemon = alerting(make, channel)
        (daemon.incoming / "broken.jpg").write_bytes(b"\xff\xd8\xffnothing")
        with daemon:
            wait_until(lambda: bool(daemon.events("alert.sent")), "accepted at last", 150)
            [retried] = daemon.events("alert.retried")
            assert retried["error"] == "the receiver answered 500"
            [first, second, *_] = [json.loads(each.body) for each in channel.received]
            assert first == second


@pytest.mark.timeout(200)
def test_a_signed_alert_is_verified_and_the_doctor_names_a_receiver_that_is_away(make: Make) -> None:
    with Receiver() as program:
        daemon = make()
        (daemon.base / "url").write_text(f"{program.url}/desk-of-the-night\n")
        (daemon.base / "away").write_text(f"http://127.0.0.1:{free_port()}/\n")
        for name in ("url", "away"):
            (daemon.base / name).chmod(0o600)
        options = (
            f'[alerts.desk]\ntype = "webhook"\nurl_file = "url"\nsecret_file = "{daemon.base}/secret"\n'
            '[alerts.nobody]\ntype = "slack"\nurl_file = "away"\n'
        )
        daemon.config.write_text(daemon.config.read_text() + options)
        with daemon:
            assert daemon.call("POST", "/alerts/desk/test")[1]["success"]
            found = {
                each["id"]: each for each in daemon.get("/doctor")["findings"] if each["about"] == "receiver"
            }
        [alert] = program.received
    assert (
        Webhook(base64.b64encode(SECRET.encode()).decode()).verify(alert.body, alert.headers)["event"]
        == "alert"
    )
    assert alert.headers["X-Webhook-Signature"] == sign_body(SECRET, alert.body)
    assert (found["desk"]["state"], found["nobody"]["state"]) == ("ok", "problem")
    assert found["nobody"]["detail"] == "cannot be reached: the connection was refused: nothing listens there"
    assert found["nobody"]["fix"] == "vvwatch alerts test nobody"
    assert "desk-of-the-night" not in daemon.log.read_text()
