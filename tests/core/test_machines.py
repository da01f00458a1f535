from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from vvwatch.core import deliveries, imports, runs
from vvwatch.core import state_machine as machine
from vvwatch.core.deliveries import Answer
from vvwatch.core.events import EVENT_TYPES
from vvwatch.core.exports import ExportStatus, QueueStatus
from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.core.media import ProcessingResult, Segment
from vvwatch.core.runs import ItemStatus, RunStatus
from vvwatch.core.state_machine import check_transition
from vvwatch.errors import Conflict

Table = Mapping[StrEnum, frozenset[StrEnum]]

MACHINES: list[tuple[Any, str, set[str]]] = [
    (machine.IMPORT_TRANSITIONS, "pending", {"completed", "failed", "cancelled"}),
    (machine.FILE_TRANSITIONS, "waiting", {"imported", "failed", "skipped"}),
    (machine.RUN_TRANSITIONS, "pending", {"completed", "completed_with_failures", "failed", "cancelled"}),
    (machine.ITEM_TRANSITIONS, "pending", {"completed", "partial", "failed", "cancelled"}),
    (machine.EXPORT_TRANSITIONS, "pending", {"completed", "failed"}),
    (machine.QUEUE_TRANSITIONS, "queued", {"succeeded", "dead_letter"}),
    (machine.DELIVERY_TRANSITIONS, "pending", {"delivered", "failed"}),
]
each_machine = pytest.mark.parametrize(("table", "start", "ends"), MACHINES)


def statuses_of(table: Table) -> set[StrEnum]:
    return set(type(next(iter(table))))


def reachable(table: Table, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [status for status in statuses_of(table) if status == start]
    while waiting:
        status = waiting.pop()
        if status not in found:
            found.add(status)
            waiting.extend(table.get(status, ()))
    return found


@each_machine
def test_no_transition_leaves_a_final_state(table: Table, start: str, ends: set[str]) -> None:
    assert statuses_of(table) - table.keys() == ends
    assert all(table.values())


@each_machine
def test_each_state_is_reachable_and_leads_to_an_end(table: Table, start: str, ends: set[str]) -> None:
    assert reachable(table, start) == statuses_of(table)
    assert all(reachable(table, status) & ends for status in statuses_of(table))


@each_machine
def test_only_the_table_decides_what_may_follow(table: Any, start: str, ends: set[str]) -> None:
    for status in statuses_of(table):
        allowed = table.get(status, ())
        assert status not in allowed
        for following in statuses_of(table):
            if following in allowed:
                check_transition(str(status), following)  # type: ignore[arg-type]  # of one of the machines
            else:
                with pytest.raises(Conflict) as refused:
                    check_transition(str(status), following)  # type: ignore[arg-type]  # as above
                assert str(following) in refused.value.message


def test_the_machines_of_a_job_and_its_files_are_not_mixed_up() -> None:
    check_transition("waiting", FileStatus.PENDING)
    with pytest.raises(Conflict):
        check_transition("pending", ImportStatus.PENDING)
    check_transition("processing", ItemStatus.PENDING)
    with pytest.raises(Conflict):
        check_transition("processing", RunStatus.PENDING)
    check_transition("failed", QueueStatus.QUEUED)
    with pytest.raises(Conflict):
        check_transition("failed", ExportStatus.PENDING)


@pytest.mark.parametrize(
    ("total", "imported", "failed", "skipped", "status", "event"),
    [
        (0, 0, 0, 0, "completed", "import_job.completed"),
        (3, 3, 0, 0, "completed", "import_job.completed"),
        (3, 0, 0, 3, "completed", "import_job.completed"),
        (3, 1, 0, 2, "completed", "import_job.completed"),
        (3, 2, 1, 0, "completed", "import_job.partial_completed"),
        (3, 1, 1, 1, "completed", "import_job.partial_completed"),
        (3, 0, 3, 0, "failed", "import_job.failed"),
        (3, 0, 1, 2, "failed", "import_job.failed"),
    ],
)
def test_how_an_import_job_ends(
    total: int, imported: int, failed: int, skipped: int, status: str, event: str
) -> None:
    assert imports.job_outcome(total, imported, failed, skipped) == (status, event)
    assert event in EVENT_TYPES


@pytest.mark.parametrize(
    ("total", "completed", "partial", "failed", "status", "event"),
    [
        (0, 0, 0, 0, "completed", "prompt_run.completed"),
        (2, 2, 0, 0, "completed", "prompt_run.completed"),
        (2, 1, 1, 0, "completed_with_failures", "prompt_run.partial_completed"),
        (2, 1, 0, 1, "completed_with_failures", "prompt_run.partial_completed"),
        (2, 0, 2, 0, "completed_with_failures", "prompt_run.partial_completed"),
        (2, 0, 1, 1, "completed_with_failures", "prompt_run.partial_completed"),
        (2, 0, 0, 2, "failed", "prompt_run.failed"),
    ],
)
def test_how_a_prompt_run_ends(
    total: int, completed: int, partial: int, failed: int, status: str, event: str
) -> None:
    found = runs.run_outcome(total, completed, partial, failed)
    assert (found, runs.EVENTS[found]) == (status, event)
    assert event in EVENT_TYPES


def test_an_end_is_terminal() -> None:
    assert {"completed", "failed", "cancelled"} == imports.TERMINAL
    assert {"completed", "completed_with_failures", "failed", "cancelled"} == runs.TERMINAL


@pytest.mark.parametrize(
    ("status_code", "answer"),
    [
        (200, Answer.DELIVERED),
        (204, Answer.DELIVERED),
        (299, Answer.DELIVERED),
        (410, Answer.GONE),
        (301, Answer.RETRY),
        (400, Answer.RETRY),
        (401, Answer.RETRY),
        (404, Answer.RETRY),
        (429, Answer.RETRY),
        (500, Answer.RETRY),
        (100, Answer.RETRY),
        (None, Answer.RETRY),
    ],
)
def test_what_a_receivers_answer_means(status_code: int | None, answer: Answer) -> None:
    assert deliveries.classify_status(status_code) is answer


GOOD = Segment(0.0, 2.0, {"a": 1}, "a")
BAD = Segment(2.0, 4.0, {}, "", error="cannot see it")
EMPTY = Segment(2.0, 4.0, {}, "", error="")
ENDINGS: list[tuple[tuple[Segment, ...], tuple[str, ...], str | None, str, str | None, str | None]] = [
    ((GOOD,), (), None, "completed", None, None),
    ((), (), None, "completed", None, None),
    ((GOOD, BAD), (), None, "partial", None, "1 of 2 segments failed, the first: cannot see it"),
    ((GOOD,), ("cut short", "no sound"), None, "partial", "media_damaged", "cut short; no sound"),
    ((), ("cut short",), None, "partial", "media_damaged", "cut short"),
    ((GOOD,), (), "refused", "partial", "video_level_failed", "the result of the whole is missing: refused"),
    (
        (GOOD, BAD),
        ("cut short",),
        "refused",
        "partial",
        "video_level_failed",
        "cut short; 1 of 2 segments failed, the first: cannot see it; the result of the whole is missing: refused",
    ),
    ((BAD,), (), None, "failed", "segments_failed", "its only segment failed: cannot see it"),
    (
        (BAD, EMPTY),
        ("cut short",),
        None,
        "failed",
        "segments_failed",
        "all of its 2 segments failed, the first: cannot see it",
    ),
]


@pytest.mark.parametrize(("segments", "damage", "whole_error", "status", "code", "message"), ENDINGS)
def test_an_item_ends_by_what_was_found_of_it(
    segments: tuple[Segment, ...],
    damage: tuple[str, ...],
    whole_error: str | None,
    status: str,
    code: str | None,
    message: str | None,
) -> None:
    found = ProcessingResult(segments, {}, "", damage, whole_error=whole_error)
    assert runs.item_ending(found) == runs.ItemEnding(ItemStatus(status), code, message)
