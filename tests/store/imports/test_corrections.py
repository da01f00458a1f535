"""What a run finds out about a media item stands with the item, and in the count of the run."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import sqlalchemy as sa

from tests.store.footage import added_up, items, shot, started
from tests.store.pipeline import PROBE, RESULT
from vvwatch.store.db.database import Database
from vvwatch.store.runs import runs
from vvwatch.store.schema import media

pytestmark = pytest.mark.anyio


async def corrected(database: Database, seconds: float | None) -> sa.Row[object]:
    await shot(database, 1)
    await started(database)
    (job,) = items(database)
    probe = replace(PROBE, duration_seconds=seconds, rotation_degrees=90)
    await database.write(runs.begin_item, job)
    await database.write(runs.finish_item, job, replace(RESULT, probe=probe))
    return await database.read(lambda tx: tx.execute(sa.select(media)).one())


@pytest.mark.parametrize("seconds", [4.0, 61.5, 0.25, None])
async def test_the_media_item_says_what_the_whole_has_shown(
    database: Database, seconds: float | None
) -> None:
    row = await corrected(database, seconds)

    assert row.duration_seconds == seconds
    assert row.probe["rotation_degrees"] == 90
    assert set(row.probe) == set(asdict(PROBE))
    assert row.probe["duration_seconds"] == seconds
    assert await database.read(added_up)


async def test_a_processor_that_probes_nothing_leaves_the_item_as_it_is(database: Database) -> None:
    await shot(database, 1)
    await started(database)
    (job,) = items(database)
    await database.write(runs.begin_item, job)
    await database.write(runs.finish_item, job, RESULT)

    row = await database.read(lambda tx: tx.execute(sa.select(media)).one())

    assert row.duration_seconds == 4.0
    assert await database.read(added_up)
