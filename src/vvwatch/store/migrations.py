"""The schema's versions. A fresh database is made whole; an older one is brought forward, step by step.

Forward only, expand then contract: a step may add, fill and index; it drops only what no released
version reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from vvwatch.errors import SchemaTooNew
from vvwatch.store import schema

_versions = sa.Table(
    "schema_versions",
    sa.MetaData(),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("applied_at", sa.Float, nullable=False),
)

STEPS: Mapping[int, Callable[[sa.Connection], None]] = {}
"""Number to the step that brings a database from the number before it; version 1 is the first release."""

LATEST = max(STEPS, default=1)


def migrate(conn: sa.Connection, now: float) -> int:
    """Bring the database to `LATEST` and return the version it had (0: it was empty).

    Raises SchemaTooNew when a newer vvwatch has written it; nothing is changed then.
    """
    _versions.create(conn, checkfirst=True)
    found = conn.execute(sa.select(sa.func.max(_versions.c.number))).scalar() or 0
    if found > LATEST:
        raise SchemaTooNew(
            f"the database has schema version {found}; this vvwatch knows up to {LATEST}",
            "upgrade vvwatch, or restore a backup made before the newer version ran",
        )
    if found == 0:
        schema.metadata.create_all(conn)
        _stamp(conn, LATEST, now)
    for number in range(max(found, 1) + 1, LATEST + 1) if found else ():
        STEPS[number](conn)
        _stamp(conn, number, now)
    return found


def _stamp(conn: sa.Connection, number: int, now: float) -> None:
    conn.execute(sa.insert(_versions).values(number=number, applied_at=now))
