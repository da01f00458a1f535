"""What is gone, and what only seemed so."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.store.pipeline import jobs_of, obj, prepare
from vvwatch.core.presence import SeenKeys
from vvwatch.ports import Job, Kind
from vvwatch.store.db.database import Database
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.schema import absences as absence_table
from vvwatch.store.schema import objects, tombstones
from vvwatch.store.watching import absences, automations, ledger, windows
from vvwatch.store.watching.absences import Pair

pytestmark = pytest.mark.anyio

KEYS = ["a/1.mp4", "a/2.mp4", "b/1.mp4"]


@pytest.fixture
async def row(database: Database) -> ImportAutomation:
    row = await database.write(prepare)
    await database.write(windows.accept_objects, row.id, 0, [obj(key) for key in KEYS])
    return row


async def pairs(database: Database, table: sa.Table) -> list[Pair]:
    query = sa.select(table.c.key, table.c.version).order_by(table.c.key, table.c.version)
    return await database.read(lambda tx: [(found.key, found.version) for found in tx.all(query)])


async def judged(database: Database, row: ImportAutomation, sweep: str, *lacking: Pair) -> int:
    """As the end of a sweep that lacked these."""
    job = Job(Kind.SCAN, row.id, row.revision, 0.0)
    gone = await database.write(absences.record_missing, job, row.scope_id, sweep, lacking)
    await database.write(absences.drop_stale_absences, row.scope_id, sweep)
    return gone


async def test_what_two_sweeps_in_a_row_lacked_leaves_the_ledger_and_a_tombstone(
    database: Database, row: ImportAutomation
) -> None:
    lost = ("a/1.mp4", "v1")
    assert await judged(database, row, "rec_1", lost) == 0
    assert await pairs(database, absence_table) == [lost]
    assert await judged(database, row, "rec_2", lost, ("b/1.mp4", "v1")) == 1
    assert await pairs(database, objects) == [("a/2.mp4", "v1"), ("b/1.mp4", "v1")]
    assert await pairs(database, absence_table) == [("b/1.mp4", "v1")]
    [grave] = await database.read(lambda tx: tx.all(sa.select(tombstones)))
    assert (grave.key, grave.version, grave.proof) == (*lost, "sweeps")
    assert grave.window_seq > 0


async def test_a_sweep_in_between_that_lacked_nothing_begins_anew(
    database: Database, row: ImportAutomation
) -> None:
    lost = ("a/1.mp4", "v1")
    await judged(database, row, "rec_1", lost)
    await judged(database, row, "rec_2")
    assert await judged(database, row, "rec_3", lost) == 0


async def test_judging_twice_for_one_sweep_changes_nothing(database: Database, row: ImportAutomation) -> None:
    job = Job(Kind.SCAN, row.id, row.revision, 0.0)
    for _ in range(2):
        lost = [("a/1.mp4", "v1")]
        assert await database.write(absences.record_missing, job, row.scope_id, "rec_1", lost) == 0
    for gone in (1, 0):
        assert await database.write(absences.record_missing, job, row.scope_id, "rec_2", lost) == gone


async def test_a_stale_sweep_judges_nothing(database: Database, row: ImportAutomation) -> None:
    await database.write(automations.scan_now, row.id)
    await judged(database, row, "rec_1", ("a/1.mp4", "v1"))
    assert await pairs(database, absence_table) == []


async def test_what_was_found_or_forgotten_in_between_is_not_absent(
    database: Database, row: ImportAutomation
) -> None:
    await judged(database, row, "rec_1", ("a/1.mp4", "v1"), ("b/1.mp4", "v1"))
    held = await database.read(ledger.compare_pages, row.scope_id, [[obj("a/1.mp4")]], None)
    assert held.missed == ["a/1.mp4"]
    await database.write(absences.clear_absences, row.scope_id, held.missed)
    await database.write(ledger.forget_version, "idx_main", "conn_in", "b/1.mp4", "v1")
    assert await pairs(database, absence_table) == []


async def test_a_verified_removal_buries_every_version_and_the_same_is_new_again(
    database: Database, row: ImportAutomation
) -> None:
    await database.write(windows.acknowledge_objects, row.id, 0, [obj("a/1.mp4", "v2")])
    for again in range(2):
        known = [("a/1.mp4", "v1"), ("a/1.mp4", "v2"), ("never", "v1")]
        assert await database.write(absences.mark_gone, row.scope_id, known) == 2 - again
        gone = await database.read(lambda tx: tx.all(sa.select(tombstones.c.key).distinct()))
        assert [each.key for each in gone] == ["a/1.mp4"]
        accepted = await database.write(windows.accept_objects, row.id, 0, [obj("a/1.mp4")])
        assert accepted.count == 1
    graves = await database.read(lambda tx: tx.all(sa.select(tombstones)))
    assert {grave.proof for grave in graves} == {"event"}
    assert len(jobs_of(database).take(Kind.WINDOW)) == 1


async def test_what_is_lacking_is_told_chunk_by_chunk_and_only_of_the_prefix(
    database: Database, row: ImportAutomation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absences, "CHUNK_ROWS", 2)
    versions = [obj("a/2.mp4", f"v{number}") for number in range(2, 6)]
    for each in [*versions, obj("a0"), obj("a"), obj("a/z.txt")]:
        await database.write(windows.acknowledge_objects, row.id, 0, [each])
    seen = SeenKeys(10, 1)
    seen.add(["a/1.mp4"], 1)
    lacking: list[Pair] = []
    after, found = None, 0
    while True:
        args = row.scope_id, "a/", after, seen, lambda key: key.endswith(".mp4")
        chunk = await database.read(absences.read_missing, *args)
        lacking += chunk.lacking
        found += chunk.seen
        if (after := chunk.last) is None:
            break
    assert lacking == [("a/2.mp4", f"v{number}") for number in range(1, 6)]
    assert found == 1
    assert await database.read(absences.count_live, row.scope_id, "a/") == 7


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("", ""), ("a/", "a0"), ("z\U0010ffff", "{"), ("\U0010ffff", ""), ("\ud7ff", "\ue000")],
)
def test_the_end_of_a_prefix_is_behind_all_that_begin_with_it(prefix: str, end: str) -> None:
    assert absences._prefix_end(prefix) == end


async def test_holding_pages_against_the_ledger_notes_what_it_has_and_no_stranger(
    database: Database, row: ImportAutomation
) -> None:
    strangers = [obj(f"a/1.mp4.{number:03}") for number in range(200)]
    await database.write(windows.accept_objects, row.id, 0, strangers)
    for pages in ([[obj("a/1.mp4"), obj("a/2.mp4"), obj("new.mp4")]], [[obj("a/1.mp4")], [obj("a/2.mp4")]]):
        seen = SeenKeys(10, 1)
        held = await database.read(ledger.compare_pages, row.scope_id, pages, seen)
        assert held.diff.known == 2
        assert seen.at_least() == 2
        keys = [*KEYS, "new.mp4", *(each.key for each in strangers)]
        assert set(keys) - seen.absent(keys) == {"a/1.mp4", "a/2.mp4"}
