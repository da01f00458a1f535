"""docs/webhooks.md is true about the body: the fields that it lists are those that a receiver gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import samples
from tests.daemon_process import Daemon, wait_until
from tests.receiver import Receiver
from vvwatch.core.events import EVENT_TYPES

PAGE = (Path(__file__).parents[1] / "docs" / "webhooks.md").read_text(encoding="utf-8")
ROWS = re.findall(r"(?m)^\| (`[a-z_.]+`.*?) \| (`\w+`.*?) \|$", PAGE)
TOLD = (
    *("media.created", "media.processing.started", "media.processing.completed", "export.ready"),
    *("import_job.started", "import_job.partial_completed", "prompt_run.started", "prompt_run.completed"),
)


def fields_of(event: str) -> set[str]:
    """The fields that the page promises of an event, whose row may be that of its family."""
    family, _, ending = event.rpartition(".")
    [fields] = [
        fields
        for events, fields in ROWS
        if f"`{event}`" in events or (f"`{family}." in events and f"`.{ending}`" in events)
    ]
    return set(re.findall(r"`(\w+)`", fields.partition(";")[0]))


@pytest.mark.timeout(180)
def test_the_fields_of_events_are_those_that_arrive(tmp_path: Path) -> None:
    with Receiver() as receiver:
        daemon = Daemon(tmp_path, webhook_url=receiver.url, told=TOLD)
        whole = samples.video(tmp_path / "whole.mp4", seconds=2).read_bytes()
        (daemon.incoming / "cut.mp4").write_bytes(whole[: len(whole) // 3])
        (daemon.incoming / "whole.mp4").write_bytes(whole)
        with daemon:
            wait_until(lambda: "export.ready" in receiver.types(), "an export is announced", 120)
    bodies = [each.event for each in receiver.received]
    assert {body["event"] for body in bodies} == set(TOLD)
    for body in bodies:
        assert set(body["data"]) == fields_of(body["event"]), body["event"]
        assert set(body) == {"id", "event", "data", "api_version", "created_at"}


def test_each_event_has_its_fields() -> None:
    for event in EVENT_TYPES:
        if not event.startswith("processor."):
            assert "index_id" in fields_of(event)
