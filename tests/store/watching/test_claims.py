"""Versions that import jobs without a window take: known while a job has them, and as before when all let go."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.store.pipeline import obj, prepare
from vvwatch.store.admin import invariants
from vvwatch.store.db import migrations
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.imports import import_object
from vvwatch.store.models.imports import ImportJob
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.schema import claims as claim_table
from vvwatch.store.schema import import_files, import_jobs, objects, tombstones
from vvwatch.store.watching import absences, claims, ledger, windows

pytestmark = pytest.mark.anyio

PAIR = ("a.mp4", "v1")


@pytest.fixture
async def row(database: Database) -> ImportAutomation:
    return await database.write(prepare)


async def take(database: Database, row: ImportAutomation) -> ImportJob:
    return await database.write(import_object.create, row.index_id, row.connector_id, obj("a.mp4"), "title")


async def release(database: Database, job: ImportJob) -> None:
    await database.write(claims.release_versions, job, [PAIR])


async def is_offered_in_vain(database: Database, row: ImportAutomation) -> bool:
    """Whether the automation takes the version for known."""
    difference = await database.read(ledger.compare, row.scope_id, [obj("a.mp4")])
    return difference.known == 1


async def is_sound(database: Database) -> bool:
    return [each for each in await database.read(invariants.findings) if each.count] == []


async def test_releasing_twice_releases_no_other_claim(database: Database, row: ImportAutomation) -> None:
    first, second = await take(database, row), await take(database, row)
    for _ in range(2):
        await release(database, first)
    assert await is_offered_in_vain(database, row)
    await release(database, second)
    assert not await is_offered_in_vain(database, row)
    assert await is_sound(database)


async def test_the_claim_of_an_earlier_life_does_not_hold_a_version_that_came_again(
    database: Database, row: ImportAutomation
) -> None:
    await take(database, row)
    assert await database.write(absences.mark_gone, row.scope_id, [PAIR]) == 1
    assert not await is_offered_in_vain(database, row)
    second = await take(database, row)
    assert await is_offered_in_vain(database, row)
    await release(database, second)
    assert not await is_offered_in_vain(database, row)
    assert await database.read(claims.find_imported, row.scope_id, ["a.mp4"]) == {"a.mp4"}
    assert await is_sound(database)


async def test_a_claimed_version_that_reappears_is_claimed_as_before(
    database: Database, row: ImportAutomation
) -> None:
    job = await take(database, row)
    await database.write(absences.mark_gone, row.scope_id, [PAIR])
    await database.write(absences.restore_versions, row.scope_id, [PAIR])
    assert await is_offered_in_vain(database, row)
    await release(database, job)
    assert not await is_offered_in_vain(database, row)
    assert await is_sound(database)


async def test_a_version_that_is_forgotten_is_not_claimed_and_others_stay(
    database: Database, row: ImportAutomation
) -> None:
    await take(database, row)
    declined = [obj("a.mp4", "v0"), obj("a.mp4", "v2")]
    for each in declined:
        await database.write(windows.acknowledge_objects, row.id, row.generation, [each])
    args = row.index_id, row.connector_id, "a.mp4"
    await database.write(ledger.forget_version, *args, "v2")
    assert await database.read(_versions, objects) == ["v1"], (
        "declined because of it, but not the claimed one"
    )
    await database.write(ledger.forget_version, *args, "v1")
    assert await database.read(_versions, claim_table) == []
    assert await is_sound(database)


def _versions(tx: Tx, table: sa.Table) -> list[str]:
    return sorted(tx.execute(sa.select(table.c.version)).scalars())


def _delete(tx: Tx, column: sa.Column[Any], value: str) -> None:
    tx.execute(sa.delete(column.table).where(column == value))


def _as_version_4(tx: Tx, marks: dict[str, int]) -> None:
    """Write claims as version 4 did: counted below zero in the ledger."""
    claim_table.drop(tx.conn)
    for table in (objects, tombstones):
        for version, mark in marks.items():
            tx.execute(sa.update(table).where(table.c.version == version).values(window_seq=mark))


async def test_claims_of_version_4_move_to_their_jobs(database: Database, row: ImportAutomation) -> None:

    new = [await take(database, row) for _ in range(2)]  # v1: two jobs, one of them pruned
    await database.write(windows.acknowledge_objects, row.id, row.generation, [obj("a.mp4", "v2")])
    await database.write(windows.accept_objects, row.id, row.generation, [obj("b.mp4", "v3")])
    known = await database.write(
        import_object.create, row.index_id, row.connector_id, obj("a.mp4", "v2"), "title"
    )
    lost = await database.write(
        import_object.create, row.index_id, row.connector_id, obj("c.mp4", "v4"), "title"
    )
    await database.write(absences.mark_gone, row.scope_id, [("c.mp4", "v4")])
    for column in (import_files.c.job_id, import_jobs.c.id):
        await database.write(_delete, column, new[0].id)
    await database.write(_as_version_4, {"v1": -3, "v2": -2, "v4": -1})
    await database.write(lambda tx: migrations._to_5(tx.conn))
    rows = await database.read(lambda tx: tx.all(sa.select(claim_table)))
    assert {(each.version, each.job_id, each.provisional, each.gone) for each in rows} == {
        ("v1", new[1].id, True, False),
        ("v1", "", True, False),
        ("v2", known.id, False, False),
        ("v4", lost.id, True, True),
    }
    seqs = await database.read(lambda tx: tx.execute(sa.select(objects.c.window_seq)).scalars().all())
    assert sorted(seq > 0 for seq in seqs) == [False, False, True]
    await database.write(claims.release_versions, known, [("a.mp4", "v2")])
    await release(database, new[1])
    assert await database.read(_versions, objects) == ["v1", "v2", "v3"], "an unknown job still has v1"
    assert await is_sound(database)
