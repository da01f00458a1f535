"""A process that answers one query over tables it is given, in memory, and can do nothing else.

It reads one JSON document from its input, writes one, and knows
no database of ours. SQLite may only select from these tables and call harmless functions. The kernel bounds memory and
CPU time, so that no query, however built, takes more.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

MODULE: Final = "vvwatch.store.db.sqlite_sandbox"
MEMORY_BYTES: Final = 768 << 20
CPU_SECONDS: Final = 5
_MOST_ANSWER_BYTES: Final = 1 << 20

_TEXTS: Final = (
    "glob group_concat instr length like lower ltrim replace rtrim substr substring trim unicode upper"
)
_NUMBERS: Final = "abs avg ceil count floor max min round sign sum total"
_CHOICES: Final = "coalesce ifnull iif nullif typeof"
_TIMES: Final = "date datetime julianday strftime time"
_JSON: Final = "json_array_length json_each json_extract json_type json_valid -> ->>"
_WINDOWS: Final = "dense_rank first_value lag last_value lead rank row_number"

FUNCTIONS: Final = frozenset(f"{_TEXTS} {_NUMBERS} {_CHOICES} {_TIMES} {_JSON} {_WINDOWS}".split())
"""The functions that a query may call."""

_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: 1 << 20,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 20_000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 20,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 100_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 20,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 500,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}

Table = Mapping[str, Any]
"""`columns`: names and types; `rows`: lists of values."""


def answer(sql: str, tables: Mapping[str, Table], most_rows: int) -> dict[str, Any]:
    """Return `columns`, `rows` and whether they were `truncated`, or an `error` in words."""
    raw = sqlite3.connect(":memory:", isolation_level=None)
    raw.execute("PRAGMA temp_store = MEMORY")
    for name, table in tables.items():
        columns = ", ".join(f"{_quote(column)} {kind}" for column, kind in table["columns"])
        raw.execute(f"CREATE TABLE {name} ({columns})")
        marks = ", ".join("?" * len(table["columns"]))
        raw.executemany(f"INSERT INTO {name} VALUES ({marks})", table["rows"])  # noqa: S608  # names of ours
    raw.execute(
        "SELECT 1 FROM json_each('[]')"
    ).fetchall()  # from now on it is made, which the guard would deny
    for limit, value in _LIMITS.items():
        raw.setlimit(limit, value)
    raw.set_authorizer(_Guard(frozenset(tables)).decide)
    try:
        return _read(raw.execute(sql), most_rows)
    except (sqlite3.Error, sqlite3.Warning) as error:
        return {"error": str(error)}


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class _Guard:
    """Decides what a query may do: select from `tables`, and call `FUNCTIONS`."""

    def __init__(self, tables: frozenset[str]) -> None:
        self._tables = tables | {"json_each", ""}

    def decide(
        self, action: int, one: str | None, two: str | None, _place: str | None, _by: str | None
    ) -> int:
        """Return SQLite's code for allowed or denied."""
        table, column = (one or "").lower(), two
        counts_only = not column and not table.startswith(("sqlite_", "pragma_"))  # a WITH query has any name
        allowed = (
            action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE)
            or (action == sqlite3.SQLITE_READ and (table in self._tables or counts_only))
            or (action == sqlite3.SQLITE_FUNCTION and (two or "").lower() in FUNCTIONS)
        )
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _read(cursor: sqlite3.Cursor, most_rows: int) -> dict[str, Any]:
    rows: list[Sequence[Any]] = []
    size, truncated = 0, False
    for row in cursor:
        size += len(json.dumps(row, default=str))
        if len(rows) == most_rows or size > _MOST_ANSWER_BYTES:
            truncated = True
            break
        rows.append(row)
    columns = [each[0] for each in cursor.description or ()]
    return {"columns": columns, "rows": rows, "truncated": truncated}


def main() -> None:
    """Answer the document of the input."""
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    asked = json.loads(sys.stdin.buffer.read())
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + 1 + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (until, until + 1))
    try:
        found = answer(asked["sql"], asked["tables"], asked["most_rows"])
    except MemoryError:
        found = {"error": "the query needs too much memory"}
    sys.stdout.write(json.dumps(found, default=str))
