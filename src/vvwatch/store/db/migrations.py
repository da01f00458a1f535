"""The schema's versions. A new database is created whole; an older one is migrated step by step.

Forward only, expand then contract: a step may add, fill and index; it drops only what no released version reads.
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
    """Add nodes, processors, priorities and shares. Recreate the queue: its rows follow from the other tables."""
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
    conn.exec_driver_sql("UPDATE prompt_runs SET processor = 'technical'")  # it was the only one
    conn.exec_driver_sql("DROP TABLE jobs")
    schema.jobs.create(conn)
    schema.facts.create(conn)
    schema.nodes.create(conn)
    _index(conn, schema.import_files, schema.run_items, schema.media)


def _to_3(conn: sa.Connection) -> None:
    """Add event queues, full scans that report and detect deletions, listing budgets, held windows, and receipts."""
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
    _index(conn, schema.deliveries, schema.events, schema.import_jobs, schema.prompt_runs)


def _to_4(conn: sa.Connection) -> None:
    """Add the columns and tables made after version 3; give gathered files the id of their future job."""
    for column in _columns_of_4(conn.dialect):
        _add_column(conn, column)
    for table in _NEW_IN_4:
        table.create(conn)
    _name_export_automations(conn)
    conn.exec_driver_sql(
        "DROP INDEX IF EXISTS run_items_failed"
    )  # it covered only failed items, not failed segments
    _index(conn, *_CHANGED_BY_4, but=frozenset())
    conn.exec_driver_sql("UPDATE import_files SET status = 'pending' WHERE status = 'waiting'")
    if conn.dialect.name == "postgresql":  # a node of version 3 may still run, and sets no status
        conn.exec_driver_sql("ALTER TABLE import_files ALTER COLUMN status SET DEFAULT 'pending'")


def _columns_of_4(dialect: sa.Dialect) -> tuple[str, ...]:
    number, no = "INTEGER NOT NULL DEFAULT 0", sa.false().compile(dialect=dialect)
    size = schema.import_jobs.c.min_size_bytes.type.compile(dialect)
    return (
        f"import_files ADD COLUMN failures {number}",
        "import_files ADD COLUMN failing_since FLOAT",
        f"run_items ADD COLUMN failures {number}",
        "run_items ADD COLUMN failing_since FLOAT",
        f"segment_retries ADD COLUMN tries {number}",
        f"segment_retries ADD COLUMN failures {number}",
        "segment_retries ADD COLUMN failing_since FLOAT",
        "import_automations ADD COLUMN failing_since FLOAT",
        f"import_automations ADD COLUMN failures {number}",
        "import_automations ADD COLUMN doubt TEXT",
        f"import_automations ADD COLUMN accept_missing BOOLEAN NOT NULL DEFAULT {no}",
        "import_automations ADD COLUMN place TEXT",
        "import_files ADD COLUMN retried_at FLOAT",
        f"import_jobs ADD COLUMN retried {number}",
        "import_jobs ADD COLUMN dismissed_at FLOAT",
        "prompt_runs ADD COLUMN dismissed_at FLOAT",
        "prompt_runs ADD COLUMN not_done TEXT",
        f"prompt_runs ADD COLUMN missing_wholes {number}",
        "exports ADD COLUMN dismissed_at FLOAT",
        "webhooks ADD COLUMN last_error TEXT",
        "deliveries ADD COLUMN dismissed_at FLOAT",
        *(
            f"{table} ADD COLUMN {column}"
            for table in ("import_automations", "import_jobs")
            for column in ("exclude_patterns TEXT", f"min_size_bytes {size}", f"max_size_bytes {size}")
        ),
        "reconciles ADD COLUMN left_out TEXT",
        "reconciles ADD COLUMN odd TEXT",
        "nodes ADD COLUMN heartbeat_seconds FLOAT",
        "nodes ADD COLUMN held TEXT",
        "nodes ADD COLUMN missed_at FLOAT",
        *(f"{t} ADD COLUMN waits {number}" for t in ("import_files", "run_items", "segment_retries")),
        "receipts ADD COLUMN key_id TEXT NOT NULL DEFAULT ''",
    )


def _add_column(conn: sa.Connection, column: str) -> None:
    """Add the column, unless an earlier step just created the table with it."""
    table, _, _, name, *_ = column.split()
    if name not in {each["name"] for each in sa.inspect(conn).get_columns(table)}:
        conn.exec_driver_sql(f"ALTER TABLE {column}")


def _name_export_automations(conn: sa.Connection) -> None:
    """Give declared export automations ids of their own: they shared those of their import automations."""
    taken = sa.select(schema.import_automations.c.id)
    for column in (schema.exports.c.automation_id, schema.export_automations.c.id):
        renamed = sa.update(column.table).where(column.in_(taken)).values({column: column + "_export"})
        conn.execute(renamed)


def _to_5(conn: sa.Connection) -> None:
    """Give claims a table. Before, the ledger counted them below zero in `window_seq`; odd was provisional.

    Only versions with a claim are written. A claim belongs to the job whose file or media shows it. A claim that
    retention left without either belongs to nobody and stays.
    """
    schema.claims.create(conn)
    for statement in _MOVE_CLAIMS:
        conn.exec_driver_sql(statement)


_MOVE_CLAIMS = (
    """CREATE TEMPORARY TABLE marks AS
    SELECT scope_id, key, version, window_seq, FALSE AS gone FROM objects WHERE window_seq < 0
    UNION ALL SELECT scope_id, key, version, window_seq, TRUE FROM tombstones WHERE window_seq < 0""",
    "CREATE INDEX marks_key ON marks (scope_id, key, version)",
    """INSERT INTO claims (scope_id, key, version, job_id, provisional, gone)
    SELECT m.scope_id, m.key, m.version, j.id, (m.window_seq & 1) = 1, m.gone
    FROM import_files f CROSS JOIN import_jobs j CROSS JOIN ledger_scopes s CROSS JOIN marks m
    WHERE f.claimed AND f.status <> 'skipped' AND j.id = f.job_id AND j.window_id IS NULL
    AND s.index_id = j.index_id AND s.connector_id = j.connector_id
    AND m.scope_id = s.id AND m.key = f.key AND m.version = f.version ON CONFLICT DO NOTHING""",
    """INSERT INTO claims (scope_id, key, version, job_id, provisional, gone)
    SELECT m.scope_id, m.key, m.version, f.import_job_id, (m.window_seq & 1) = 1, m.gone
    FROM media f CROSS JOIN ledger_scopes s CROSS JOIN marks m
    WHERE s.index_id = f.index_id AND s.connector_id = f.connector_id
    AND m.scope_id = s.id AND m.key = f.key AND m.version = f.version AND NOT EXISTS (
      SELECT 1 FROM claims c WHERE c.scope_id = m.scope_id AND c.key = m.key AND c.version = m.version
      AND c.gone = m.gone
    ) ON CONFLICT DO NOTHING""",
    """INSERT INTO claims (scope_id, key, version, job_id, provisional, gone)
    SELECT m.scope_id, m.key, m.version, '', (m.window_seq & 1) = 1, m.gone FROM marks m
    WHERE (
      SELECT count(*) FROM claims c WHERE c.scope_id = m.scope_id AND c.key = m.key AND c.version = m.version
      AND c.gone = m.gone
    ) < (1 - m.window_seq) / 2 ON CONFLICT DO NOTHING""",
    """UPDATE objects SET window_seq = 0 FROM marks m WHERE objects.scope_id = m.scope_id
    AND objects.key = m.key AND objects.version = m.version AND NOT m.gone""",
    """UPDATE tombstones SET window_seq = 0 FROM marks m WHERE tombstones.scope_id = m.scope_id
    AND tombstones.key = m.key AND tombstones.version = m.version AND m.gone""",
    "DROP TABLE marks",
)


_NEW_IN_4 = (
    schema.audit,
    schema.troubles,
    schema.item_journals,
    schema.llm_calls,
    schema.processor_leases,
    schema.processor_quotas,
    schema.processor_states,
    schema.retried_segments,
    schema.spending,
)
_CHANGED_BY_4 = (
    schema.import_jobs,
    schema.import_files,
    schema.prompt_runs,
    schema.run_items,
    schema.exports,
    schema.deliveries,
    schema.receipts,
)
_ON_COLUMNS_OF_4 = frozenset(
    {
        "deliveries_attention",
        "deliveries_failures",
        "import_jobs_attention",
        "prompt_runs_attention",
        "import_files_failed",
        "import_files_reasons",
        "receipts_key",
    }
)


def _index(conn: sa.Connection, *tables: sa.Table, but: frozenset[str] = _ON_COLUMNS_OF_4) -> None:
    """Create missing indexes of the tables, except those on columns of a later step."""
    for table in tables:
        for index in table.indexes:
            if index.name not in but:
                index.create(conn, checkfirst=True)


def _to_6(conn: sa.Connection) -> None:
    """Add transcripts, pictures, what the team knows about a file, the formats of exports, and search by words
    and by meaning.
    """
    for column in (
        "import_automations ADD COLUMN facts TEXT",
        "media ADD COLUMN facts TEXT",
        "export_automations ADD COLUMN options TEXT",
        "exports ADD COLUMN options TEXT",
        "exports ADD COLUMN files TEXT",
    ):
        conn.exec_driver_sql(f"ALTER TABLE {column}")
    for table in (schema.transcripts, schema.pictures, schema.search_vectors):
        table.create(conn)
    schema.create_search(conn)  # filled in the background
    _index(conn, schema.media)


def _to_7(conn: sa.Connection) -> None:
    """Add what exports wrote to their addresses, and beside which media item, sidecars that are read again, alerts."""
    words = "TEXT NOT NULL DEFAULT ''"
    conn.exec_driver_sql("ALTER TABLE outputs ADD COLUMN written TEXT")
    for name in ("media_id", "series", "connector_id", "key"):
        conn.exec_driver_sql(f"ALTER TABLE outputs ADD COLUMN {name} {words}")
    for table in (schema.fact_updates, schema.alert_problems, schema.alert_messages):
        table.create(conn)
    _index(conn, schema.outputs, schema.windows)


def _to_8(conn: sa.Connection) -> None:
    """Index what lists show of very many rows: failures by their reason, skipped files, deliveries of a webhook."""
    _index(conn, schema.import_files, schema.run_items, schema.deliveries)
    conn.exec_driver_sql(
        "DROP INDEX IF EXISTS ix_deliveries_webhook_id"
    )  # deliveries_by_webhook does what it did


STEPS: Mapping[int, Callable[[sa.Connection], None]] = {
    2: _to_2,
    3: _to_3,
    4: _to_4,
    5: _to_5,
    6: _to_6,
    7: _to_7,
    8: _to_8,
}
"""The step that migrates to each version from the one before; version 1 is the first release."""

LATEST = max(STEPS, default=1)


def migrate(conn: sa.Connection, now: float) -> int:
    """Migrate the database to `LATEST` and return the version it had (0: it was empty).

    Raises SchemaTooNew, and changes nothing, if a newer vvwatch wrote it.
    """
    _versions.create(conn, checkfirst=True)
    found = read_version(conn)
    _refuse_newer(found)
    if found == 0:
        schema.metadata.create_all(conn, tables=schema.tables_of(conn.dialect.name))
        schema.create_search(conn)
        _stamp(conn, LATEST, now)
    for number in range(max(found, 1) + 1, LATEST + 1) if found else ():
        STEPS[number](conn)
        _stamp(conn, number, now)
    return found


def read_version(conn: sa.Connection) -> int:
    """Return the schema version of the database; 0 without our tables. Changes nothing."""
    if not sa.inspect(conn).has_table(_versions.name):
        return 0
    return conn.execute(sa.select(sa.func.max(_versions.c.number))).scalar() or 0


def read_created_at(conn: sa.Connection) -> float:
    """Return when the tables were created, in epoch seconds."""
    return float(conn.execute(sa.select(sa.func.min(_versions.c.applied_at))).scalar_one())


def require_latest(found: int, name: str) -> None:
    """Raise StoreError unless the database called `name`, of version `found`, has the latest version."""
    _refuse_newer(found)
    if found == 0:
        raise StoreError(f"{name} is not a vvwatch database", "check the address")
    if found < LATEST:
        raise StoreError(
            f"{name} has schema version {found}, not {LATEST}",
            "start the daemon on it once to migrate it",
        )


def _refuse_newer(found: int) -> None:
    if found > LATEST:
        raise SchemaTooNew(
            f"the database has schema version {found}; this vvwatch knows up to {LATEST}",
            "upgrade vvwatch, or restore a backup made before the newer version ran",
        )


def _stamp(conn: sa.Connection, number: int, now: float) -> None:
    conn.execute(sa.insert(_versions).values(number=number, applied_at=now))
