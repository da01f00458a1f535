"""Transactions as plain functions `fn(tx, …)`: never cancelled half-way, no lock held across an await.

A function that changes an entity with work to do goes through the revision fence: `claim` changes the row only
for the job made at its current revision, so a stale or surplus job can record nothing.
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
_RETRIED_WITHIN_SECONDS = 86_400.0  # a store may ask for so much patience
_SCANNED_WITHIN_SECONDS = 1.2 * LONGEST_RETRY_SECONDS  # a scan that failed is tried again sooner

ENTITIES: Mapping[Kind, sa.Table] = {
    Kind.SCAN: schema.import_automations,
    Kind.WINDOW: schema.windows,
    Kind.IMPORT_JOB: schema.import_jobs,
    Kind.IMPORT_FILE: schema.import_files,
    Kind.RUN: schema.prompt_runs,
    Kind.RUN_ITEM: schema.run_items,
    Kind.SEGMENT_RETRY: schema.segment_retries,
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
    """One transaction. `now` is its moment in epoch seconds; what is `put` becomes work when it commits."""

    conn: sa.Connection
    now: float
    serial: Iterator[int] = field(default_factory=count)
    jobs: list[Job] = field(default_factory=list)
    processors: ProcessorNames = field(default_factory=ProcessorNames)
    place: int | None = None  # of its events, among all that are announced; None when it has none

    def execute(self, statement: sa.Executable, parameters: Any = None) -> sa.CursorResult[Any]:
        """Run one statement; a list of mappings as `parameters` runs it for each."""
        return self.conn.execute(statement, parameters)

    def first(self, statement: sa.Executable) -> sa.Row[Any] | None:
        """The first row, or None."""
        return self.execute(statement).first()

    def require(self, table: sa.Table, resource: str, identifier: str) -> sa.Row[Any]:
        """The row with this id; raises NotFound, which names `resource`."""
        row = self.first(sa.select(table).where(table.c.id == identifier))
        if row is None:
            raise NotFound(resource, identifier, self._meant(table, identifier))
        return row

    def _meant(self, table: sa.Table, identifier: str) -> str:
        """What else the id could stand for: one without its prefix, or a name."""
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
        """All rows."""
        return self.execute(statement).all()

    def pairs(self, statement: sa.Executable, parameters: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """All rows of a query of two plain columns, as the driver has them: the hot path of every listing."""
        result = self.execute(statement, parameters)
        rows = list(result.cursor.fetchall())
        result.close()
        return rows

    def pairs_among(
        self, within: sa.Select[Any], among: sa.Select[Any], scope: Mapping[str, Any], keys: Sequence[str]
    ) -> list[tuple[str, Any]]:
        """Rows whose first column is one of `keys`, and perhaps neighbours of theirs.

        `within` reads at most `most` of a range (`lowest` to `highest`), `among` a list (see `one_of`). A range is
        cheaper and is tried first: it is enough where the keys stand close together, as in a sorted listing.
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
        """Insert many rows given as tuples of `columns`, by a statement that is made once: a third of the cost."""
        sql, order = _prepare(statement, self.conn.dialect, columns)
        if order != tuple(range(len(columns))):
            rows = [tuple(row[position] for position in order) for row in rows]
        self.conn.exec_driver_sql(sql, list(rows))

    def new_id(self, prefix: str) -> str:
        """A fresh id that sorts by the time of its making, within a millisecond by the order of calls."""
        order = (next(self.serial) % 65_536).to_bytes(2, "big")
        return new_id(prefix, self.now, order + secrets.token_bytes(8))

    def insert(self, table: sa.Table, **values: Any) -> None:
        """Insert one row; a duplicate is an IntegrityError."""
        self.execute(sa.insert(table).values(**values))

    def insert_new(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> Sequence[sa.Row[Any]]:
        """Insert what is not there yet (`ON CONFLICT DO NOTHING`) and return the inserted primary keys."""
        if not rows:
            return ()
        statement = self.upsert(table).on_conflict_do_nothing().returning(*table.primary_key)
        return self.execute(statement, list(rows)).all()

    def upsert(self, table: sa.Table) -> Any:
        """The dialect's INSERT, which knows ON CONFLICT."""
        return upsert(self.conn.dialect.name, table)

    def update(self, table: sa.Table, identifier: Any, **values: Any) -> None:
        """Set columns of the row with this id."""
        self.execute(sa.update(table).where(table.c.id == identifier).values(**values))

    def guard(self, table: sa.Table, identifier: Any) -> sa.Row[Any] | None:
        """The row as it stands, which nobody changes before this transaction ends; None when there is none.

        It counts as written: a serializable transaction that meets it afterwards begins anew (see `store.db.locking`).
        """
        wanted = table.c.id == identifier
        if self.conn.dialect.name != "postgresql":
            return self.first(sa.select(table).where(wanted))
        return self.first(
            sa.update(table).where(wanted).values(updated_at=table.c.updated_at).returning(table)
        )

    def current(self, job: Job) -> sa.Row[Any] | None:
        """The entity, if `job` was made for its current revision; None for a stale job."""
        table = ENTITIES[job.kind]
        return self.first(sa.select(table).where(_identity(table, job.ref), table.c.revision == job.revision))

    def touch(self, job: Job, **values: Any) -> sa.Row[Any] | None:
        """Change the entity without moving the fence (an intent before an effect); None for a stale job."""
        table = ENTITIES[job.kind]
        fenced = sa.update(table).where(_identity(table, job.ref), table.c.revision == job.revision)
        return self.execute(fenced.values(**values).returning(table)).first()

    def claim(self, job: Job, **values: Any) -> sa.Row[Any] | None:
        """Change the entity and move the fence; it has nothing due until `put`. None for a stale job."""
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
        """Make work for the entity at this revision, due `at`; the row remembers when."""
        table = ENTITIES[kind]
        self.execute(sa.update(table).where(_identity(table, str(ref))).values(next_at=at))
        queue = queue_of(self.conn, kind, ref)
        self.jobs.append(Job(kind, str(ref), revision, at, queue=queue, priority=priority))

    def nudge(self, kind: Kind, row: Entity, at: float, priority: Priority = Priority.NORMAL) -> None:
        """Make the entity due `at`; whatever was put for it before is stale."""
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
    """Texts as a JSON list; NUL, which PostgreSQL cannot hold, is replaced there as in every column of text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        if not value or "\\u0000" not in value or dialect.name != "postgresql":
            return value
        return json.dumps([text.replace("\0", "\ufffd") for text in json.loads(value)])


def is_one_of(column: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether `column` is one of the texts in the JSON list `keys`: one statement for any number of them."""
    values = _texts(sa.bindparam("keys", type_=_TextList)).table_valued("value")
    return column.in_(sa.select(values.c.value))


def upsert(dialect: str, table: sa.Table) -> Any:
    """The INSERT of a dialect, which knows ON CONFLICT."""
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)


@cache
def _prepare(statement: Any, dialect: sa.Dialect, columns: tuple[str, ...]) -> tuple[str, tuple[int, ...]]:
    """The statement's text for the driver, and which column each of its places takes."""
    compiled = statement.inline().compile(dialect=dialect, column_keys=list(columns))
    return str(compiled), tuple(columns.index(name) for name in compiled.positiontup)


def ignore_events(_error: StoreUnavailable | None) -> None:
    """What a database says of itself that nobody listens to."""


@dataclass
class Traffic:
    """How many transactions that write were committed, and how many had to run again because others were first."""

    transactions: int = 0
    reruns: int = 0

    def since(self, before: Traffic) -> Traffic:
        """What came after `before`, a copy that was taken then."""
        return Traffic(self.transactions - before.transactions, self.reruns - before.reruns)


class JobSink(Protocol):
    """The side of an engine that a database commits to."""

    def write(self, tx: Tx) -> None:
        """Store `tx.jobs` inside the transaction."""
        ...

    def held(self, tx: Tx, kind: Kind) -> set[tuple[str, int, str]]:
        """(ref, revision, queue) of every job of `kind` that the engine still holds."""
        ...

    def due(self, tx: Tx) -> int:
        """How many jobs wait although their time has come."""
        ...

    def wake(self) -> None:
        """Look for due work now."""
        ...


class Database(Protocol):
    """Runs transactions.

    `works` tells whether transactions go through, `trouble` why not; `tell` is called with the error of each that did
    not for want of the database, and with None when one goes through again. `traffic` counts since the start. `sink`
    is who takes the jobs; without one none are kept. `announced` wakes whoever waits for events, when a transaction of
    this process brought some. `processors` are those that runs are begun with.
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
        """Bring the schema up to date, and close everything at the end. Yields the schema version found (0: none).

        Raises StoreError when the database cannot be used.
        """
        ...

    def visited(self) -> AbstractAsyncContextManager[int]:
        """Only read, beside whoever works on it; nothing is made or changed. Yields the schema version found.

        Raises StoreError when there is no database.
        """
        ...

    async def check(self) -> None:
        """Prove that a transaction goes through; raises StoreUnavailable."""
        ...

    async def write(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in one durable transaction, all or nothing, and return what it returns."""
        ...

    async def read(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` on a consistent snapshot that cannot be written to."""
        ...


def requeue_overdue(tx: Tx, sink: JobSink, grace_seconds: float) -> int:
    """Put again what is overdue and not held by the engine; returns how many. Lost jobs lose nothing."""
    _repair_due_times(tx)
    return sum(_requeue_kind(tx, sink, kind, tx.now - grace_seconds) for kind in ENTITIES)


def _piece_moved(table: sa.Table, failure: sa.Column[str]) -> sa.ColumnElement[float]:
    """When a piece that waits was put at the earliest; NULL while it is tried for the first time."""
    untried, again = table.c.attempts == 0, failure.is_not(None)
    return sa.case((untried, table.c.next_at), (again, table.c.next_at - _RETRIED_WITHIN_SECONDS))


def _scan_moved(table: sa.Table) -> sa.ColumnElement[float]:
    """When the scan was put; of one that failed, and need not save requests, at the earliest."""
    soon_again = table.c.last_error.is_not(None), table.c.max_list_calls_per_hour.is_(None)
    return sa.case(
        (sa.and_(*soon_again), table.c.next_at - _SCANNED_WITHIN_SECONDS),
        else_=sa.func.coalesce(table.c.last_scan_at, table.c.created_at),
    )


def _retry_moved(table: sa.Table) -> sa.ColumnElement[float]:
    """As `_piece_moved`; but what was not tried yet may be planned for much later than it was made."""
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
    Kind.EXPORT: schema.exports.c.updated_at,
    Kind.DELIVERY: sa.func.coalesce(schema.deliveries.c.last_attempt_at, schema.deliveries.c.created_at),
}


def _repair_due_times(tx: Tx) -> None:
    """After the clock was set back, what was planned by the old one would come too late: look at it now."""
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
