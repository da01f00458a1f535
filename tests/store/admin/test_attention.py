"""What needs attention is counted over everything, and goes when it is tried again, dismissed or old."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.store.footage import GOOD, HALF, added_up, items, shot, started
from tests.store.pipeline import jobs_of
from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.core.media import ProcessingResult, Segment
from vvwatch.ports import Kind
from vvwatch.store.admin import attention, status_queries
from vvwatch.store.db.database import Database
from vvwatch.store.runs import runs, segment_retries
from vvwatch.store.schema import run_items

pytestmark = pytest.mark.anyio

MENDED = ProcessingResult((GOOD, Segment(2.0, 4.0, {"subject": "a cat"}, "a cat")), {}, "")


async def processed(database: Database, run_id: str) -> list[int]:
    """Let the second segment of each item fail; returns the numbers of the items."""
    for job in items(database):
        await database.write(runs.begin_item, job)
        await database.write(runs.finish_item, job, HALF)
    chosen = sa.select(run_items.c.id).where(run_items.c.run_id == run_id).order_by(run_items.c.id)
    return await database.read(lambda tx: list(tx.execute(chosen).scalars()))


async def mend(database: Database, run_id: str, video: str, segment: str) -> None:
    await database.write(segment_retries.request, run_id, video, segment)
    [job] = jobs_of(database).take(Kind.SEGMENT_RETRY)
    await database.write(segment_retries.finish, job, MENDED)


async def test_nothing_needs_attention_where_nothing_failed(database: Database) -> None:
    found = await database.read(attention.list_failures, 0.0)
    assert not found.found
    assert set(found.counts.values()) == {0}
    assert not (await database.read(status_queries.read_state, 0.0)).automations


async def test_segments_that_failed_need_attention_until_they_are_mended(database: Database) -> None:
    """A file whose other segments are good is `partial`, and its run did not fail: it is told all the same."""
    (video,) = await shot(database, 1)
    run_id = await started(database)
    (number,) = await processed(database, run_id)
    found = await database.read(attention.list_failures, 0.0)
    assert [(each.kind, each.id, each.what, each.failed) for each in found.found] == [
        ("prompt_run", run_id, f"{video}, 2 to 4 s: the answer was cut off", 1)
    ]
    assert (found.counts["prompt_runs"], found.counts["run_items"], found.counts["segments"]) == (1, 0, 1)
    await mend(database, run_id, video, segment_id(number, 1))
    assert not (await database.read(attention.list_failures, 0.0)).found


async def test_a_missing_answer_about_the_whole_needs_attention_until_it_is_there(database: Database) -> None:
    (video,) = await shot(database, 1)
    run_id = await started(database)
    for job in items(database):
        await database.write(runs.begin_item, job)
        await database.write(runs.finish_item, job, replace(MENDED, whole_error="the answer was cut off"))
    (found,) = (await database.read(attention.list_failures, 0.0)).found
    assert (found.kind, found.id, found.failed) == ("prompt_run", run_id, 1)
    assert found.what.startswith(f"{video}: ")
    assert found.what.endswith("the answer was cut off")
    number = await database.read(lambda tx: tx.execute(sa.select(run_items.c.id)).scalar_one())
    await database.write(segment_retries.request, run_id, video, segment_id(number, WHOLE))
    [job] = jobs_of(database).take(Kind.SEGMENT_RETRY)
    await database.write(segment_retries.begin, job)
    await database.write(segment_retries.finish, job, MENDED)
    assert not (await database.read(attention.list_failures, 0.0)).found
    assert await database.read(added_up)


async def test_failed_segments_are_counted_behind_the_first(database: Database) -> None:
    await shot(database, 3)
    run_id = await started(database)
    await processed(database, run_id)
    (each,) = (await database.read(attention.list_failures, 0.0)).found
    assert each.what.endswith("2 to 4 s: the answer was cut off (and 2 more segments)")
    assert (each.failed, each.reason) == (3, "the answer was cut off")
    assert await database.write(attention.dismiss, run_id, 0.0) == (run_id,)
    assert not (await database.read(attention.list_failures, 0.0)).found


async def test_pages_read_the_newest_failures_and_bounded_counts(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else failed costs them nothing."""
    await shot(database, 1)
    runs_of = [await started(database) for _ in range(3)]
    for run_id in runs_of:
        await processed(database, run_id)
    monkeypatch.setattr(attention, "MOST_ON_PAGES", 2)
    found = await database.read(attention.list_newest, 0.0, 1)
    assert [each.id for each in found.found] == [runs_of[-1]]
    assert found.counts == {"import_jobs": 0, "prompt_runs": 2, "exports": 0, "deliveries": 0}
    assert not (await database.read(attention.list_newest, 10_000_000_000.0, 1)).found
    state = await database.read(status_queries.read_state, 0.0, [], 0)
    assert (state.automations, state.failures.found, state.failures.counts) == ([], [], {})
