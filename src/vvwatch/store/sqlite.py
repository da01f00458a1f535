"""One node: SQLite in WAL mode, one writer connection in one thread, readers that cannot write.

`synchronous=FULL`: what is committed survives power loss. A pool of writers would meet SQLite's WAL-reset
bug (3.7.0 to 3.51.2); one writer that also checkpoints, beside `mode=ro` readers, does not. `flock` keeps a
second process out, so no job needs a lease: whatever ran when a process died is due again at the next start.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from sqlite3 import Connection as RawConnection
from typing import Any, Concatenate
from urllib.parse import quote

import anyio
import anyio.to_thread
import sqlalchemy as sa
from sqlalchemy.pool import QueuePool, StaticPool

from vvwatch.core.retries import backoff
from vvwatch.errors import StoreError, StoreLocked, StoreUnavailable
from vvwatch.ports import Clock, Handler, Job, Kind
from vvwatch.store import migrations
from vvwatch.store.database import JobSink, P, T, Tx
from vvwatch.store.schema import jobs

_READERS = 4
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=5000",
    "wal_autocheckpoint=1000",
    "journal_size_limit=67108864",
    "cache_size=-16384",
)
_STORE_RETRY_SECONDS = 5.0
_LONGEST_NAP_SECONDS = 30.0  # so that a clock that jumps or a suspended machine heals by itself


class SqliteDatabase:
    """The database file at `path`; open it as a context manager. Raises StoreLocked when it is owned."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self.sink: JobSink | None = None
        self._serial = count()
        self._writing = anyio.CapacityLimiter(1)
        self._reading = anyio.CapacityLimiter(_READERS)
        self._writer = sa.create_engine(
            f"sqlite:///{path}",
            poolclass=StaticPool,
            connect_args={"check_same_thread": False},
            hide_parameters=True,
        )
        self._reader = sa.create_engine(
            f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true",
            poolclass=QueuePool,
            pool_size=_READERS,
            hide_parameters=True,
            connect_args={"check_same_thread": False},
        )
        sa.event.listen(self._writer, "connect", _prepare_writer)
        sa.event.listen(self._writer, "begin", _begin_immediate)
        sa.event.listen(self._reader, "connect", _prepare_reader)
        sa.event.listen(self._reader, "begin", _begin_deferred)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Own the file, bring its schema up to date, close it at the end. Yields the schema version found."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _lock(self.path.with_name(self.path.name + ".lock"))
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            yield self._migrate()
        finally:
            self._reader.dispose()
            self._writer.dispose()
            os.close(lock)

    def _migrate(self) -> int:
        try:
            with self._writer.begin() as conn:
                return migrations.migrate(conn, self.clock.now())
        except sa.exc.DatabaseError as error:
            raise StoreError(
                f"cannot open the database {self.path}: {error.orig}",
                "check that it is a vvwatch database and that the directory is writable",
            ) from error

    async def write(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in the writer thread, in one durable transaction."""

        def work() -> tuple[T, bool]:
            with self._writer.begin() as conn:
                tx = Tx(conn, self.clock.now(), self._serial)
                result = fn(tx, *args, **kwargs)
                if tx.jobs and self.sink is not None:
                    self.sink.write(tx)
                return result, bool(tx.jobs)

        with _told():
            result, has_work = await anyio.to_thread.run_sync(work, limiter=self._writing)
        if has_work and self.sink is not None:
            self.sink.wake()
        return result

    async def read(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in a reader thread, on a read-only snapshot."""

        def work() -> T:
            with self._reader.begin() as conn:
                return fn(Tx(conn, self.clock.now()), *args, **kwargs)

        with _told():
            return await anyio.to_thread.run_sync(work, limiter=self._reading)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sa.exc.OperationalError as error:
        raise StoreUnavailable(
            f"the database does not work: {error.orig}", "make room on its disk, or look at the disk's health"
        ) from error


def _lock(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreLocked(
            f"another process owns {path.with_suffix('')}",
            "stop the other vvwatch, or give this one its own state_dir",
        ) from None
    return lock


def _prepare_writer(raw: RawConnection, _record: object) -> None:
    raw.isolation_level = None
    for pragma in _PRAGMAS:
        raw.execute(f"PRAGMA {pragma}")


def _prepare_reader(raw: RawConnection, _record: object) -> None:
    raw.isolation_level = None
    raw.execute("PRAGMA query_only=ON")


def _begin_immediate(conn: sa.Connection) -> None:
    conn.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_deferred(conn: sa.Connection) -> None:
    conn.exec_driver_sql("BEGIN")


_due = sa.union_all(
    *(
        sa.select(
            sa.select(jobs.c.id)
            .where(jobs.c.kind == kind, ~jobs.c.running, jobs.c.run_at <= sa.bindparam("now"))
            .order_by(jobs.c.run_at)
            .limit(sa.bindparam(kind.name))
            .subquery()
        )
        for kind in Kind
    )
)
_start = sa.update(jobs).where(jobs.c.id.in_(_due)).values(running=True).returning(jobs)
_next = {
    kind: sa.select(sa.func.min(jobs.c.run_at)).where(jobs.c.kind == kind, ~jobs.c.running) for kind in Kind
}


class SqliteEngine:
    """The job engine on a table of the same file.

    `report` is told of handlers that failed unexpectedly, and (without a job) of a database that does not work.
    """

    def __init__(self, database: SqliteDatabase, report: Callable[[Job | None, Exception], None]) -> None:
        self._database = database
        self._clock = database.clock
        self._report = report
        self._awake = anyio.Event()
        self._ended: list[tuple[Job, float | None]] = []
        self._busy: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self._draining = False
        database.sink = self

    def write(self, tx: Tx) -> None:
        """Store the transaction's jobs."""
        rows = [{"kind": j.kind, "ref": j.ref, "revision": j.revision, "run_at": j.run_at} for j in tx.jobs]
        tx.execute(sa.insert(jobs), rows)

    def held(self, tx: Tx, kind: Kind) -> set[tuple[str, int]]:
        """Every job of `kind` in the table."""
        rows = tx.all(sa.select(jobs.c.ref, jobs.c.revision).where(jobs.c.kind == kind))
        return {(row.ref, row.revision) for row in rows}

    def wake(self) -> None:
        """Look for due work now."""
        self._awake.set()

    async def setup(self) -> None:
        """Make due again what ran when the last process died."""
        await self._database.write(
            lambda tx: tx.execute(sa.update(jobs).where(jobs.c.running).values(running=False))
        )

    def drain(self) -> None:
        """Start nothing more; `run` returns when what is under way has ended."""
        self._draining = True
        self.wake()

    async def run(self, handlers: Mapping[Kind, Handler], slots: Mapping[Kind, int]) -> None:
        """Run due jobs until drained or cancelled."""
        async with anyio.create_task_group() as tasks:
            while not self._drained():
                self._awake = anyio.Event()
                started, next_at = await self._turned(slots)
                for job in started:
                    self._busy[job.kind] += 1
                    tasks.start_soon(self._one, handlers[job.kind], job)
                if not started and not self._ended and not self._drained():
                    await self._nap(next_at)

    def _drained(self) -> bool:
        return self._draining and not self._ended and not any(self._busy.values())

    def _free(self, kind: Kind, slots: Mapping[Kind, int]) -> int:
        return 0 if self._draining else slots.get(kind, 0) - self._busy[kind]

    async def _turned(self, slots: Mapping[Kind, int]) -> tuple[list[Job], float | None]:
        """One turn; when the database does not take it, nothing is forgotten and the next one is soon."""
        ended, self._ended = self._ended, []
        free = {kind: self._free(kind, slots) for kind in Kind}
        try:
            return await self._database.write(_turn, ended, free)
        except StoreUnavailable as error:
            self._ended = ended + self._ended
            self._report(None, error)
            await self._clock.sleep(_STORE_RETRY_SECONDS)
            return [], self._clock.now()

    async def _nap(self, next_at: float | None) -> None:
        seconds = _LONGEST_NAP_SECONDS if next_at is None else next_at - self._clock.now()
        with anyio.move_on_after(min(max(seconds, 0.0), _LONGEST_NAP_SECONDS)):
            await self._awake.wait()

    async def _one(self, handler: Handler, job: Job) -> None:
        again: float | None = None
        try:
            await handler(job)
        except Exception as error:  # noqa: BLE001  # a handler's bug must not stop the others
            self._report(job, error)
            again = backoff(job.attempt + 1, base_seconds=1.0, cap_seconds=300.0, sample=0.5)
        self._busy[job.kind] -= 1
        self._ended.append((job, again))
        self.wake()


def _turn(
    tx: Tx, ended: list[tuple[Job, float | None]], free: Mapping[Kind, int]
) -> tuple[list[Job], float | None]:
    """Acknowledge what ended, start what is due, and tell when the next is due: one commit for all three."""
    _acknowledge(tx, ended)
    limits: dict[str, Any] = {kind.name: max(free[kind], 0) for kind in Kind}
    started = tx.execute(_start, {"now": tx.now, **limits}).all()
    jobs_started = [Job(Kind(r.kind), r.ref, r.revision, r.run_at, r.attempt, r.id) for r in started]
    if started:
        return jobs_started, tx.now
    moments = [tx.execute(_next[kind]).scalar() for kind in Kind if free[kind] > 0]
    return jobs_started, min((at for at in moments if at is not None), default=None)


def _acknowledge(tx: Tx, ended: list[tuple[Job, float | None]]) -> None:
    done = [job.id for job, again in ended if again is None]
    if done:
        tx.execute(sa.delete(jobs).where(jobs.c.id.in_(done)))
    for job, again in ended:
        if again is not None:
            values = {"running": False, "attempt": job.attempt + 1, "run_at": tx.now + again}
            tx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(**values))
