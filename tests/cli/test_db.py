"""`vvwatch db`: copy, backup and check."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.cli.conftest import Run
from tests.fault_proxy import free_port
from tests.postgres_server import PostgresServer
from vvwatch.clock import SystemClock
from vvwatch.store.admin import moving
from vvwatch.store.db import migrations
from vvwatch.store.db.opening import resolve_place
from vvwatch.store.db.sqlite import SqliteDatabase

VERSION_1 = Path(__file__).parents[1] / "store" / "db" / "v1.sql"
PASSWORD = "planted-password"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory whose database holds an installation at work."""
    folder = tmp_path / "state"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "vvwatch.db")) as raw:
        raw.executescript(VERSION_1.read_text())
    monkeypatch.setenv("VVWATCH_STATE_DIR", str(folder))
    anyio.run(_brought_forward, folder / "vvwatch.db")
    return folder


async def _brought_forward(path: Path) -> None:
    async with SqliteDatabase(path, SystemClock()).opened():
        pass


@pytest.fixture
def server(postgres_server: PostgresServer) -> Iterator[str]:
    yield postgres_server.create_database("cli_db")
    postgres_server.drop_database("cli_db")


def execute(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.executescript(script)


def test_a_move_to_postgresql_is_told_and_proved(run: Run, state: Path, server: str) -> None:
    command = ["db", "copy", "--from", "sqlite:///vvwatch.db", "--to", server, "--node", "here"]
    done = run(*command)
    assert done.exit_code == 0, done.output
    assert "are equal" in done.stdout
    assert "secret.key" in done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("objects ")]
    assert line.split()[:3] == ["objects", "7", "7"]
    document = json.loads(run(*command, "--json").stdout)
    assert document["equal"]
    ledger = next(each for each in document["tables"] if each["table"] == "objects")
    assert (ledger["rows"], ledger["copied"]) == (7, 0)
    assert line.split()[3] == ledger["checksum"]
    checked = run("db", "check", "--database-url", server)
    assert checked.exit_code == 0, checked.output


def test_a_difference_exits_with_1(run: Run, state: Path, server: str) -> None:
    command = ["db", "copy", "--from", "sqlite:///vvwatch.db", "--to", server, "--node", "here"]
    assert run(*command).exit_code == 0
    execute(state / "vvwatch.db", "UPDATE objects SET window_seq = 0 WHERE key = 'c.mp4'")
    done = run(*command)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: the databases differ in objects (7 rows")


def test_the_target_is_the_configured_database(
    run: Run, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VVWATCH_DATABASE_URL", "sqlite:///new.db")
    done = run("db", "copy", "--from", "sqlite:///vvwatch.db")
    assert done.exit_code == 0, done.output
    assert (state / "new.db").exists()


def test_a_database_is_not_copied_onto_itself(run: Run, state: Path) -> None:
    assert run("db", "copy", "--from", "sqlite:///vvwatch.db").exit_code == 2


def test_local_folders_want_a_node(run: Run, state: Path, server: str) -> None:
    done = run("db", "copy", "--from", "sqlite:///vvwatch.db", "--to", server)
    assert done.exit_code == 1
    assert "conn_in" in done.stderr
    assert "--node NAME" in done.stderr


def test_no_daemon_starts_on_what_has_not_wholly_arrived(state: Path, tmp_path: Path) -> None:
    source, target = (
        resolve_place(f"sqlite:///{name}.db", state, SystemClock()) for name in ("vvwatch", "half")
    )

    def stop(_table: str, _rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        anyio.run(moving.copy, source, target, "", stop)
    ended = subprocess.run(
        [sys.executable, "-m", "vvwatch", "run", "--listen", "127.0.0.1:0"],
        env={**os.environ, "VVWATCH_DATABASE_URL": "sqlite:///half.db"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "error: this database is an unfinished copy" in ended.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["copy", "--from", "sqlite:///vvwatch.db", "--node", "here", "--to"],
        ["check", "--database-url"],
        ["backup", "file", "--database-url"],
    ],
    ids=lambda args: args[0],
)
@pytest.mark.parametrize(
    "form", ["postgresql://u:{}@127.0.0.1:{}/x", "postgresql://u@127.0.0.1:{1}/x?password={0}"]
)
def test_no_password_is_shown(
    run: Run, state: Path, args: list[str], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = form.format(PASSWORD, free_port())
    for command in (["db", *args, url], ["--debug", "db", *args, url]):
        done = run(*command)
        assert done.exit_code in (1, 2)
        assert "127.0.0.1" in done.stderr
        assert PASSWORD not in done.stdout + done.stderr
    assert PASSWORD not in run("db", *args, url.replace("postgresql", "mysql")).output


def test_an_address_that_cannot_be_read_is_wrong_usage(run: Run, state: Path) -> None:
    done = run("db", "check", "--database-url", "mysql://x/y")
    assert done.exit_code == 2
    assert "is no address of a database" in done.stderr


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Somebody owns the database, and has written what is not checkpointed yet."""
    ready, done = threading.Event(), threading.Event()

    async def own() -> None:
        database = SqliteDatabase(path, SystemClock())
        async with database.opened():
            await database.write(lambda tx: tx.conn.exec_driver_sql("UPDATE indexes SET name = 'written'"))
            ready.set()
            await anyio.to_thread.run_sync(done.wait)

    thread = threading.Thread(target=anyio.run, args=(own,))
    thread.start()
    try:
        assert ready.wait(20)
        yield
    finally:
        done.set()
        thread.join()


def test_a_backup_is_whole_while_the_daemon_runs(run: Run, state: Path, tmp_path: Path) -> None:
    file = tmp_path / "back'up.db"
    with owned(state / "vvwatch.db"):
        done = run("db", "backup", str(file))
        assert run("db", "check").exit_code == 0
    assert done.exit_code == 0, done.output
    assert "secret.key" in done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with closing(sqlite3.connect(file)) as raw:
        assert raw.execute("SELECT name FROM indexes").fetchall() == [("written",)]
        assert raw.execute("SELECT seq FROM sqlite_sequence WHERE name = 'windows'").fetchall() == [(4,)]
    checked = run("db", "check", "--database-url", f"sqlite:///{file}", "--json")
    assert json.loads(checked.stdout)["sound"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_backup_overwrites_nothing(run: Run, state: Path, tmp_path: Path) -> None:
    file = tmp_path / "there.db"
    file.write_text("precious")
    done = run("db", "backup", str(file))
    assert done.exit_code == 1
    assert "already exists" in done.stderr
    assert file.read_text() == "precious"


@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_was_taken_meanwhile_is_kept(
    run: Run, state: Path, tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a filesystem has no hard links, as far as it can be known there."""
    if not links:

        def no_links(*_: Any) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr("os.link", no_links)
    file = tmp_path / "backup.db"
    assert run("db", "backup", str(file)).exit_code == 0
    content = file.read_bytes()
    assert run("db", "backup", str(file)).exit_code == 1
    assert file.read_bytes() == content


def test_a_backup_that_cannot_be_written_leaves_nothing(run: Run, state: Path, tmp_path: Path) -> None:
    done = run("db", "backup", str(tmp_path / "missing" / "backup.db"))
    assert done.exit_code == 1
    assert "No such file or directory" in done.stderr
    execute(state / "vvwatch.db", "PRAGMA journal_mode = DELETE")
    (state / "vvwatch.db").write_bytes(b"no database" * 1000)
    done = run("db", "backup", str(tmp_path / "backup.db"))
    assert done.exit_code == 1
    assert "file is not a database" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]


def test_a_server_is_backed_up_by_its_own_tools(run: Run) -> None:
    done = run("db", "backup", "file", "--database-url", "postgresql://u@h/x")
    assert done.exit_code == 2
    assert "pg_dump" in done.stderr


def test_check_names_what_is_wrong(run: Run, state: Path) -> None:
    assert (
        run("db", "check").stdout.splitlines()[-1].endswith(f": sound (schema version {migrations.LATEST})")
    )
    execute(state / "vvwatch.db", "UPDATE objects SET window_seq = 99 WHERE key = 'c.mp4'")
    done = run("db", "check")
    assert done.exit_code == 1
    assert "no   The ledger names only windows that were.\n     not so: 99\n" in done.stdout
    document = json.loads(run("db", "check", "--json").stdout)
    assert not document["sound"]
    [broken] = [each for each in document["invariants"] if each["count"]]
    assert (broken["name"], broken["ids"]) == ("ledger_names_windows", ["99"])


def test_check_names_damage(run: Run, state: Path) -> None:
    execute(state / "vvwatch.db", "PRAGMA foreign_keys = OFF; DELETE FROM webhooks")
    done = run("db", "check")
    assert done.exit_code == 1
    assert "damaged: row 1 of deliveries refers to a row of webhooks that does not exist" in done.stdout


def test_check_makes_and_changes_nothing(run: Run, state: Path, tmp_path: Path) -> None:
    done = run("db", "check", "--database-url", f"sqlite:///{tmp_path}/none.db")
    assert done.exit_code == 1
    assert "there is no database" in done.stderr
    assert not (tmp_path / "none.db").exists()
    old = tmp_path / "old.db"
    execute(old, VERSION_1.read_text())
    before = old.read_bytes()
    done = run("db", "check", "--database-url", f"sqlite:///{old}")
    assert done.exit_code == 1
    assert f"has schema version 1, not {migrations.LATEST}" in done.stderr
    assert old.read_bytes() == before
    (tmp_path / "text.db").write_text("this is no database, and long enough to be looked at" * 10)
    assert "cannot open" in run("db", "check", "--database-url", f"sqlite:///{tmp_path}/text.db").stderr


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://u:p@db.example:5433/x?sslmode=require", "postgresql://db.example:5433/x"),
        ("postgresql://u@/x?host=/run/a&port=5433&password=p", "postgresql:///run/a:5433/x"),
        ("postgresql://u@h?dbname=x", "postgresql://h/x"),
    ],
)
def test_a_server_is_named_without_what_is_nobodys_business(url: str, name: str) -> None:
    assert resolve_place(url, Path(), SystemClock()).name == name


def test_the_overview_of_the_group_leads_to_its_commands(run: Run) -> None:
    for name in ("copy", "backup", "check"):
        page = run("db", name, "--help").stdout
        assert page.startswith("Examples:\n")
        assert "--json" in page
