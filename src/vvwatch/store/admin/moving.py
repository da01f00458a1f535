"""Copy an installation from one database to another, of either engine.

Rows go in key order, a batch per transaction, which also stores how far the copy came; so an interrupted copy
resumes. Until both sides are compared, the target is marked incomplete, and no daemon starts on it: it would take
missing rows for new objects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.errors import Conflict, StoreError, StoreLocked
from vvwatch.store.db import migrations
from vvwatch.store.db.database import Tx
from vvwatch.store.db.opening import Place
from vvwatch.store.db.rows import (
    COPYING,
    INSTALLATION,
    Key,
    Row,
    add_digests,
    digest_rows,
    domain_tables,
    key_of,
    normalize_rows,
    read_batch,
)
from vvwatch.store.schema import connectors, facts

_BATCH_ROWS: Final = 5_000
_MOST_CONNECTORS: Final = 1_000_000
_AGAIN: Final = "stop the daemon, or wait for the other copy, and run the same command again"

Report = Callable[[str, int], None]
"""Called after each batch with the table, and how many of its rows this run has copied."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A table that is equal on both sides: its rows, how many of them this run copied, and their checksum."""

    table: str
    rows: int
    copied: int
    checksum: str


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far a copy of `installation` came: all tables before `table`, and all its rows up to `after`."""

    installation: str
    node: str
    table: str
    after: Key | None = None

    def stored(self) -> bytes:
        return json.dumps([self.installation, self.node, self.table, self.after]).encode()


def require_whole(tx: Tx) -> None:
    """Raise StoreError for the target of an unfinished copy."""
    if _fact(tx, COPYING) is not None:
        raise StoreError(
            "this database is an unfinished copy", "run the same `vvwatch db copy` again to finish it"
        )


async def copy(source: Place, target: Place, node: str, report: Report) -> list[Moved]:
    """Copy everything, or resume a copy; return the tables once both sides are equal.

    Unshared local folders without a node become those of `node`; "" names none. The source is not changed. Raises
    Conflict if the target holds other data or `node` is missing, StoreLocked if a daemon uses either side, StoreError
    if the schemas or, afterwards, the rows differ.
    """
    async with source.database.visited() as found:
        migrations.require_latest(found, source.name)
    async with source.database.opened(), target.database.opened():
        return await _Copy(source, target, node, report).run()


class _Copy:
    def __init__(self, source: Place, target: Place, node: str, report: Report) -> None:
        self._source = source
        self._target = target
        self._node = node
        self._report = report
        self._copied: dict[sa.Table, int] = {}

    async def run(self) -> list[Moved]:
        await self._require_alone()
        installation = await self._source.database.read(_departing, self._node, self._target)
        mark = await self._target.database.write(_begun, installation, self._node)
        if mark is not None:
            mark = await self._all_tables(mark)
        moved = [await self._compare(table) for table in domain_tables()]
        self._require_equal(moved)
        if mark is not None:
            await self._require_alone()
            await self._target.database.write(_end_copy, mark)
        return [each for each, _ in moved]

    async def _require_alone(self) -> None:
        for place in (self._source, self._target):
            if await place.database.read(place.upkeep.in_use):
                raise StoreLocked(f"a daemon uses {place.name}", _AGAIN)

    async def _all_tables(self, mark: _Mark) -> _Mark:
        tables = domain_tables()
        names = [table.name for table in tables]
        for table in tables[names.index(mark.table) :]:
            if table.name != mark.table:
                mark = await self._note_progress(mark, replace(mark, table=table.name, after=None))
            mark = await self._rows(table, mark)
            await self._number(table)
        return mark

    async def _note_progress(self, mark: _Mark, next_mark: _Mark) -> _Mark:
        await self._target.database.write(_advance, mark, next_mark)
        return next_mark

    async def _rows(self, table: sa.Table, mark: _Mark) -> _Mark:
        while rows := await self._source.database.read(read_batch, table, mark.after, _BATCH_ROWS):
            next_mark = replace(mark, after=key_of(table, rows[-1]))
            arriving = self._arriving(table, rows)
            await self._target.database.write(_append_rows, self._target, table, arriving, mark, next_mark)
            mark = next_mark
            self._copied[table] = self._copied.get(table, 0) + len(rows)
            self._report(table.name, self._copied[table])
        return mark

    async def _number(self, table: sa.Table) -> None:
        """Continue the source's ids, so that none is given twice, not even that of a deleted row."""
        if table.autoincrement_column is not None:
            given = await self._source.database.read(self._source.upkeep.last_number, table)
            await self._target.database.write(_set_next_id, self._target, table, given)

    def _arriving(self, table: sa.Table, rows: Sequence[Row]) -> list[Row]:
        return (
            _fill_node(normalize_rows(table, rows), self._node)
            if table is connectors
            else normalize_rows(table, rows)
        )

    async def _compare(self, table: sa.Table) -> tuple[Moved, Moved]:
        """Return the table as the source sends it, and as the target has it."""
        there = await self._summed(self._source, table, lambda rows: self._arriving(table, rows))
        here = await self._summed(self._target, table, lambda rows: normalize_rows(table, rows))
        return there, here

    async def _summed(self, place: Place, table: sa.Table, form: Callable[[list[Row]], list[Row]]) -> Moved:
        count, total, after = 0, 0, None
        while rows := await place.database.read(read_batch, table, after, _BATCH_ROWS):
            count, after = count + len(rows), key_of(table, rows[-1])
            total = add_digests(total, digest_rows(form(rows)))
        return Moved(table.name, count, self._copied.get(table, 0), f"{total:032x}")

    def _require_equal(self, moved: Sequence[tuple[Moved, Moved]]) -> None:
        differing = [
            f"{there.table} ({there.rows} rows in the source, {here.rows} in the target)"
            for there, here in moved
            if there != here
        ]
        if differing:
            raise StoreError(
                f"the databases differ in {', '.join(differing)}",
                "one of them changed during the copy: copy again, into an empty database",
            )


def _departing(tx: Tx, node: str, target: Place) -> str:
    """Return the installation's id, after checking that its local folders can be found from the target."""
    require_whole(tx)
    homeless = [row[0] for row in read_batch(tx, connectors, None, _MOST_CONNECTORS) if _needs_node(row)]
    if homeless and not node and target.file is None:
        raise Conflict(
            f"these local folders have no node: {', '.join(homeless)}",
            "name their node with --node NAME, or set shared = true for them and start the daemon once",
        )
    return installation(tx)


def installation(tx: Tx) -> str:
    """Return the id of the installation, which stays when it moves."""
    found = _fact(tx, INSTALLATION)
    return repr(migrations.read_created_at(tx.conn)) if found is None else found.decode()


def _needs_node(row: Row) -> bool:
    values = dict(zip(connectors.c.keys(), row, strict=True))
    shared = json.loads(values["settings"] or "{}").get("shared")
    return values["provider"] == "local" and not shared and not values["node"]


def _fill_node(rows: Sequence[Row], node: str) -> list[Row]:
    """Return connectors with `node` filled in for local folders that have none."""
    place = connectors.c.keys().index("node")
    return [(*row[:place], node, *row[place + 1 :]) if _needs_node(row) else row for row in rows]


def _begun(tx: Tx, installation: str, node: str) -> _Mark | None:
    """Return how far the copy is; None if it has ended before."""
    stored = _fact(tx, COPYING)
    if stored is not None:
        mark = _Mark(*json.loads(stored))
        if (mark.installation, mark.node) != (installation, node):
            raise Conflict(
                "another copy into this database has not ended",
                "finish that one first, or use an empty database",
            )
        return mark
    known = _fact(tx, INSTALLATION)
    if known is not None and known.decode() == installation:
        return None
    if any(tx.first(sa.select(table).limit(1)) is not None for table in domain_tables()):
        raise Conflict(
            "the target contains data from elsewhere",
            "copy into an empty database that no daemon has used",
        )
    mark = _Mark(installation, node, domain_tables()[0].name)
    tx.insert(facts, name=COPYING, value=mark.stored())
    tx.insert(facts, name=INSTALLATION, value=installation.encode())
    return mark


def _append_rows(
    tx: Tx, target: Place, table: sa.Table, rows: Sequence[Row], mark: _Mark, next_mark: _Mark
) -> None:
    _advance(tx, mark, next_mark)
    target.upkeep.append(tx, table, rows)


def _advance(tx: Tx, mark: _Mark, next_mark: _Mark) -> None:
    """Move the mark from where this process set it: the second of two concurrent copies ends here."""
    ours = facts.c.name == COPYING, facts.c.value == mark.stored()
    if not tx.execute(sa.update(facts).where(*ours).values(value=next_mark.stored())).rowcount:
        raise StoreLocked("another copy into this database is running", _AGAIN)


def _set_next_id(tx: Tx, target: Place, table: sa.Table, given: int) -> None:
    column: Any = table.autoincrement_column
    largest = tx.execute(sa.select(sa.func.max(column))).scalar() or 0
    target.upkeep.go_on_after(tx, table, max(given, largest))


def _end_copy(tx: Tx, mark: _Mark) -> None:
    _advance(tx, mark, mark)
    tx.execute(sa.delete(facts).where(facts.c.name == COPYING))


def _fact(tx: Tx, name: str) -> bytes | None:
    found = tx.first(sa.select(facts.c.value).where(facts.c.name == name))
    return None if found is None else bytes(found.value)
