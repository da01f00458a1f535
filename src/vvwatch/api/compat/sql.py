"""Read-only SQL over the results of one index: never on the database itself, but on a copy in a process of its own."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import anyio
import anyio.to_thread
from pydantic import Field

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.wire import Body, Resource
from vvwatch.core.keys import Scope
from vvwatch.errors import InvalidInput
from vvwatch.processors.isolated import isolated_command
from vvwatch.store.db import sqlite_sandbox
from vvwatch.store.runs import sql_tables

router = resource_router("search")

_MOST_ROWS: Final = 1_000
_SECONDS: Final = 30.0
_ALLOWED: Final = "one SELECT over the tables and functions that GET …/catalog lists"
_ONE_AT_A_TIME: Final = anyio.CapacityLimiter(1)


class SqlColumn(Resource):
    """A column. Columns of lists and objects are JSON text."""

    name: str
    type: str


class SqlTable(Resource):
    """A table of the catalog."""

    name: str
    columns: list[SqlColumn]


class SqlCatalog(Resource):
    """What a query over an index can use. Fields of prompts are columns of `segments` and `video_results`."""

    index_id: str
    dialect: str = "sqlite"
    tables: list[SqlTable]
    functions: list[str]
    max_rows: int = _MOST_ROWS
    max_segments: int = sql_tables.MOST_SEGMENTS


class SqlBody(Body):
    """A query: one SELECT."""

    sql: Annotated[str, Field(min_length=1, max_length=20_000)]
    limit: Annotated[int, Field(ge=1, le=_MOST_ROWS)] = 100


class SqlResult(Resource):
    """The rows of a query, in lists and as objects; `truncated`: there were more than `limit`, or than 1 MiB."""

    index_id: str
    columns: list[str]
    rows: list[list[Any]]
    results: list[dict[str, Any]]
    row_count: int
    truncated: bool


@router.get("/search/sql/{index_id}/catalog", **require(Scope.SEARCH))
async def get_sql_catalog(context: Context, index_id: str) -> SqlCatalog:
    """Return the tables, columns and functions of read-only SQL over an index."""
    found = await context.database.read(sql_tables.read_catalog, index_id)
    tables = [
        SqlTable(name=name, columns=[SqlColumn(name=column, type=kind) for column, kind in columns])
        for name, columns in found.items()
    ]
    return SqlCatalog(index_id=index_id, tables=tables, functions=sorted(sqlite_sandbox.FUNCTIONS))


@router.post("/search/sql/{index_id}/execute", **require(Scope.SEARCH))
async def execute_sql(context: Context, index_id: str, body: SqlBody) -> SqlResult:
    """Run one SELECT over the results of an index, on a copy of them that the query cannot leave.

    The index may have 20,000 segments; a query may take 5 seconds of CPU time. Larger ones are refused with 422.
    """
    async with _ONE_AT_A_TIME:
        tables = await context.database.read(sql_tables.read_tables, index_id)
        asked = {"sql": body.sql, "most_rows": body.limit, "tables": tables}
        found = await _ask_process(await anyio.to_thread.run_sync(json.dumps, asked))
    if "error" in found:
        raise InvalidInput(f"the query cannot be answered: {found['error']}", _ALLOWED)
    columns, rows = found["columns"], found["rows"]
    return SqlResult(
        index_id=index_id,
        columns=columns,
        rows=rows,
        results=[dict(zip(columns, row, strict=True)) for row in rows],
        row_count=len(rows),
        truncated=found["truncated"],
    )


async def _ask_process(asked: str) -> dict[str, Any]:
    """Return the answer of a process that ends with this query. Raises InvalidInput if it was ended before."""
    command = isolated_command(sqlite_sandbox.MODULE)
    with anyio.move_on_after(_SECONDS):
        ended = await anyio.run_process(command, input=asked.encode(), check=False, env={})
        if ended.returncode == 0:
            found: dict[str, Any] = json.loads(ended.stdout)
            return found
    raise InvalidInput(
        "the query took too much time or memory",
        f"it may take {sqlite_sandbox.CPU_SECONDS} seconds of CPU time: join and sort less",
    )
