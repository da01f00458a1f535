"""End a query that takes too long, on either engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.errors import InvalidInput
from vvwatch.store.db.database import Tx

_STEPS: Final = 10_000  # of SQLite's machine between two looks at the clock
_CANCELLED: Final = "57014"


@contextmanager
def limited(tx: Tx, seconds: float, hint: str) -> Iterator[None]:
    """Run the queries of the block for about `seconds` at most. Raises InvalidInput, with `hint`, for a longer one."""
    try:
        if tx.conn.dialect.name == "sqlite":
            with _interrupted_after(tx.conn.connection.dbapi_connection, monotonic() + seconds):
                yield
        else:
            tx.conn.exec_driver_sql(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
            yield
    except sa.exc.DBAPIError as error:
        if str(error.orig) != "interrupted" and getattr(error.orig, "sqlstate", None) != _CANCELLED:
            raise
        raise InvalidInput(f"the search takes longer than {seconds:g} s", hint) from None


@contextmanager
def _interrupted_after(raw: Any, until: float) -> Iterator[None]:
    raw.set_progress_handler(lambda: monotonic() > until, _STEPS)
    try:
        yield
    finally:
        raw.set_progress_handler(None, 0)
