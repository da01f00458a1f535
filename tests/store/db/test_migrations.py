"""A database of any released version opens; one from the future is left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.postgres_server import PostgresServer
from tests.store.pipeline import RecordingSink
from vvwatch.errors import SchemaTooNew
from vvwatch.ports import Kind
from vvwatch.store.admin import invariants
from vvwatch.store.db import migrations
from vvwatch.store.db.database import Tx, requeue_overdue
from vvwatch.store.db.postgres import PostgresDatabase
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.schema import connectors, exports, import_automations, import_jobs, prompt_runs, windows

pytestmark = pytest.mark.anyio

VERSION_1 = Path(__file__).with_name("v1.sql")
ENGINES_OWN = ("jobs", "schema_versions")
LATER = 1_790_010_000.0


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute(query).fetchall()


def tables(path: Path) -> list[str]:
    found = rows(path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    return sorted(name for (name,) in found)


def columns(path: Path, table: str) -> list[tuple[Any, ...]]:
    """Each without its position, since what came later stands at the end, and with its default as a text.

    The columns of documents were called JSON once; they hold text either way, as no document is a bare number.
    """
    found = rows(path, f"SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('{table}')")
    return sorted(
        (name, "TEXT" if kind == "JSON" else kind, required, (default or "").strip("'"), key)
        for name, kind, required, default, key in found
    )


def structure(path: Path) -> dict[str, Any]:
    indexes = rows(path, "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name")
    references = {
        table: sorted(rows(path, f'SELECT "table", "from", "to" FROM pragma_foreign_key_list(\'{table}\')'))
        for table in tables(path)
    }
    return {
        "tables": {table: columns(path, table) for table in tables(path)},
        "indexes": [(name, table, sql and " ".join(sql.split())) for name, table, sql in indexes],
        "references": references,
    }


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(VERSION_1.read_text())
    return path


async def test_version_1_keeps_every_row(old: Path) -> None:
    kept = [table for table in tables(old) if table not in ENGINES_OWN]
    names = {table: ", ".join(f'"{column[0]}"' for column in columns(old, table)) for table in kept}
    before = {table: rows(old, f"SELECT {names[table]} FROM {table}") for table in kept}
    status = [column[0] for column in columns(old, "import_files")].index("status")
    async with SqliteDatabase(old, FakeClock()).opened() as found:
        assert found == 1
    gathers = [(*row[:status], "pending", *row[status + 1 :]) for row in before["import_files"]]
    waited = [row[status] == "waiting" for row in before["import_files"]]
    expected = zip(before["import_files"], gathers, waited, strict=True)
    before["import_files"] = [now if waits else row for row, now, waits in expected]
    assert {table: rows(old, f"SELECT {names[table]} FROM {table}") for table in kept} == before
    assert any(waited), "what gathers is as the job will have it"
    assert sum(map(len, before.values())) > 50
    assert rows(old, "SELECT max(number) FROM schema_versions") == [(migrations.LATEST,)]


async def test_what_is_new_since_version_1_has_its_defaults(old: Path) -> None:
    database = SqliteDatabase(old, FakeClock())
    async with database.opened():
        defaults: dict[sa.Table, dict[str, Any]] = {
            connectors: {"node": "", "events": None, "builtin": False},
            import_automations: {
                "concurrency": 16,
                "max_list_calls_per_hour": None,
                "cadence": None,
                "exclude_patterns": None,
                "min_size_bytes": None,
                "max_size_bytes": None,
            },
            windows: {"held": False},
            exports: {"prompt_run_ids": None, "parts": None},
            import_jobs: {"priority": 1, "concurrency": 16, "exclude_patterns": None, "min_size_bytes": None},
            prompt_runs: {"processor": "technical", "priority": 1, "concurrency": 16, "results": "kept"},
        }
        for table, expected in defaults.items():
            found = await database.read(_all, table)
            assert found
            assert all(expected.items() <= dict(row._mapping).items() for row in found)


def _all(tx: Tx, table: sa.Table) -> list[sa.Row[Any]]:
    return list(tx.all(sa.select(table)))


async def test_a_schema_brought_forward_equals_a_fresh_one(old: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.db"
    for path in (old, fresh):
        async with SqliteDatabase(path, FakeClock()).opened():
            pass
    assert structure(old) == structure(fresh)


async def test_the_work_of_version_1_is_put_again(old: Path) -> None:
    """The old queue is gone, its work is not."""
    before = rows(old, "SELECT kind, ref, revision FROM jobs ORDER BY kind, ref")
    database = SqliteDatabase(old, FakeClock(wall=LATER))
    sink = database.sink = RecordingSink()
    async with database.opened():
        await database.write(requeue_overdue, sink, 5.0)
        found = await database.read(invariants.findings)
    again = sorted((job.kind.value, job.ref, job.revision) for job in sink.jobs)
    assert {tuple(job) for job in before} <= set(again)
    newer = {Kind.IMPORT_JOB, Kind.RUN, Kind.SEGMENT_RETRY, Kind.FACTS}
    assert {job.kind for job in sink.jobs} == set(Kind) - newer
    assert {job.queue for job in sink.jobs if job.kind is Kind.RUN_ITEM} == {"run_item.technical"}
    assert [finding for finding in found if finding.count] == []


async def test_bringing_forward_is_all_or_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = structure(old)

    def half(conn: sa.Connection) -> None:
        migrations._to_2(conn)
        raise ZeroDivisionError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", {2: half})
        with pytest.raises(ZeroDivisionError):
            async with SqliteDatabase(old, FakeClock()).opened():
                pass
    assert structure(old) == before
    async with SqliteDatabase(old, FakeClock()).opened() as found:
        assert found == 1


async def test_a_newer_schema_is_refused_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database("newer")

    def stamp(tx: Tx) -> None:
        migrations._stamp(tx.conn, migrations.LATEST + 1, 0.0)

    database = PostgresDatabase(url, FakeClock())
    async with database.opened():
        await database.write(stamp)
    with pytest.raises(SchemaTooNew, match=f"knows up to {migrations.LATEST}"):
        async with PostgresDatabase(url, FakeClock()).opened():
            pass
    postgres_server.drop_database("newer")
