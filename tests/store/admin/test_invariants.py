"""What is always true, told apart from what is not."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.store.busy import busy
from vvwatch.store.admin import invariants
from vvwatch.store.db.database import Database, Tx

pytestmark = pytest.mark.anyio

_JOB = "(SELECT id FROM import_jobs WHERE status = 'importing')"
_WINDOW = "(SELECT window_id FROM import_jobs WHERE status = 'importing')"
_CALL = "INSERT INTO llm_calls (id, key, step_key, run_id, run_item_id) VALUES ('c', 'k', 's', 'r', 0)"
BREAKING = {
    "one_open_window": "DROP INDEX one_open_window; UPDATE windows SET state = 'open'",
    "windows_became_jobs": f"UPDATE import_jobs SET window_id = NULL WHERE window_id = {_WINDOW}",
    "files_have_a_home": "UPDATE import_files SET job_id = 'job_gone' WHERE key = 'c.mp4'",
    "windows_count": "UPDATE windows SET object_count = 1 WHERE state = 'open'",
    "import_jobs_count": f"UPDATE import_jobs SET failed = 0 WHERE id = {_JOB}",
    "imported_is_media": "UPDATE media SET import_job_id = '' WHERE key = 'done.mp4'",
    "media_once": "UPDATE media SET import_job_id = (SELECT max(import_job_id) FROM media), key = 'k'",
    "imports_ran": "UPDATE prompt_runs SET import_job_id = NULL WHERE status = 'completed'",
    "runs_count": "UPDATE prompt_runs SET completed_items = 0",
    "work_has_a_time": "UPDATE deliveries SET next_at = NULL",
    "nothing_is_stuck": "UPDATE import_files SET next_at = NULL",
    "ledger_names_windows": "UPDATE objects SET window_seq = 1000000 WHERE key = 'c.mp4'",
    "graves_name_windows": "INSERT INTO tombstones (scope_id, key, version, window_seq) VALUES (1, 'k', 'v', 1000000)",
    "absent_was_there": "INSERT INTO absences (scope_id, key, version) VALUES (1, 'k', 'v')",
    "claims_are_recorded": "INSERT INTO claims (scope_id, key, version, job_id) VALUES (1, 'k', 'v', 'job')",
    "gone_is_proven": "INSERT INTO reconciles (id, automation_id, gone) SELECT 'rec', id, 1 FROM import_automations",
    "outputs_are_known": "DELETE FROM outputs",
    "items_count": "DELETE FROM segment_results",
    "calls_are_settled": f"{_CALL}; INSERT INTO spending (scope, calls) VALUES ('item:0', 1), ('run:r', 1)",
    "money_adds_up": f"{_CALL}; UPDATE llm_calls SET status = 'failed'",
}


def _run(tx: Tx, script: str) -> None:
    for statement in script.split(";"):
        tx.execute(sa.text(statement))


async def broken(database: Database) -> dict[str, invariants.Finding]:
    found = await database.read(invariants.findings)
    return {finding.name: finding for finding in found if finding.count}


async def test_an_installation_at_work_is_sound(database: Database, clock: FakeClock) -> None:
    assert await broken(database) == {}
    await busy(database, clock)
    assert await broken(database) == {}


class _Seen(Exception):
    """Carries what was found out of a transaction, which comes to nothing."""

    def __init__(self, found: list[invariants.Finding]) -> None:
        self.found = found


def _look(tx: Tx, script: str) -> None:
    _run(tx, script)
    raise _Seen(invariants.findings(tx))


async def test_what_was_lost_or_doubled_is_named(database: Database, clock: FakeClock) -> None:
    await busy(database, clock)
    for name, script in BREAKING.items():
        with pytest.raises(_Seen) as seen:
            await database.write(_look, script)
        [found] = [finding for finding in seen.value.found if finding.name == name]
        assert len(found.ids) == found.count > 0, name


def test_every_invariant_can_be_broken() -> None:
    assert BREAKING.keys() == {invariant.name for invariant in invariants.INVARIANTS}


async def test_what_retention_has_dropped_is_not_missed(database: Database, clock: FakeClock) -> None:
    """Import jobs that ended go oldest first, a few of their files at a time."""
    await busy(database, clock)
    clock.advance(100 * 86_400)
    await database.write(_run, "DELETE FROM import_files WHERE key = 'done.mp4'")
    assert await broken(database) == {}
    await database.write(
        _run,
        "DELETE FROM import_files WHERE status = 'imported'; DELETE FROM import_jobs WHERE status = 'completed'",
    )
    assert await broken(database) == {}


async def test_many_are_counted_and_some_are_named(database: Database, clock: FakeClock) -> None:
    await busy(database, clock)
    values = ", ".join(f"(1, 'key{n}', 'v', {n + 1000})" for n in range(50))
    await database.write(_run, f"INSERT INTO objects (scope_id, key, version, window_seq) VALUES {values}")
    found = (await broken(database))["ledger_names_windows"]
    assert (found.count, len(found.ids)) == (50, 20)
