"""Who owns a database or a state directory: more than a lock, which does not reach another machine everywhere.

The owner writes into its record from time to time. Another process reads there who it is; on the same machine it looks
whether that process lives, elsewhere whether the record still moves. An owner that finds another name in the record
has been displaced and writes nothing more.
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

from vvwatch.config.mounts import mount_at
from vvwatch.errors import StoreError, StoreLocked

BEAT_SECONDS: Final = 10.0
STILL_SECONDS: Final = 35.0
"""A record that stands still for so long belongs to nobody."""
_SETTLE_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 1.0
_LATE_SECONDS: Final = 1.5 * BEAT_SECONDS
_RECORD_BYTES: Final = 512
"""Always as many, so that a size which a file system remembers is right."""
_TRIES: Final = 5
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)


@dataclass(frozen=True, slots=True)
class Record:
    """An owner: its random `token`, the process, and when it was last seen. `since` and `seen_at` are epoch seconds.

    `machine` and `boot` name the machine and its kernel's run, `space` the process's own numbering of processes (as a
    container has), `started` when it began by the kernel's clock; each is empty where it cannot be had.
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
        """Who that is, for a person."""
        since = datetime.fromtimestamp(self.since, UTC).isoformat(timespec="seconds")
        return f"process {self.pid} on {self.name}, since {since}"


class Ownership:
    """The record of who owns `subject` (in words), in `file`."""

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
        """Whoever is named in the record; None when there is none that can be read."""
        raw = self._raw()
        return None if raw is None else _parsed(raw)

    def take(self, *, locks_hold: bool) -> None:
        """Become the owner. Blocks up to 40 seconds where only waiting tells whether another one works.

        `locks_hold`: we have a lock, and nobody can have it on another machine as well.

        Raises StoreLocked when one does, StoreError when the record cannot be written; a lock that holds needs none.
        """
        self._locks_hold = locks_hold
        mine = _this_process()
        try:
            self._name(mine)
        except OSError as error:
            if locks_hold:
                return
            message = f"cannot note who owns {self._subject} in {self._file}: {error.strerror}"
            raise StoreError(message, "make room, and let the daemon's user write there") from error
        self._mine, self._displaced, self._looked_at = mine, False, time.time()
        self._ended.clear()
        threading.Thread(target=self._beat, name="ownership", daemon=True).start()

    def require(self) -> None:
        """Raises StoreLocked when another process has taken over."""
        if not self._displaced and (
            not self._locks_hold or abs(time.time() - self._looked_at) > _LATE_SECONDS
        ):
            self._look()
        if self._displaced:
            raise self._refusal(self.holder())

    def release(self) -> None:
        """Leave no record behind, unless it is another's."""
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
        """Note whether the record is still ours, and let it move. A file system that is away displaces nobody."""
        with self._turn, suppress(OSError):
            if self._mine is None:
                return
            raw = self._raw()
            if raw is None:
                self._create(self._mine)
            elif (found := _parsed(raw)) is not None and found.token != self._mine.token:
                self._displaced = True
            elif beat:
                self._mine = replace(self._mine, seen_at=time.time(), beats=self._mine.beats + 1)
                self._write(self._mine)
            self._looked_at = time.time()

    def _require_ended(self, raw: bytes) -> None:
        """Raises StoreLocked when the owner with this record works still."""
        other = _parsed(raw)
        alive = self._fate(other)
        if self._moves(raw) if alive is None else alive:
            raise self._refusal(other)

    def _fate(self, other: Record | None) -> bool | None:
        """Whether the owner lives; None when only waiting tells. A lock that holds proves it for this kernel."""
        alive = None if other is None else _lives(other)
        if alive is not None or not self._locks_hold:
            return alive
        if other is None or other.boot == _boot():
            return False
        rebooted = other.machine == _machine() != ""
        return False if rebooted or abs(time.time() - other.seen_at) > STILL_SECONDS else None

    def _moves(self, raw: bytes) -> bool:
        """Whether the record changes while we wait."""
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
        """Own it for the life of the block, by a lock on `lock_file` and the record.

        Raises StoreLocked when another process does, StoreError.
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
        """A descriptor, and whether it holds the lock: some file systems have none. Raises StoreLocked."""
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
        """Write the record where there is none; False where there is one."""
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


def _parsed(raw: bytes) -> Record | None:
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
        started=_started(os.getpid()),
        since=now,
        seen_at=now,
    )


def _lives(other: Record) -> bool | None:
    """Whether the process lives; None when it cannot be seen from here."""
    if not other.boot or not other.started or (other.boot, other.space) != (_boot(), _space()):
        return None
    if other.pid == os.getpid():
        return False  # an earlier use of the file, of which nothing else is left, did not clear it
    return None if _is_hidden(other.pid) else _started(other.pid) == other.started


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process, of another user, and nothing of it is shown (hidepid, ProtectProc)."""
    if Path(f"/proc/{pid}").exists():
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _started(pid: int) -> str:
    """When a process began, in ticks since the kernel did; empty when there is none. See proc_pid_stat(5)."""
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
