"""Transactions as plain functions `fn(tx, …)`: never cancelled half-way, and no lock held across an await.

A function that changes an entity with work to do passes the revision fence: `claim` changes the row only for a job
made at its current revision, so a stale or duplicate job records nothing.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles

from vvwatch.core.cadence import LONGEST_RETRY_SECONDS
from vvwatch.core.identities import new_id
from vvwatch.core.processors import ProcessorNames
from vvwatch.errors import NotFound, StoreUnavailable
from vvwatch.ports import Clock, Job, Kind, Priority
from vvwatch.store import schema
from vvwatch.store.db.queues import queue_of
from vvwatch.store.db.signals import Signal

P = ParamSpec("P")
T = TypeVar("T")
_SKEW_SECONDS = 5.0
_RETRIED_WITHIN_SECONDS = 86_400.0  # a store may ask to wait this long
_SCANNED_WITHIN_SECONDS = 1.2 * LONGEST_RETRY_SECONDS  # failed scans are retried sooner

ENTITIES: Mapping[Kind, sa.Table] = {
    Kind.SCAN: schema.import_automations,
    Kind.WINDOW: schema.windows,
    Kind.IMPORT_JOB: schema.import_jobs,
    Kind.IMPORT_FILE: schema.import_files,
    Kind.RUN: schema.prompt_runs,
    Kind.RUN_ITEM: schema.run_items,
    Kind.SEGMENT_RETRY: schema.segment_retries,
    Kind.FACTS: schema.fact_updates,
    Kind.EXPORT: schema.exports,
    Kind.DELIVERY: schema.deliveries,
}


def _identity(table: sa.Table, ref: str) -> sa.ColumnElement[bool]:
    integer = isinstance(table.c.id.type, sa.Integer)
    return table.c.id == (int(ref) if integer else ref)


class Entity(Protocol):
    """A row with an id."""

    @property
    def id(self) -> Any: ...


@dataclass
class Tx:
    """One transaction. `now` is its moment in epoch seconds; jobs passed to `enqueue` become work when it commits."""

    conn: sa.Connection
    now: float
    serial: Iterator[int] = field(default_factory=count)
    jobs: list[Job] = field(default_factory=list)
    processors: ProcessorNames = field(default_factory=ProcessorNames)
    place: int | None = None  # of its events in the order of all events; None without events

    def execute(self, statement: sa.Executable, parameters: Any = None) -> sa.CursorResult[Any]:
        """Run one statement; a list of mappings as `parameters` runs it for each."""
        return self.conn.execute(statement, parameters)

    def first(self, statement: sa.Executable) -> sa.Row[Any] | None:
        """Return the first row, or None."""
        return self.execute(statement).first()

    def require(self, table: sa.Table, resource: str, identifier: str) -> sa.Row[Any]:
        """Return the row with this id. Raises NotFound, which names `resource`."""
        row = self.first(sa.select(table).where(table.c.id == identifier))
        if row is None:
            raise NotFound(resource, identifier, self._meant(table, identifier))
        return row

    def _meant(self, table: sa.Table, identifier: str) -> str:
        """Return a hint at similar ids: with the missing prefix, or of this name."""
        if "name" not in table.c:
            return ""
        start = sa.func.length(table.c.id) - len(identifier)
        tail = sa.func.substr(table.c.id, start, type_=table.c.id.type) == f"_{identifier}"
        meant = sa.or_(
            sa.and_(tail, sa.func.length(table.c.id) > len(identifier)), table.c.name == identifier
        )
        found = self.execute(sa.select(table.c.id).where(meant).order_by(table.c.id).limit(2)).scalars().all()
        return f"did you mean {' or '.join(map(repr, found))}?" if found else ""

    def all(self, statement: sa.Executable) -> Sequence[sa.Row[Any]]:
        """Return all rows."""
        return self.execute(statement).all()

    def pairs(self, statement: sa.Executable, parameters: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """Return all rows of a two-column query as the driver has them: the hot path of every listing."""
        result = self.execute(statement, parameters)
        rows = list(result.cursor.fetchall())
        result.close()
        return rows

    def pairs_among(
        self, within: sa.Select[Any], among: sa.Select[Any], scope: Mapping[str, Any], keys: Sequence[str]
    ) -> list[tuple[str, Any]]:
        """Return the rows whose first column is one of `keys`, and perhaps their neighbours.

        `within` reads at most `most` rows of a range (`lowest` to `highest`), `among` a list (see `is_one_of`). The
        range is cheaper and runs first: it suffices where the keys are close together, as in a sorted listing.
        """
        if not keys:
            return []
        most = 2 * len(keys) + 100
        bounds = {**scope, "lowest": min(keys), "highest": max(keys), "most": most}
        found = self.pairs(within, bounds)
        if len(found) < most:
            return found
        return self.pairs(among, {**scope, "keys": json.dumps(keys)})

    def insert_tuples(
        self, statement: Any, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert many rows given as tuples of `columns`, with a statement compiled once: a third of the cost."""
        sql, order = _prepare(statement, self.conn.dialect, columns)
        if order != tuple(range(len(columns))):
            rows = [tuple(row[position] for position in order) for row in rows]
        self.conn.exec_driver_sql(sql, list(rows))

    def new_id(self, prefix: str) -> str:
        """Return a new id; ids sort by time, within a millisecond by the order of calls."""
        order = (next(self.serial) % 65_536).to_bytes(2, "big")
        return new_id(prefix, self.now, order + secrets.token_bytes(8))

    def insert(self, table: sa.Table, **values: Any) -> None:
        """Insert one row. Raises IntegrityError for a duplicate."""
        self.execute(sa.insert(table).values(**values))

    def insert_new(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> Sequence[sa.Row[Any]]:
        """Insert the rows that do not exist yet (`ON CONFLICT DO NOTHING`); return their primary keys."""
        if not rows:
            return ()
        statement = self.upsert(table).on_conflict_do_nothing().returning(*table.primary_key)
        return self.execute(statement, list(rows)).all()

    def upsert(self, table: sa.Table) -> Any:
        """Return the dialect's INSERT, which supports ON CONFLICT."""
        return upsert(self.conn.dialect.name, table)

    def update(self, table: sa.Table, identifier: Any, **values: Any) -> None:
        """Set columns of the row with this id."""
        self.execute(sa.update(table).where(table.c.id == identifier).values(**values))

    def guard(self, table: sa.Table, identifier: Any) -> sa.Row[Any] | None:
        """Return the row, which nobody else changes before this transaction ends; None if it does not exist.

        It counts as written: a serializable transaction that meets it runs again (see `store.db.locking`).
        """
        wanted = table.c.id == identifier
        if self.conn.dialect.name != "postgresql":
            return self.first(sa.select(table).where(wanted))
        return self.first(
            sa.update(table).where(wanted).values(updated_at=table.c.updated_at).returning(table)
        )

    def current(self, job: Job) -> sa.Row[Any] | None:
        """Return the entity if `job` was made for its current revision; None for a stale job."""
        table = ENTITIES[job.kind]
        return self.first(sa.select(table).where(_identity(table, job.ref), table.c.revision == job.revision))

    def touch(self, job: Job, **values: Any) -> sa.Row[Any] | None:
        """Change the entity without moving the fence (an intent before an effect); None for a stale job."""
        table = ENTITIES[job.kind]
        fenced = sa.update(table).where(_identity(table, job.ref), table.c.revision == job.revision)
        return self.execute(fenced.values(**values).returning(table)).first()

    def claim(self, job: Job, **values: Any) -> sa.Row[Any] | None:
        """Change the entity and move the fence; nothing is due until the next `enqueue`. None for a stale job."""
        table = ENTITIES[job.kind]
        return self.touch(job, revision=table.c.revision + 1, next_at=None, **values)

    def enqueue(
        self,
        kind: Kind,
        ref: str | int,
        revision: int,
        at: float,
        priority: Priority = Priority.NORMAL,
    ) -> None:
        """Make work for the entity at this revision, due at `at`; the row stores the time."""
        table = ENTITIES[kind]
        self.execute(sa.update(table).where(_identity(table, str(ref))).values(next_at=at))
        queue = queue_of(self.conn, kind, ref)
        self.jobs.append(Job(kind, str(ref), revision, at, queue=queue, priority=priority))

    def nudge(self, kind: Kind, row: Entity, at: float, priority: Priority = Priority.NORMAL) -> None:
        """Make the entity due at `at`; jobs queued for it before are stale."""
        table = ENTITIES[kind]
        moved = sa.update(table).where(table.c.id == row.id).values(revision=table.c.revision + 1)
        revision = self.execute(moved.returning(table.c.revision)).scalar()
        if revision is not None:
            self.enqueue(kind, row.id, revision, at, priority)


class _texts(sa.sql.functions.GenericFunction[str]):  # noqa: N801  # the name of a function of SQL
    """The texts of a JSON list, as rows."""

    inherit_cache = True


@compiles(_texts, "sqlite")
def _texts_of_sqlite(element: _texts, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_texts, "postgresql")
def _texts_of_postgresql(element: _texts, compiler: Any, **options: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **options)} AS JSON))"


class _TextList(sa.TypeDecorator[str]):
    """Texts as a JSON list; PostgreSQL gets NUL replaced, as in every text column."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        if not value or "\\u0000" not in value or dialect.name != "postgresql":
            return value
        return json.dumps([text.replace("\0", "\ufffd") for text in json.loads(value)])


def is_one_of(column: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return the condition that `column` is in the JSON list `keys`: one statement for any number of texts."""
    values = _texts(sa.bindparam("keys", type_=_TextList)).table_valued("value")
    return column.in_(sa.select(values.c.value))


def upsert(dialect: str, table: sa.Table) -> Any:
    """Return the INSERT of a dialect, which supports ON CONFLICT."""
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)


@cache
def _prepare(statement: Any, dialect: sa.Dialect, columns: tuple[str, ...]) -> tuple[str, tuple[int, ...]]:
    """Return the SQL text for the driver, and which column each of its placeholders takes."""
    compiled = statement.inline().compile(dialect=dialect, column_keys=list(columns))
    return str(compiled), tuple(columns.index(name) for name in compiled.positiontup)


def ignore_events(_error: StoreUnavailable | None) -> None:
    """Ignore what a database reports about itself."""


@dataclass
class Traffic:
    """How many writing transactions were committed, and how many ran again after a conflict."""

    transactions: int = 0
    reruns: int = 0

    def since(self, before: Traffic) -> Traffic:
        """Return the traffic after `before`, a copy taken then."""
        return Traffic(self.transactions - before.transactions, self.reruns - before.reruns)


class JobSink(Protocol):
    """The side of a job engine that a database writes to."""

    def write(self, tx: Tx) -> None:
        """Store `tx.jobs` inside the transaction."""
        ...

    def held(self, tx: Tx, kind: Kind) -> set[tuple[str, int, str]]:
        """Return (ref, revision, queue) of every job of `kind` in the queue."""
        ...

    def due(self, tx: Tx) -> int:
        """Return how many due jobs wait."""
        ...

    def wake(self) -> None:
        """Look for due work now."""
        ...


class Database(Protocol):
    """Runs transactions.

    `works` says whether transactions succeed, `trouble` why not. `tell` is called with the error of each transaction
    that fails because of the database, and with None when one succeeds again. `traffic` counts since the start.
    `sink` takes the jobs; without one they are dropped. `announced` wakes those who wait for events when a
    transaction of this process announces some. `processors` are the ones that runs start with.
    """

    clock: Clock
    sink: JobSink | None
    works: bool
    trouble: str
    tell: Callable[[StoreUnavailable | None], None]
    traffic: Traffic
    announced: Signal
    processors: ProcessorNames

    def opened(self) -> AbstractAsyncContextManager[int]:
        """Migrate the schema, and close everything at the end. Yields the schema version found (0: none).

        Raises StoreError if the database cannot be used.
        """
        ...

    def visited(self) -> AbstractAsyncContextManager[int]:
        """Open read-only beside a running daemon; nothing is created or changed. Yields the schema version found.

        Raises StoreError if there is no database.
        """
        ...

    async def check(self) -> None:
        """Run a transaction to prove that the database works. Raises StoreUnavailable."""
        ...

    async def write(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in one durable transaction, all or nothing, and return what it returns."""
        ...

    async def read(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` on a consistent read-only snapshot."""
        ...


def requeue_overdue(tx: Tx, sink: JobSink, grace_seconds: float) -> int:
    """Queue overdue work that the engine does not hold; return how much. Losing jobs loses nothing."""
    _repair_due_times(tx)
    return sum(_requeue_kind(tx, sink, kind, tx.now - grace_seconds) for kind in ENTITIES)


def _piece_moved(table: sa.Table, failure: sa.Column[str]) -> sa.ColumnElement[float]:
    """Return the earliest time at which a waiting piece was queued; NULL on its first attempt."""
    untried, again = table.c.attempts == 0, failure.is_not(None)
    return sa.case((untried, table.c.next_at), (again, table.c.next_at - _RETRIED_WITHIN_SECONDS))


def _scan_moved(table: sa.Table) -> sa.ColumnElement[float]:
    """Return when the scan was queued; for a failed one that need not save requests, the earliest time."""
    soon_again = table.c.last_error.is_not(None), table.c.max_list_calls_per_hour.is_(None)
    return sa.case(
        (sa.and_(*soon_again), table.c.next_at - _SCANNED_WITHIN_SECONDS),
        else_=sa.func.coalesce(table.c.last_scan_at, table.c.created_at),
    )


def _retry_moved(table: sa.Table) -> sa.ColumnElement[float]:
    """Return the time as `_piece_moved` does; a first attempt may be planned long after the retry was made."""
    return sa.case(
        (table.c.attempts == 0, table.c.created_at), else_=table.c.next_at - _RETRIED_WITHIN_SECONDS
    )


_LAST_MOVED: Mapping[Kind, sa.ColumnElement[float]] = {
    Kind.SCAN: _scan_moved(schema.import_automations),
    Kind.WINDOW: schema.windows.c.last_change_at,
    Kind.IMPORT_JOB: schema.import_jobs.c.updated_at,
    Kind.IMPORT_FILE: _piece_moved(schema.import_files, schema.import_files.c.message),
    Kind.RUN: schema.prompt_runs.c.updated_at,
    Kind.RUN_ITEM: _piece_moved(schema.run_items, schema.run_items.c.error_message),
    Kind.SEGMENT_RETRY: _retry_moved(schema.segment_retries),
    Kind.FACTS: _piece_moved(schema.fact_updates, schema.fact_updates.c.error_message),
    Kind.EXPORT: schema.exports.c.updated_at,
    Kind.DELIVERY: sa.func.coalesce(schema.deliveries.c.last_attempt_at, schema.deliveries.c.created_at),
}


def _repair_due_times(tx: Tx) -> None:
    """Make work due now that the old clock planned too late, after the clock was set back."""
    for kind, moved_at in _LAST_MOVED.items():
        table = ENTITIES[kind]
        waiting = table.c.next_at > tx.now, moved_at > tx.now + _SKEW_SECONDS
        for row in tx.all(sa.select(table).where(*waiting)):
            tx.nudge(kind, row, tx.now)


def _requeue_kind(tx: Tx, sink: JobSink, kind: Kind, before: float) -> int:
    table = ENTITIES[kind]
    overdue = tx.all(sa.select(table.c.id, table.c.revision).where(table.c.next_at < before))
    held = sink.held(tx, kind) if overdue else set()
    lost = [
        row for row in overdue if (str(row.id), row.revision, queue_of(tx.conn, kind, row.id)) not in held
    ]
    for row in lost:
        tx.enqueue(kind, row.id, row.revision, tx.now)
    return len(lost)
