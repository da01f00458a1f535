"""The schema's versions. A fresh database is made whole; an older one is brought forward, step by step.

Forward only, expand then contract: a step may add, fill and index; it drops only what no released
version reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from vvwatch.errors import SchemaTooNew, StoreError
from vvwatch.store import schema

_versions = sa.Table(
    "schema_versions",
    sa.MetaData(),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("applied_at", sa.Float, nullable=False),
)


def _to_2(conn: sa.Connection) -> None:
    """Nodes, processors, priorities and shares. The queue is made anew: its rows follow from the others."""
    number, words = "INTEGER NOT NULL DEFAULT", "TEXT NOT NULL DEFAULT ''"
    for column in (
        f"connectors ADD COLUMN node {words}",
        f"import_automations ADD COLUMN concurrency {number} 16",
        f"import_jobs ADD COLUMN priority {number} 1",
        f"import_jobs ADD COLUMN concurrency {number} 16",
        f"prompt_runs ADD COLUMN processor {words}",
        f"prompt_runs ADD COLUMN priority {number} 1",
        f"prompt_runs ADD COLUMN concurrency {number} 16",
        "prompt_runs ADD COLUMN results TEXT NOT NULL DEFAULT 'kept'",
    ):
        conn.exec_driver_sql(f"ALTER TABLE {column}")
    conn.exec_driver_sql("UPDATE prompt_runs SET processor = 'technical'")  # there was no other
    conn.exec_driver_sql("DROP TABLE jobs")
    schema.jobs.create(conn)
    schema.facts.create(conn)
    schema.nodes.create(conn)
    for table in (schema.import_files, schema.run_items, schema.media):
        for index in table.indexes:
            index.create(conn, checkfirst=True)


def _to_3(conn: sa.Connection) -> None:
    """Event queues, sweeps that report and tell what is gone, budgets of listings, windows that are held; receipts."""
    no = sa.false().compile(dialect=conn.dialect)
    for column in (
        "connectors ADD COLUMN events TEXT",
        f"connectors ADD COLUMN builtin BOOLEAN NOT NULL DEFAULT {no}",
        f"indexes ADD COLUMN is_default BOOLEAN NOT NULL DEFAULT {no}",
        "import_automations ADD COLUMN max_list_calls_per_hour INTEGER",
        "import_automations ADD COLUMN cadence TEXT",
        f"windows ADD COLUMN held BOOLEAN NOT NULL DEFAULT {no}",
        "import_jobs ADD COLUMN import_mode TEXT",
        "import_jobs ADD COLUMN unlisted INTEGER NOT NULL DEFAULT 0",
        "import_jobs ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0",
        "import_jobs ADD COLUMN revision INTEGER NOT NULL DEFAULT 0",
        "import_jobs ADD COLUMN next_at FLOAT",
        "import_files ADD COLUMN title TEXT",
        "import_files ADD COLUMN origin TEXT",
        f"import_files ADD COLUMN claimed BOOLEAN NOT NULL DEFAULT {no}",
        "prompts ADD COLUMN execution_config TEXT",
        "prompt_runs ADD COLUMN cancelled_items INTEGER NOT NULL DEFAULT 0",
        "prompt_runs ADD COLUMN context TEXT",
        "prompt_runs ADD COLUMN tally TEXT",
        "prompt_runs ADD COLUMN filling TEXT",
        "prompt_runs ADD COLUMN stop TEXT",
        "prompt_runs ADD COLUMN revision INTEGER NOT NULL DEFAULT 0",
        "prompt_runs ADD COLUMN next_at FLOAT",
        "exports ADD COLUMN prompt_run_ids TEXT",
        "exports ADD COLUMN parts TEXT",
        "webhooks ADD COLUMN made_by TEXT",
        "webhooks ADD COLUMN probe_at FLOAT",
        f"events ADD COLUMN place {schema.events.c.place.type.compile(conn.dialect)} NOT NULL DEFAULT 0",
        "deliveries ADD COLUMN about TEXT NOT NULL DEFAULT ''",
        "deliveries ADD COLUMN place INTEGER NOT NULL DEFAULT 0",
        f"deliveries ADD COLUMN held BOOLEAN NOT NULL DEFAULT {no}",
    ):
        conn.exec_driver_sql(f"ALTER TABLE {column}")
    for table in (schema.absences, schema.tombstones, schema.reconciles, schema.quarantine, schema.receipts):
        table.create(conn)
    schema.deletions.create(conn)
    schema.segment_retries.create(conn)
    for changed in (schema.deliveries, schema.events, schema.import_jobs, schema.prompt_runs):
        for index in changed.indexes:
            index.create(conn, checkfirst=True)


STEPS: Mapping[int, Callable[[sa.Connection], None]] = {2: _to_2, 3: _to_3}
"""Number to the step that brings a database from the number before it; version 1 is the first release."""

LATEST = max(STEPS, default=1)


def migrate(conn: sa.Connection, now: float) -> int:
    """Bring the database to `LATEST` and return the version it had (0: it was empty).

    Raises SchemaTooNew when a newer vvwatch has written it; nothing is changed then.
    """
    _versions.create(conn, checkfirst=True)
    found = version(conn)
    _refuse_newer(found)
    if found == 0:
        schema.metadata.create_all(conn, tables=schema.tables_of(conn.dialect.name))
        _stamp(conn, LATEST, now)
    for number in range(max(found, 1) + 1, LATEST + 1) if found else ():
        STEPS[number](conn)
        _stamp(conn, number, now)
    return found


def version(conn: sa.Connection) -> int:
    """The schema version that the database has; 0 when it holds no tables of ours. Changes nothing."""
    if not sa.inspect(conn).has_table(_versions.name):
        return 0
    return conn.execute(sa.select(sa.func.max(_versions.c.number))).scalar() or 0


def made_at(conn: sa.Connection) -> float:
    """When the tables were made, in epoch seconds."""
    return float(conn.execute(sa.select(sa.func.min(_versions.c.applied_at))).scalar_one())


def require_latest(found: int, name: str) -> None:
    """Raises StoreError when the database called `name`, of version `found`, is not of this very version."""
    _refuse_newer(found)
    if found == 0:
        raise StoreError(f"{name} holds no tables of vvwatch", "look at the address")
    if found < LATEST:
        raise StoreError(
            f"{name} has schema version {found}, not {LATEST}",
            "start the daemon on it once: that brings it forward",
        )


def _refuse_newer(found: int) -> None:
    if found > LATEST:
        raise SchemaTooNew(
            f"the database has schema version {found}; this vvwatch knows up to {LATEST}",
            "upgrade vvwatch, or restore a backup made before the newer version ran",
        )


def _stamp(conn: sa.Connection, number: int, now: float) -> None:
    conn.execute(sa.insert(_versions).values(number=number, applied_at=now))
