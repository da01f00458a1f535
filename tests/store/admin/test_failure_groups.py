"""Failures are grouped by reason whatever job or run they are in, and a group is retried or dismissed as a whole."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.store.footage import items, shot, started
from tests.store.pipeline import jobs_of, prepare
from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.errors import InvalidInput
from vvwatch.ports import Kind
from vvwatch.store.admin import failure_actions, failure_groups
from vvwatch.store.admin.failure_groups import FailedKind
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.runs import runs
from vvwatch.store.schema import import_files, import_jobs, segment_retries

pytestmark = pytest.mark.anyio

FILE, ITEM = FailedKind.FILE, FailedKind.ITEM


def _fail_files(tx: Tx, reasons: dict[str, int], connector_id: str = "conn_in") -> None:
    """Make one job for each reason, in which so many files failed."""
    prepare(tx)
    for reason, count in reasons.items():
        job = tx.new_id("job")
        ended: dict[str, Any] = {"created_at": tx.now, "completed_at": tx.now, "updated_at": tx.now}
        its = {"index_id": "idx_main", "connector_id": connector_id, "status": "completed", "failed": count}
        tx.insert(import_jobs, id=job, **its, **ended)
        for number in range(count):
            said = {"status": "failed", "reason": reason, "message": f"{reason}: it is"}
            tx.insert(import_files, job_id=job, key=f"{reason}/{number}.mp4", version="v1", **said)


async def counted(database: Database) -> dict[tuple[str, str], int]:
    found = await database.read(failure_groups.list_groups, 0.0)
    return {(group.kind, group.reason): group.count for group in found}


async def test_files_are_counted_by_reason_and_paged(database: Database) -> None:
    await database.write(_fail_files, {"media_unreadable": 5, "access_denied": 2})
    found = await database.read(failure_groups.list_groups, 0.0)
    assert [(group.kind, group.reason, group.count) for group in found] == [
        (FILE, "media_unreadable", 5),
        (FILE, "access_denied", 2),
    ]
    assert found[0].newest.label == "media_unreadable/4.mp4"
    assert found[0].newest.message == "media_unreadable: it is"
    labels, before = [], None
    while page := await database.read(
        failure_groups.list_pieces, FILE, "media_unreadable", "", 0.0, before, 2
    ):
        labels += [piece.label for piece in page]
        before = str(page[-1].id)
    assert labels == [f"media_unreadable/{number}.mp4" for number in (4, 3, 2, 1, 0)]


async def test_what_is_older_needs_nobody(database: Database) -> None:
    await database.write(_fail_files, {"media_unreadable": 1})
    assert await database.read(failure_groups.list_groups, 10_000_000_000.0) == []


async def test_all_files_of_a_reason_are_retried(database: Database) -> None:
    await database.write(_fail_files, {"media_unreadable": 3, "access_denied": 1})
    done = await database.write(failure_actions.retry_group, FILE, "media_unreadable", "", 0.0)
    assert (done.done, done.refused, done.more) == (3, 0, False)
    assert await counted(database) == {(FILE, "access_denied"): 1}


async def test_all_files_of_a_reason_are_dismissed(database: Database) -> None:
    await database.write(_fail_files, {"media_unreadable": 3, "access_denied": 1})
    done = await database.write(failure_actions.dismiss_group, FILE, "access_denied", "", 0.0)
    assert done.done == 1
    assert await counted(database) == {(FILE, "media_unreadable"): 3}


async def test_items_that_failed_as_a_whole_are_retried_as_a_whole(database: Database) -> None:
    (video,) = await shot(database, 1)
    run_id = await started(database)
    for job in items(database):
        await database.write(runs.begin_item, job)
        await database.write(runs.fail_item, job, "processor_refused", "not this one")
    assert await counted(database) == {(ITEM, "processor_refused"): 1}
    [group] = await database.read(failure_groups.list_groups, 0.0)
    assert (group.newest.owner, group.newest.media_id, group.newest.label) == (run_id, video, video)
    done = await database.write(failure_actions.retry_group, ITEM, "processor_refused", "", 0.0)
    assert done.done == 1
    assert len(jobs_of(database).take(Kind.SEGMENT_RETRY)) == 1
    ordinals = await database.read(
        lambda tx: list(tx.execute(sa.select(segment_retries.c.ordinal)).scalars())
    )
    assert ordinals == [WHOLE]
    assert segment_id(group.newest.id, WHOLE).endswith("_whole")
    again = await database.write(failure_actions.retry_group, ITEM, "processor_refused", "", 0.0)
    assert (again.done, again.refused) == (0, 1)
    assert "already" in again.refusal


async def test_whole_jobs_are_not_retried(database: Database) -> None:
    with pytest.raises(InvalidInput):
        await database.write(failure_actions.retry_group, FailedKind.JOB, "x", "", 0.0)


@pytest.mark.parametrize(
    ("places", "retryable"),
    [
        (("conn_in",), True),
        (("conn__uploads",), False),
        (("conn__uploads_node-2",), False),
        (("conn_in", "conn__uploads"), True),
    ],
)
async def test_files_in_no_store_that_is_scanned_are_not_retryable(
    database: Database, places: tuple[str, ...], retryable: bool
) -> None:
    """What is said here of a group and of its files is what happens when they are retried."""
    for place in places:
        await database.write(_fail_files, {"media_unreadable": 2}, place)
    [group] = await database.read(failure_groups.list_groups, 0.0)
    pieces = await database.read(failure_groups.list_pieces, FILE, "media_unreadable", "", 0.0, None, 9)
    assert (group.count, group.retryable) == (2 * len(places), retryable)
    allowed = [piece for piece in pieces if piece.retryable]
    acted = await database.write(failure_actions.retry_group, FILE, "media_unreadable", "", 0.0)
    assert (acted.done, acted.refused) == (len(allowed), len(pieces) - len(allowed))
    assert len(allowed) == 2 * places.count("conn_in")
