"""Ownership of a database or a state directory, by more than a lock: locks do not reach other machines everywhere.

The owner updates its record from time to time. Another process reads there who it is; on the same machine it checks
whether that process lives, elsewhere whether the record still changes. An owner that finds another name in the record
was displaced and writes nothing more.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import anyio.to_thread

from vvwatch.errors import StoreError, StoreLocked
from vvwatch.mounts import mount_at

BEAT_SECONDS: Final = 10.0
STILL_SECONDS: Final = 35.0
"""A record that does not change for this long has no owner."""
_SETTLE_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 1.0
_LATE_SECONDS: Final = 1.5 * BEAT_SECONDS
_RECORD_BYTES: Final = 512
"""The fixed size of a record, so that a cached file size is right."""
_TRIES: Final = 5
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)


@dataclass(frozen=True, slots=True)
class Record:
    """An owner: its random `token`, its process, and when it was last seen. `since` and `seen_at` are epoch seconds.

    `machine` and `boot` name the machine and its current boot, `space` the PID namespace, `started` the process's start
    time by the kernel's clock; each is empty if unknown.
    """

    token: str
    name: str
    machine: str
    boot: str
    space: str
    pid: int
    started: str
    since: float
    seen_at: float
    beats: int = 0

    def __str__(self) -> str:
        """Return the owner in words."""
        since = datetime.fromtimestamp(self.since, UTC).isoformat(timespec="seconds")
        return f"process {self.pid} on {self.name}, since {since}"


class Ownership:
    """The record in `file` of who owns `subject` (in words)."""

    def __init__(
        self, file: Path, subject: str = "the database", *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._file = file
        self._subject = subject
        self._sleep = sleep
        self._mine: Record | None = None
        self._locks_hold = True
        self._displaced = False
        self._looked_at = 0.0
        self._ended = threading.Event()
        self._turn = threading.Lock()

    def holder(self) -> Record | None:
        """Return the recorded owner; None without a readable record."""
        raw = self._raw()
        return None if raw is None else _parse(raw)

    def take(self, *, locks_hold: bool) -> None:
        """Become the owner. Blocks up to 40 seconds if only waiting shows whether another owner lives.

        `locks_hold`: we have a lock that also excludes other machines.

        Raises StoreLocked if another owner lives, StoreError if the record cannot be written without such a lock.
        """
        self._locks_hold = locks_hold
        mine = _this_process()
        try:
            self._name(mine)
        except OSError as error:
            if locks_hold:
                return
            message = f"cannot note who owns {self._subject} in {self._file}: {error.strerror}"
            raise StoreError(
                message, "free some space, and make it writable for the daemon's user"
            ) from error
        self._mine, self._displaced, self._looked_at = mine, False, time.time()
        self._ended.clear()
        threading.Thread(target=self._beat, name="ownership", daemon=True).start()

    def require(self) -> None:
        """Raise StoreLocked if another process took over."""
        if not self._displaced and (
            not self._locks_hold or abs(time.time() - self._looked_at) > _LATE_SECONDS
        ):
            self._look()
        if self._displaced:
            raise self._refusal(self.holder())

    def release(self) -> None:
        """Delete the record, unless it is another owner's."""
        self._ended.set()
        with self._turn, suppress(OSError):
            found = self.holder()
            if self._mine is not None and found is not None and found.token == self._mine.token:
                self._file.unlink()
            self._mine = None

    def _name(self, mine: Record) -> None:
        """Write ourselves into the record. Raises StoreLocked, OSError."""
        for _ in range(_TRIES):
            if self._create(mine):
                break
            if (there := self._raw()) is not None:
                self._require_ended(there)
                self._write(mine)
                break
        if not self._locks_hold:
            self._sleep(_SETTLE_SECONDS)
        found = self.holder()
        if found is None or found.token != mine.token:
            raise self._refusal(found)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS) and not self._displaced:
            self._look(beat=True)

    def _look(self, *, beat: bool = False) -> None:
        """Check that the record is ours, and update it. An unavailable file system displaces nobody."""
        with self._turn, suppress(OSError):
            if self._mine is None:
                return
            raw = self._raw()
            if raw is None:
                self._create(self._mine)
            elif (found := _parse(raw)) is not None and found.token != self._mine.token:
                self._displaced = True
            elif beat:
                self._mine = replace(self._mine, seen_at=time.time(), beats=self._mine.beats + 1)
                self._write(self._mine)
            self._looked_at = time.time()

    def _require_ended(self, raw: bytes) -> None:
        """Raise StoreLocked if the owner with this record still lives."""
        other = _parse(raw)
        alive = self._fate(other)
        if self._moves(raw) if alive is None else alive:
            raise self._refusal(other)

    def _fate(self, other: Record | None) -> bool | None:
        """Return whether the owner lives; None if only waiting shows it. A lock that holds proves it here."""
        alive = None if other is None else _lives(other)
        if alive is not None or not self._locks_hold:
            return alive
        if other is None or other.boot == _boot():
            return False
        rebooted = other.machine == _machine() != ""
        return False if rebooted or abs(time.time() - other.seen_at) > STILL_SECONDS else None

    def _moves(self, raw: bytes) -> bool:
        """Return whether the record changes while we wait."""
        for _ in range(int(STILL_SECONDS / _LOOK_SECONDS)):
            self._sleep(_LOOK_SECONDS)
            now = self._raw()
            if now != raw:
                return now is not None
        return False

    def _refusal(self, other: Record | None) -> StoreLocked:
        who = "" if other is None else f": {other}"
        return StoreLocked(
            f"another process owns {self._subject}{who}",
            "stop the other vvwatch, or give this one its own state_dir; if the other one crashed, start "
            f"again: a record that does not change for {STILL_SECONDS:g} s is taken over",
        )

    @asynccontextmanager
    async def held(self, lock_file: Path) -> AsyncIterator[None]:
        """Own the subject for the life of the block, by a lock on `lock_file` and the record.

        Raises StoreLocked if another process owns it, StoreError.
        """
        lock, locked = self._lock(lock_file)
        try:
            mount = mount_at(lock_file)
            locks_hold = locked and not (mount is not None and mount.is_remote)
            await anyio.to_thread.run_sync(partial(self.take, locks_hold=locks_hold))
            yield
        finally:
            self.release()
            os.close(lock)

    def _lock(self, file: Path) -> tuple[int, bool]:
        """Return a descriptor, and whether it holds the lock: some file systems have none. Raises StoreLocked."""
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise self._refusal(self.holder()) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(lock)
                raise
            return lock, False
        return lock, True

    def _raw(self) -> bytes | None:
        try:
            return self._file.read_bytes()
        except FileNotFoundError:
            return None

    def _create(self, record: Record) -> bool:
        """Write the record if there is none; return False if there is one."""
        try:
            descriptor = os.open(
                self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        except FileExistsError:
            return False
        _put(descriptor, record)
        return True

    def _write(self, record: Record) -> None:
        _put(os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), record)


def _put(descriptor: int, record: Record) -> None:
    try:
        os.pwrite(descriptor, json.dumps(asdict(record)).encode().ljust(_RECORD_BYTES), 0)
    finally:
        os.close(descriptor)


def _parse(raw: bytes) -> Record | None:
    try:
        return Record(**json.loads(raw))
    except (ValueError, TypeError):
        return None


def _this_process() -> Record:
    now = time.time()
    return Record(
        token=secrets.token_hex(16),
        name=platform.node()[:63] or "this machine",
        machine=_machine(),
        boot=_boot(),
        space=_space(),
        pid=os.getpid(),
        started=_read_start_time(os.getpid()),
        since=now,
        seen_at=now,
    )


def _lives(other: Record) -> bool | None:
    """Return whether the process lives; None if it cannot be seen from here."""
    if not other.boot or not other.started or (other.boot, other.space) != (_boot(), _space()):
        return None
    if other.pid == os.getpid():
        return False  # left over from an earlier use of the file
    return None if _is_hidden(other.pid) else _read_start_time(other.pid) == other.started


def _is_hidden(pid: int) -> bool:
    """Return whether another user's process exists but is hidden (hidepid, ProtectProc)."""
    if Path(f"/proc/{pid}").exists():
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _read_start_time(pid: int) -> str:
    """Return when a process began, in ticks since boot; empty if it does not exist. See proc_pid_stat(5)."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in ("Z", "X") else ""


def _machine() -> str:
    return _text("/etc/machine-id")


def _boot() -> str:
    return _text("/proc/sys/kernel/random/boot_id")


def _space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
