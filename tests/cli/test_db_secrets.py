"""`vvwatch db reseal`: the key is changed, whatever interrupts it."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography.fernet import Fernet

from tests import slices
from tests.cli.conftest import Run
from tests.postgres_server import PostgresServer
from tests.store.admin.test_resealing import furnish, opened
from vvwatch.clock import SystemClock
from vvwatch.store.admin import nodes
from vvwatch.store.admin.nodes import Life
from vvwatch.store.admin.secret_keys import KEY_FILE, find_keys
from vvwatch.store.db.database import Tx
from vvwatch.store.db.opening import Place, resolve_place

DYING_RESEAL = Path(__file__).with_name("dying_reseal.py")
FILE = "sqlite:///vvwatch.db"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory of an installation that has sealed something everywhere."""
    folder = tmp_path / "state"
    monkeypatch.setenv("VVWATCH_STATE_DIR", str(folder))
    monkeypatch.delenv("VVWATCH_SECRET_KEY", raising=False)
    anyio.run(_furnished, resolve_place(FILE, folder, SystemClock()), folder)
    return folder


async def _furnished(place: Place, state: Path) -> None:
    async with place.database.opened():
        await place.database.write(furnish, find_keys(state, {}).keep().box())


def contents(state: Path, url: str = FILE) -> dict[str, list[str]]:
    """Everything that was sealed, in clear, with the keys of the state directory."""

    async def read() -> dict[str, list[str]]:
        place = resolve_place(url, state, SystemClock())
        async with place.database.visited():
            return await place.database.read(opened, find_keys(state, {}, make=False).box())

    return anyio.run(read)


def keys_in(state: Path) -> list[str]:
    return [line for line in (state / KEY_FILE).read_text().splitlines() if not line.startswith("#")]


def test_a_new_key_takes_the_place_of_the_old_one(run: Run, state: Path) -> None:
    before, [old] = contents(state), keys_in(state)
    (state / KEY_FILE).write_text(f"# of the vault\n{old}\n")
    done = run("db", "reseal", "--new-key")
    assert done.exit_code == 0, done.output
    assert [new := keys_in(state)[0]] == keys_in(state) != [old]
    assert "# of the vault" in (state / KEY_FILE).read_text()
    assert stat.S_IMODE((state / KEY_FILE).stat().st_mode) == 0o600
    assert contents(state) == before
    assert "backups from before need the old one" in done.output
    assert old not in done.output
    assert new not in done.output


def test_the_old_key_stays_when_that_is_wanted(run: Run, state: Path) -> None:
    [old] = keys_in(state)
    answer = json.loads(run("db", "reseal", "--new-key", "--keep-old", "--json").stdout)
    assert answer["old_keys_removed"] is False
    assert [each["resealed"] for each in answer["tables"]] == [1, 1, 1, 1]
    assert keys_in(state)[1:] == [old]
    assert json.loads(run("db", "reseal", "--json").stdout)["old_keys_removed"] is True
    assert len(keys_in(state)) == 1


def test_killed_at_any_step_nothing_is_lost_and_the_next_run_ends_it(
    run: Run, state: Path, tmp_path: Path
) -> None:
    before = contents(state)
    folder = tmp_path / "killed"
    command = [sys.executable, str(DYING_RESEAL), str(state), str(folder)]
    died = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    assert died >= 20, "two files that are written, and five commits"
    for number in slices.sample(range(1, died + 1), 5):
        left = folder / str(number)
        assert contents(left) == before, "whenever it dies, the keys that are there open everything"
        assert 1 <= len(keys_in(left)) <= 2
        options = "--state-dir", str(left), "--database-url", f"sqlite:///{left / 'vvwatch.db'}"
        done = run("db", "reseal", "--new-key", *options)
        assert done.exit_code == 0, done.output
        assert len(keys_in(left)) == 1
        assert contents(left) == before
        assert not list(left.glob("*.part")), "no draft of a key is left behind"


def test_a_key_that_is_not_in_the_state_directory_is_not_changed_there(
    run: Run, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [old] = keys_in(state)
    (tmp_path / "key").write_text(old)
    monkeypatch.setenv("VVWATCH_SECRET_KEY_FILE", str(tmp_path / "key"))
    done = run("db", "reseal", "--new-key")
    assert done.exit_code == 2
    assert "without --new-key" in done.stderr
    (tmp_path / "key").write_text(f"{Fernet.generate_key().decode()}\n{old}\n")
    done = run("db", "reseal")
    assert done.exit_code == 0, done.output
    assert "remove them from" in done.output
    assert old in (tmp_path / "key").read_text(), "the file is not vvwatch's"


def test_without_a_key_none_is_made(run: Run, state: Path) -> None:
    (state / KEY_FILE).unlink()
    done = run("db", "reseal", "--new-key")
    assert done.exit_code != 0
    assert "cannot read the key file" in done.stderr
    assert not (state / KEY_FILE).exists()


def test_of_several_nodes_none_gets_a_key_alone(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_server: PostgresServer
) -> None:
    url = postgres_server.create_database("reseal")
    monkeypatch.setenv("VVWATCH_DATABASE_URL", url)
    monkeypatch.delenv("VVWATCH_SECRET_KEY", raising=False)
    anyio.run(_furnished, resolve_place(url, tmp_path, SystemClock()), tmp_path)
    options = "--state-dir", str(tmp_path), "--database-url", url
    alone = run("db", "reseal", "--new-key", *options)
    assert alone.exit_code == 0, alone.output
    anyio.run(_with_nodes, resolve_place(url, tmp_path, SystemClock()))
    [old] = keys_in(tmp_path)
    done = run("db", "reseal", "--new-key", *options)
    assert done.exit_code == 1
    assert "node-a, node-b" in done.stderr
    (tmp_path / KEY_FILE).write_text(f"{Fernet.generate_key().decode()}\n{old}\n")
    done = run("db", "reseal", *options)
    assert done.exit_code == 0, done.output
    assert contents(tmp_path, url)["webhooks"] == ["whsec_x"]
    postgres_server.drop_database("reseal")


async def _with_nodes(place: Place) -> None:
    def two(tx: Tx) -> Any:
        for name in ("node-a", "node-b"):
            nodes.record_life(tx, Life(name, "1", "http://x", tx.now, 5.0, {}))

    async with place.database.opened():
        await place.database.write(two)
