"""Recorded events of a daemon, in the order in which it tells them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vvwatch.cli.dev_story import DevState, apply_event

Event = tuple[float, str, dict[str, Any]]

DEMO: tuple[Event, ...] = (
    (100.0, "daemon.ready", {"address": "http://127.0.0.1:4711"}),
    (100.1, "scan.finished", {"listed": 5, "accepted": 0, "skipped": 1, "settling": 4}),
    (100.1, "change.skipped", {"object_key": "notes.txt", "reason": "unsupported_media_type"}),
    (101.0, "window.opened", {"window": "win_1", "due_at": 104.0}),
    (101.0, "change.accepted", {"window": "win_1", "objects": 3, "object_key": "a.mp4", "due_at": 104.0}),
    (102.0, "change.accepted", {"window": "win_1", "objects": 1, "object_key": "d.mp4", "due_at": 105.0}),
    (105.0, "window.closed", {"window": "win_1", "reason": "quiet", "objects": 4, "import_job": "job_1"}),
    (105.0, "import.started", {"import_job": "job_1", "files": 4}),
    (105.1, "import.file_finished", {"import_job": "job_1", "object_key": "a.mp4", "status": "imported"}),
    (
        105.2,
        "import.file_finished",
        {"import_job": "job_1", "object_key": "b.mp4", "status": "failed", "reason": "media_unreadable"},
    ),
    (105.3, "import.file_finished", {"import_job": "job_1", "object_key": "c.mp4", "status": "imported"}),
    (105.4, "import.file_finished", {"import_job": "job_1", "object_key": "d.mp4", "status": "imported"}),
    (
        105.4,
        "import.finished",
        {"import_job": "job_1", "status": "completed", "imported": 3, "failed": 1, "skipped": 0},
    ),
    (105.4, "run.started", {"run": "run_1", "import_job": "job_1", "items": 3}),
    (106.0, "run.item_progressed", {"run": "run_1", "media": "vid_a", "fraction": 0.5}),
    (
        106.5,
        "run.item_finished",
        {"run": "run_1", "media": "vid_a", "object_key": "a.mp4", "status": "completed"},
    ),
    (
        106.6,
        "run.item_finished",
        {
            "run": "run_1",
            "media": "vid_c",
            "object_key": "c.mp4",
            "status": "partial",
            "error": "it is damaged",
        },
    ),
    (
        106.7,
        "run.item_finished",
        {"run": "run_1", "media": "vid_d", "object_key": "d.mp4", "status": "completed"},
    ),
    (106.7, "run.finished", {"run": "run_1", "status": "completed_with_failures"}),
    (106.7, "export.started", {"export": "exp_1", "run": "run_1"}),
    (
        106.9,
        "export.finished",
        {"export": "exp_1", "run": "run_1", "uri": "file:///out%20put/exp_1.json", "size_bytes": 1200},
    ),
    (107.0, "daemon.draining", {}),
    (107.1, "daemon.stopped", {}),
)


def told(events: Iterable[Event], until: float = 1e12) -> DevState:
    """The story after all events up to the moment `until`."""
    story = DevState()
    for at, event, fields in events:
        if at <= until:
            story = apply_event(story, event, fields, at)
    return story
