"""What is watched: automations, the ledger, what was not picked up, and windows."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Float, ForeignKey, Index, UniqueConstraint

from vvwatch.store.schema.columns import (
    Integer,
    Text,
    add_due_index,
    count,
    document,
    flag,
    identifier,
    metadata,
    moment,
    text,
    work,
)

ledger_scopes = sa.Table(
    "ledger_scopes",
    metadata,
    Column("id", Integer, primary_key=True),
    text("index_id"),
    text("connector_id"),
    UniqueConstraint("index_id", "connector_id"),
)

# One row per (index, connector, key, version), for ever, at most key length + 64 bytes on disk.
objects = sa.Table(
    "objects",
    metadata,
    Column("scope_id", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("window_seq", Integer, nullable=False),  # 0: no window took it; known, or claimed
    sqlite_with_rowid=False,
)

# Versions that import jobs without a window took, one row a job: no automation imports them again.
claims = sa.Table(
    "claims",
    metadata,
    Column("scope_id", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("job_id", Text, primary_key=True),  # empty: of a job that retention removed before version 5
    flag("provisional"),  # the ledger has the version only because of its claims
    flag("gone"),  # the version left the ledger since
    sqlite_with_rowid=False,
)

# Versions that a full scan did not find; found again they leave, missing from the next full scan they are gone.
absences = sa.Table(
    "absences",
    metadata,
    Column("scope_id", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    text("reconcile_id"),  # the full scan that missed it first
    sqlite_with_rowid=False,
)

# Versions that were in the ledger and are gone from the store: found again they are new. Kept to tell their story.
tombstones = sa.Table(
    "tombstones",
    metadata,
    Column("scope_id", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("window_seq", Integer, nullable=False),
    moment("gone_at"),
    text("proof"),  # sweeps event person
    sqlite_with_rowid=False,
)

# The result of each full scan, complete or not.
reconciles = sa.Table(
    "reconciles",
    metadata,
    Column("seq", Integer, primary_key=True),  # in which order they came, whatever the clock said
    Column("id", Text, nullable=False, unique=True),
    Column("automation_id", Text, ForeignKey("import_automations.id"), nullable=False),
    moment("started_at"),
    moment("finished_at"),
    flag("complete"),
    flag("proof"),  # it may prove what is gone
    text("remark"),  # why it is not complete, or no proof
    count("listed"),
    count("matched"),
    count("known"),
    count("created"),
    count("changed"),
    count("gone"),
    count("recovered"),  # that events should have reported and did not
    count("list_calls"),
    Column("cost_usd", Float, nullable=False, server_default="0"),
    Column("duration_seconds", Float, nullable=False, server_default="0"),
    document("left_out"),  # reason to how many entries of the listing can be no objects
    document("odd"),  # the oddities of the store known then: `store_notes.Oddity`
    sqlite_autoincrement=True,
)
Index("reconciles_of", reconciles.c.automation_id, reconciles.c.seq)

# Messages of event queues that report nothing about the connector's location.
quarantine = sa.Table(
    "quarantine",
    metadata,
    Column("connector_id", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    text("reason"),  # malformed foreign unmatched
    text("detail"),
    text("excerpt"),
    moment("first_seen_at"),
    moment("last_seen_at"),
    count("times", 1),
    flag("deleted"),  # from the queue
)

# Objects whose import failed because their store did not deliver them. Each is retried automatically at `retry_at`;
# NULL after it was taken up; if that fails too, the retries continue from there.
troubles = sa.Table(
    "troubles",
    metadata,
    Column("scope_id", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    text("job_id"),
    Column("file_id", Integer, nullable=False),
    Column("automation_id", Text),
    text("reason"),
    text("message"),
    count("tries"),  # automatic ones in vain
    moment("first_failed_at"),
    moment("failed_at"),
    moment("retry_at"),
    text("begun_by"),  # the node that makes the try now; `retry_at` is when that counts as broken off
    sqlite_with_rowid=False,
)
_due_troubles = troubles.c.retry_at.is_not(None)
Index("troubles_due", troubles.c.retry_at, sqlite_where=_due_troubles, postgresql_where=_due_troubles)
Index("troubles_planned", troubles.c.failed_at, sqlite_where=_due_troubles, postgresql_where=_due_troubles)
Index("troubles_of_file", troubles.c.file_id)

# Why an object was not picked up, where that is worth knowing; reported once as a skipped file of a job.
observations = sa.Table(
    "observations",
    metadata,
    Column("automation_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    text("version"),
    text("reason"),
    text("detail"),
    Column("size_bytes", Integer, nullable=False, server_default="0"),
    moment("seen_at"),
    Column("job_id", Text),  # the import job that reported it
    sqlite_with_rowid=False,
)

import_automations = sa.Table(
    "import_automations",
    metadata,
    identifier(),
    Column("index_id", Text, ForeignKey("indexes.id"), nullable=False, unique=True),
    Column("connector_id", Text, ForeignKey("connectors.id"), nullable=False),
    Column("scope_id", Integer, ForeignKey("ledger_scopes.id"), nullable=False),
    flag("enabled", default=True),
    flag("paused"),
    text("source_prefix"),
    text("file_pattern", "*"),
    flag("recursive", default=True),
    document("exclude_patterns"),  # NULL: none
    Column("min_size_bytes", Integer),
    Column("max_size_bytes", Integer),
    document("facts"),  # what to read about each file: path (a template), sources; NULL: nothing
    text("debounce_interval"),  # as it was given: 10m
    Column("quiet_seconds", Float, nullable=False),
    Column("max_wait_seconds", Float, nullable=False),
    Column("max_objects", Integer, nullable=False),
    Column("scan_seconds", Float, nullable=False),
    Column("settle_seconds", Float, nullable=False),
    count("concurrency", 16),  # the most of its files that are queued at once
    flag("process_existing", default=True),
    flag("baseline_done"),
    document("prompt_preset"),  # snapshot: run settings, prompt_id, prompt_version
    Column("import_mode_override", Text),
    flag("declared"),
    count("generation"),  # counts changes of what is watched
    Column("max_list_calls_per_hour", Integer),
    document(
        "cadence"
    ),  # what scans know: when everything was listed last, at what cost, where new keys appear
    *work(),
    moment("created_at"),
    moment("updated_at"),
    moment("last_scan_at"),
    moment("last_triggered_at"),
    Column("last_import_job_id", Text),
    Column("last_run_id", Text),
    Column("last_error", Text),
    Column("last_error_hint", Text),
    moment("failing_since"),  # its scans have failed since then, one after the other
    count("failures"),  # how many of them
    document("doubt"),  # complete full scans that miss too much to be believed yet: since, times, missing
    Column(
        "place", Text
    ),  # the identity of the place at the last believed full scan: another place proves nothing
    flag("accept_missing"),  # the next complete full scan is believed, whatever it misses
)

export_automations = sa.Table(
    "export_automations",
    metadata,
    identifier(),
    Column("index_id", Text, ForeignKey("indexes.id"), nullable=False, unique=True),
    Column("destination_connector_id", Text, ForeignKey("connectors.id"), nullable=False),
    Column("destination_subpath", Text),
    document("options"),  # as of exports
    flag("enabled", default=True),
    flag("paused"),
    flag("declared"),
    moment("created_at"),
    moment("updated_at"),
    moment("last_triggered_at"),
    Column("last_export_id", Text),
    Column("last_error", Text),
)

windows = sa.Table(
    "windows",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("automation_id", Text, ForeignKey("import_automations.id"), nullable=False),
    Column("import_job_id", Text, nullable=False, unique=True),  # reserved when the window opens
    text("state", "open"),  # open closed
    moment("opened_at"),
    moment("last_change_at"),
    moment("due_at"),
    count("object_count"),
    count("size_bytes"),
    flag("held"),  # by a person: it does not close until it is released or fired
    Column("reason", Text),  # quiet max_wait full manual resumed
    moment("closed_at"),
    *work(),
    sqlite_autoincrement=True,
)
Index(
    "one_open_window",
    windows.c.automation_id,
    unique=True,
    sqlite_where=windows.c.state == "open",
    postgresql_where=windows.c.state == "open",
)
Index("windows_of_automation", windows.c.automation_id, windows.c.seq)
add_due_index(import_automations)
add_due_index(windows)
