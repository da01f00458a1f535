"""Figures for metrics, from rows as they are."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.store.footage import items, shot, started
from vvwatch.core.budgets import day_scope
from vvwatch.core.media import ProcessingResult
from vvwatch.store.admin import gauges
from vvwatch.store.db.database import Database
from vvwatch.store.runs import runs, spending
from vvwatch.store.schema import import_automations, prompt_runs

pytestmark = pytest.mark.anyio


async def test_an_idle_daemon_has_nothing_that_waits(database: Database) -> None:
    found = await database.read(gauges.read_gauges)
    assert set(found.oldest_seconds.values()) == {0.0}
    assert (found.failing, found.unproven, found.nodes_up) == ({}, {}, 1)
    assert await database.read(gauges.map_last_successes) == {}


async def test_the_oldest_unfinished_run_has_its_age_until_it_ends(database: Database) -> None:
    await shot(database, 1)
    run_id = await started(database)
    await database.write(
        lambda tx: tx.execute(
            sa.update(prompt_runs).where(prompt_runs.c.id == run_id).values(created_at=tx.now - 100)
        )
    )
    found = await database.read(gauges.read_gauges)
    assert found.oldest_seconds["run"] == pytest.approx(100, abs=5)

    [job] = items(database)
    await database.write(runs.begin_item, job)
    await database.write(runs.finish_item, job, ProcessingResult((), {}, ""))
    assert (await database.read(gauges.read_gauges)).oldest_seconds["run"] == 0.0


async def test_an_automation_fails_or_lacks_a_proof_only_while_it_is_active(database: Database) -> None:
    await shot(database, 1)
    changed = sa.update(import_automations)
    await database.write(
        lambda tx: tx.execute(changed.values(failing_since=tx.now, doubt={"since": 0, "times": 1}))
    )
    found = await database.read(gauges.read_gauges)
    assert list(found.failing.values()) == [True]
    assert list(found.unproven.values()) == [True]

    await database.write(lambda tx: tx.execute(changed.values(paused=True)))
    assert (await database.read(gauges.read_gauges)).failing == {}


async def test_what_was_spent_is_in_dollars(database: Database) -> None:
    scope = day_scope(0.0)
    await database.write(spending.lock_spent, [scope])
    await database.write(spending.add_changes, {scope: spending.Change(cost_nanousd=2_500_000_000)})
    assert await database.read(gauges.read_spent, [scope, "day:never"]) == {scope: 2.5}
