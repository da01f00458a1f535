"""Who owns a database file, also where a lock does not reach the other one."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.store.pipeline import count
from vvwatch.clock import SystemClock
from vvwatch.errors import StoreError, StoreLocked
from vvwatch.store.db import ownership
from vvwatch.store.db.ownership import STILL_SECONDS, Ownership, Record
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.schema import jobs

NOBODY = 1 << 22
"""More than the largest process id of a kernel as it comes."""
OWNER = """
import sys, time
from pathlib import Path
import anyio
from vvwatch.clock import SystemClock
from vvwatch.store.db.sqlite import SqliteDatabase
async def own():
    async with SqliteDatabase(Path(sys.argv[1]), SystemClock()).opened():
        print("owned", flush=True)
        await anyio.sleep(60)
anyio.run(own)
"""


class Naps:
    """Counts what would have been slept; `then` happens during the next nap."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.then: Callable[[], object] | None = None

    def __call__(self, seconds: float) -> None:
        self.seconds += seconds
        if self.then is not None:
            then, self.then = self.then, None
            then()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "vvwatch.db.owner"


@pytest.fixture
def naps() -> Naps:
    return Naps()


def left(file: Path, **changes: object) -> Record:
    """The record of another process, as `changes` have it; by default one of this machine that has ended."""
    usual = {"token": "theirs", "name": "elsewhere", "pid": NOBODY}
    record = Record(**{**asdict(ownership._this_process()), **usual, **changes})
    file.write_bytes(json.dumps(asdict(record)).encode().ljust(512))
    return record


@contextmanager
def taken(file: Path, naps: Naps, *, locks_hold: bool) -> Iterator[Ownership]:
    owner = Ownership(file, sleep=naps)
    owner.take(locks_hold=locks_hold)
    try:
        yield owner
    finally:
        owner.release()


@pytest.mark.parametrize("locks_hold", [True, False])
def test_an_owner_is_named_as_long_as_it_works(file: Path, naps: Naps, locks_hold: bool) -> None:
    with taken(file, naps, locks_hold=locks_hold) as owner:
        found = owner.holder()
        assert found is not None
        assert found.pid == os.getpid()
        owner.require()
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.stat().st_size == 512
    assert not file.exists()
    assert naps.seconds <= 2


@pytest.mark.parametrize("locks_hold", [True, False])
def test_who_lives_on_this_machine_is_not_displaced(file: Path, naps: Naps, locks_hold: bool) -> None:
    """Also when the lock's file was removed by hand."""
    left(file, pid=os.getppid(), started=ownership._read_start_time(os.getppid()))
    with pytest.raises(StoreLocked, match=f"process {os.getppid()} on elsewhere, since 20"):
        Ownership(file, sleep=naps).take(locks_hold=locks_hold)
    assert naps.seconds == 0


@pytest.mark.parametrize("locks_hold", [True, False])
def test_who_died_on_this_machine_is_followed_at_once(file: Path, naps: Naps, locks_hold: bool) -> None:
    left(file)
    with taken(file, naps, locks_hold=locks_hold):
        assert naps.seconds <= 2


def test_a_number_that_another_process_has_now_is_no_life(file: Path, naps: Naps) -> None:
    """As the first process of a container, which always has the same one."""
    left(file, pid=os.getppid(), started="1")
    with taken(file, naps, locks_hold=False):
        assert naps.seconds <= 2


def test_a_process_of_another_user_that_is_hidden_is_watched(
    file: Path, naps: Naps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    left(file)
    monkeypatch.setattr(os, "kill", refuse)
    with taken(file, naps, locks_hold=False):
        assert naps.seconds >= STILL_SECONDS


def test_another_container_on_this_kernel_is_kept_out_by_the_lock_alone(file: Path, naps: Naps) -> None:
    left(file, space="pid:[1]")
    with taken(file, naps, locks_hold=True):
        assert naps.seconds == 0


@pytest.mark.parametrize("elsewhere", [{"boot": "other", "machine": "other"}, {"space": "pid:[1]"}])
def test_where_locks_do_not_hold_a_record_that_moves_is_that_of_an_owner(
    file: Path, naps: Naps, elsewhere: dict[str, str]
) -> None:
    record = left(file, **elsewhere)
    naps.then = lambda: left(file, **elsewhere, beats=record.beats + 1)
    with pytest.raises(StoreLocked, match="on elsewhere"):
        Ownership(file, sleep=naps).take(locks_hold=False)
    found = Ownership(file).holder()
    assert found is not None
    assert found.token == "theirs"


@pytest.mark.parametrize("elsewhere", [{"boot": "other", "machine": "other"}, {"space": "pid:[1]"}])
def test_where_locks_do_not_hold_a_record_that_stands_still_is_taken_over(
    file: Path, naps: Naps, elsewhere: dict[str, str]
) -> None:
    left(file, **elsewhere, seen_at=0.0)  # clocks of two machines differ: it is watched all the same
    with taken(file, naps, locks_hold=False):
        assert STILL_SECONDS <= naps.seconds <= STILL_SECONDS + 3


@pytest.mark.parametrize(
    ("record", "seconds"),
    [
        ({"boot": "before"}, 0),  # this machine, before it was started again
        ({"boot": "before", "machine": "other", "seen_at": 1.0}, 0),
        ({"boot": "before", "machine": "other"}, STILL_SECONDS),
    ],
)
def test_a_machine_that_was_started_again_is_waited_for_only_where_it_may_be_another(
    file: Path, naps: Naps, monkeypatch: pytest.MonkeyPatch, record: dict[str, object], seconds: float
) -> None:
    monkeypatch.setattr(ownership, "_machine", lambda: "this")
    left(file, **record)
    with taken(file, naps, locks_hold=True):
        assert naps.seconds == seconds


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b'{"token": "x"}'])
def test_a_record_that_a_power_cut_has_torn_holds_up_nobody(file: Path, naps: Naps, raw: bytes) -> None:
    file.write_bytes(raw)
    with taken(file, naps, locks_hold=True):
        assert naps.seconds == 0


def test_of_two_that_take_over_at_once_one_goes(file: Path, naps: Naps) -> None:
    naps.then = lambda: left(file, boot="other")
    with pytest.raises(StoreLocked, match="on elsewhere"):
        Ownership(file, sleep=naps).take(locks_hold=False)
    assert file.exists()


def test_an_owner_whose_record_was_removed_writes_it_again(file: Path, naps: Naps) -> None:
    with taken(file, naps, locks_hold=False) as owner:
        file.unlink()
        owner.require()
        assert file.exists()


def test_a_file_system_that_is_away_displaces_nobody(
    file: Path, naps: Naps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Path) -> bytes:
        raise OSError(errno.EIO, "away")

    with taken(file, naps, locks_hold=False) as owner:
        with monkeypatch.context() as context:
            context.setattr(Path, "read_bytes", away)
            owner.require()
        owner.require()


@pytest.mark.parametrize("locks_hold", [True, False])
def test_a_record_that_cannot_be_written_is_missed_only_without_a_lock(
    file: Path, naps: Naps, monkeypatch: pytest.MonkeyPatch, locks_hold: bool
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "pwrite", full)
    if locks_hold:
        with taken(file, naps, locks_hold=True) as owner:
            owner.require()
    else:
        with pytest.raises(StoreError, match="cannot note who owns"):
            Ownership(file, sleep=naps).take(locks_hold=False)


def test_the_record_moves_by_itself(file: Path, naps: Naps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "BEAT_SECONDS", 0.01)
    with taken(file, naps, locks_hold=True) as owner:
        until = time.monotonic() + 10
        while (found := owner.holder()) is None or found.beats < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert file.stat().st_size == 512


@pytest.mark.anyio
async def test_a_displaced_owner_writes_nothing_more(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = SqliteDatabase(tmp_path / "vvwatch.db", SystemClock())
    monkeypatch.setattr(ownership, "_LATE_SECONDS", 0.0)
    async with database.opened():
        await database.check()
        left(file, boot="other")
        with pytest.raises(StoreLocked, match="on elsewhere"):
            await database.check()
        with pytest.raises(StoreLocked):
            await database.write(count, jobs)
    found = Ownership(file).holder()
    assert found is not None
    assert found.token == "theirs"


@pytest.mark.anyio
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
async def test_a_file_system_without_locks_is_owned_by_the_record_alone(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(ownership, "_SETTLE_SECONDS", 0.0)
    database = SqliteDatabase(tmp_path / "vvwatch.db", SystemClock())
    async with database.opened():
        await database.check()
    left(file, pid=os.getppid(), started=ownership._read_start_time(os.getppid()))
    with pytest.raises(StoreLocked):
        async with database.opened():
            pass


@contextmanager
def owned_by_another(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that owns the database, killed at the end."""
    with subprocess.Popen([sys.executable, "-c", OWNER, str(path)], stdout=subprocess.PIPE) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == b"owned\n"
            yield owner
        finally:
            owner.send_signal(signal.SIGKILL)


@pytest.mark.anyio
async def test_another_process_owns_the_file_until_it_dies_though_its_lock_was_removed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "vvwatch.db"
    database = SqliteDatabase(path, SystemClock())
    with owned_by_another(path) as owner:
        with pytest.raises(StoreLocked, match=f"another process owns .*: process {owner.pid} on "):
            async with database.opened():
                pass
        (tmp_path / "vvwatch.db.lock").unlink()
        with pytest.raises(StoreLocked, match=f"process {owner.pid} on "):
            async with database.opened():
                pass
    async with database.opened():
        await database.check()
