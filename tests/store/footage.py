"""Media that stand in an index without having been imported, and runs over them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tests.store.pipeline import jobs_of, prepare
from vvwatch.core.media import ProcessingResult, Segment
from vvwatch.ports import Job, Kind
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.models.runs import Run
from vvwatch.store.runs import course, runs
from vvwatch.store.runs import run_queries as queries
from vvwatch.store.runs.batches import MediaSet, whole_index
from vvwatch.store.schema import events, media, prompt_runs, run_items

INDEX = "idx_main"
GOOD = Segment(0.0, 2.0, {"subject": "a dog"}, "a dog")
BAD = Segment(2.0, 4.0, {}, "", error="the answer was cut off")
HALF = ProcessingResult((GOOD, BAD), {}, "")


def _shoot(tx: Tx, count: int) -> list[str]:
    prepare(tx)
    ids = [tx.new_id("vid") for _ in range(count)]
    rows = [
        {
            "id": media_id,
            "index_id": INDEX,
            "connector_id": "conn_in",
            "key": f"{media_id}.mp4",
            "title": media_id,
            "media_type": ("video", "audio", "image")[number % 3],
            "duration_seconds": 4.0,
        }
        for number, media_id in enumerate(ids)
    ]
    for row in rows:
        tx.insert(media, **row)
    return ids


async def shot(database: Database, count: int) -> list[str]:
    """So many new media of the index, of every type in turn."""
    return await database.write(_shoot, count)


def _start(tx: Tx, settings: dict[str, Any], context: dict[str, Any], whole: MediaSet | None) -> str:
    asked: dict[str, Any] = {
        "index_id": INDEX,
        "prompt_id": catalog.DEFAULT_PROMPT_ID,
        "executed_by": "key_1",
    }
    media_ids = whole or whole_index(tx, INDEX)
    return runs.start_run(tx, **asked, settings={}, media_ids=media_ids, context=context, **settings)


async def started(database: Database, whole: MediaSet | None = None, **settings: Any) -> str:
    """A run over all media of the index, or of `whole`."""
    return await database.write(_start, settings, {"type": "index", "index_id": INDEX}, whole)


async def run_of(database: Database, run_id: str) -> Run:
    return await database.read(lambda tx: runs.get(tx, run_id))


async def statuses(database: Database) -> list[str]:
    """Of all items of all runs, in their order."""
    chosen = sa.select(run_items.c.status).order_by(run_items.c.id)
    return await database.read(lambda tx: [row.status for row in tx.all(chosen)])


async def told(database: Database) -> list[str]:
    """What was announced of runs, in its order."""
    chosen = sa.select(events.c.type).where(events.c.type.like("prompt_run.%")).order_by(events.c.id)
    return await database.read(lambda tx: [row.type.removeprefix("prompt_run.") for row in tx.all(chosen)])


async def led(database: Database) -> int:
    """Take every step that runs have to take, and those that follow; returns how many."""
    steps = 0
    while jobs := jobs_of(database).take(Kind.RUN):
        for job in jobs:
            await database.write(course.advance, job)
            steps += 1
    return steps


def items(database: Database) -> list[Job]:
    """The items that the engine was given."""
    return jobs_of(database).take(Kind.RUN_ITEM)


def added_up(tx: Tx) -> bool:
    """Whether each run counts exactly the items that it has."""
    names = ("completed", "partial", "failed", "cancelled")
    for run in tx.all(sa.select(prompt_runs)):
        found = [
            row.status for row in tx.all(sa.select(run_items.c.status).where(run_items.c.run_id == run.id))
        ]
        counts = [run._mapping[f"{name}_items"] for name in names]
        if [run.total_items, *counts] != [len(found), *map(found.count, names)]:
            return False
    return _tallies_add_up(tx)


def _tallies_add_up(tx: Tx) -> bool:
    """Whether what runs keep of their items by type is what one counts."""
    kept = [run for run in tx.all(sa.select(prompt_runs)) if run.tally is not None]
    counted = queries._count_items(tx, [run.id for run in kept])
    ends = [(kind, end) for kind in ("video", "audio", "image") for end in queries._ENDS]
    for run in kept:
        here, there = queries._to_tally(run.tally), counted[run.id]
        if [here.items[each] for each in ends] != [there.items[each] for each in ends]:
            return False
        if (here.seconds, here.items.total()) != (there.seconds, there.items.total()):
            return False
    return True
