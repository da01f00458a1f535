"""The tables. Moments are epoch seconds (float), sizes bytes, documents JSON text.

Each entity with work to do carries `revision` (the fence: only the job made for the current revision may
change it) and `next_at` (when it is next due; NULL when nothing is left to do).
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, Text, UniqueConstraint

metadata = sa.MetaData()


def _id() -> Column[str]:
    return Column("id", Text, primary_key=True)


def _moment(name: str) -> Column[float]:
    return Column(name, Float)


def _text(name: str, default: str = "") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=default)


def _count(name: str, default: int = 0) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=str(default))


def _flag(name: str, *, default: bool = False) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=sa.true() if default else sa.false())


def _document(name: str) -> Column[object]:
    return Column(name, sa.JSON(none_as_null=True))


def _work() -> tuple[Column[int], Column[float]]:
    return _count("revision"), _moment("next_at")


connectors = sa.Table(
    "connectors",
    metadata,
    _id(),
    _text("name"),
    _text("provider"),  # local
    _text("status", "active"),  # active testing failed disabled
    _document("scopes"),  # list of import, export
    _text("import_mode", "all"),  # all new_only
    Column("export_base_path", Text),
    _document("settings"),  # the provider's location; local: {"root": "/abs/path"}
    Column("credentials", LargeBinary),  # encrypted
    _flag("declared"),  # by the config file, hence read-only over the API
    _moment("created_at"),
    _moment("updated_at"),
    _moment("last_tested_at"),
    Column("last_test_result", Text),  # success failed
    Column("last_test_error", Text),
)

indexes = sa.Table(
    "indexes",
    metadata,
    _id(),
    _text("name"),
    Column("description", Text),
    _flag("declared"),
    _moment("created_at"),
)

prompts = sa.Table(
    "prompts",
    metadata,
    _id(),
    _text("name"),
    _text("description"),
    _text("prompt_text"),
    _document("json_schema"),
    _document("video_level"),  # {instructions_text, json_schema} or NULL
    _document("semantic_indexing"),
    _count("prompt_version", 1),
    _flag("is_active", default=True),
    _flag("is_default"),
    _flag("declared"),
    _moment("created_at"),
    _moment("updated_at"),
)

ledger_scopes = sa.Table(
    "ledger_scopes",
    metadata,
    Column("id", Integer, primary_key=True),
    _text("index_id"),
    _text("connector_id"),
    UniqueConstraint("index_id", "connector_id"),
)

# One row per (index, connector, key, version), for ever, at most key length + 64 bytes on disk.
objects = sa.Table(
    "objects",
    metadata,
    Column("scope_id", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("window_seq", Integer, nullable=False),  # 0: known, but not to be imported
    sqlite_with_rowid=False,
)

# Why an object was not picked up, where that is worth knowing; reported once as a skipped file of a job.
observations = sa.Table(
    "observations",
    metadata,
    Column("automation_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    _text("version"),
    _text("reason"),
    _text("detail"),
    Column("size_bytes", Integer, nullable=False, server_default="0"),
    _moment("seen_at"),
    Column("job_id", Text),  # the import job that reported it
    sqlite_with_rowid=False,
)

import_automations = sa.Table(
    "import_automations",
    metadata,
    _id(),
    Column("index_id", Text, ForeignKey("indexes.id"), nullable=False, unique=True),
    Column("connector_id", Text, ForeignKey("connectors.id"), nullable=False),
    Column("scope_id", Integer, ForeignKey("ledger_scopes.id"), nullable=False),
    _flag("enabled", default=True),
    _flag("paused"),
    _text("source_prefix"),
    _text("file_pattern", "*"),
    _flag("recursive", default=True),
    _text("debounce_interval"),  # as it was given: 10m
    Column("quiet_seconds", Float, nullable=False),
    Column("max_wait_seconds", Float, nullable=False),
    Column("max_objects", Integer, nullable=False),
    Column("scan_seconds", Float, nullable=False),
    Column("settle_seconds", Float, nullable=False),
    _flag("process_existing", default=True),
    _flag("baseline_done"),
    _document("prompt_preset"),  # snapshot: run settings, prompt_id, prompt_version
    Column("import_mode_override", Text),
    _flag("declared"),
    _count("generation"),  # counts changes of what is watched
    *_work(),
    _moment("created_at"),
    _moment("updated_at"),
    _moment("last_scan_at"),
    _moment("last_triggered_at"),
    Column("last_import_job_id", Text),
    Column("last_run_id", Text),
    Column("last_error", Text),
    Column("last_error_hint", Text),
)

export_automations = sa.Table(
    "export_automations",
    metadata,
    _id(),
    Column("index_id", Text, ForeignKey("indexes.id"), nullable=False, unique=True),
    Column("destination_connector_id", Text, ForeignKey("connectors.id"), nullable=False),
    Column("destination_subpath", Text),
    _flag("enabled", default=True),
    _flag("paused"),
    _flag("declared"),
    _moment("created_at"),
    _moment("updated_at"),
    _moment("last_triggered_at"),
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
    _text("state", "open"),  # open closed
    _moment("opened_at"),
    _moment("last_change_at"),
    _moment("due_at"),
    _count("object_count"),
    _count("size_bytes"),
    Column("reason", Text),  # quiet max_wait full manual resumed
    _moment("closed_at"),
    *_work(),
    sqlite_autoincrement=True,
)
Index(
    "one_open_window",
    windows.c.automation_id,
    unique=True,
    sqlite_where=windows.c.state == "open",
    postgresql_where=windows.c.state == "open",
)

import_jobs = sa.Table(
    "import_jobs",
    metadata,
    _id(),
    Column("index_id", Text, ForeignKey("indexes.id"), nullable=False, index=True),
    Column("connector_id", Text),
    Column("automation_id", Text, index=True),
    Column("window_id", Text, unique=True),
    _text("source_kind", "connector"),
    _text("source_prefix"),
    _text("file_pattern", "*"),
    _flag("recursive", default=True),
    _text("status", "pending"),
    Column("phase", Text),
    _document("prompt_preset"),
    _count("total_files"),
    _count("imported"),
    _count("failed"),
    _count("skipped"),
    _count("bytes_transferred"),
    Column("run_id", Text),
    _text("execution_status", "not_requested"),  # not_requested pending submitted blocked
    Column("execution_error_code", Text),
    Column("execution_error", Text),
    Column("error_message", Text),
    _moment("created_at"),
    _moment("started_at"),
    _moment("completed_at"),
    _moment("updated_at"),
)

# The manifest of an import job; its rows gather while the window is open, before the job exists.
import_files = sa.Table(
    "import_files",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Text, nullable=False),
    _count("ordinal"),
    Column("key", Text, nullable=False),
    _text("version"),
    Column("size_bytes", Integer, nullable=False, server_default="0"),
    _moment("modified_at"),
    _text("status", "waiting"),  # waiting pending imported failed skipped
    Column("reason", Text),  # machine-readable, e.g. object_not_found, zero_byte
    Column("message", Text),  # for people
    Column("media_id", Text),
    _count("attempts"),
    *_work(),
    UniqueConstraint("job_id", "key"),
    sqlite_autoincrement=True,
)

media = sa.Table(
    "media",
    metadata,
    _id(),
    Column("index_id", Text, ForeignKey("indexes.id"), nullable=False),
    Column("connector_id", Text),
    Column("import_file_id", Integer, unique=True),
    _text("import_job_id"),
    _text("title"),
    _text("uri"),
    _text("key"),
    _text("version"),
    Column("size_bytes", Integer, nullable=False, server_default="0"),
    _text("media_type"),
    Column("duration_seconds", Float),
    _document("probe"),
    _text("status", "not_processed"),  # not_processed processing processed failed
    _moment("created_at"),
    _moment("updated_at"),
)
Index("media_by_index", media.c.index_id, media.c.id)

prompt_runs = sa.Table(
    "prompt_runs",
    metadata,
    _id(),
    Column("index_id", Text, index=True),
    Column("prompt_id", Text, nullable=False),
    _count("prompt_version", 1),
    _document("prompt"),  # snapshot: name, prompt_text, json_schema, video_level
    _document("settings"),  # the run settings of the preset
    Column("import_job_id", Text, unique=True),
    _text("executed_by"),
    _text("status", "pending"),
    Column("error_message", Text),
    _count("total_items"),
    _count("completed_items"),
    _count("partial_items"),
    _count("failed_items"),
    _count("total_segments"),
    _count("completed_segments"),
    _moment("created_at"),
    _moment("started_at"),
    _moment("completed_at"),
    _moment("updated_at"),
)

run_items = sa.Table(
    "run_items",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", Text, ForeignKey("prompt_runs.id"), nullable=False),
    Column("media_id", Text, ForeignKey("media.id"), nullable=False, index=True),
    _text("status", "pending"),  # pending processing completed partial failed cancelled
    _count("attempts"),
    Column("error_code", Text),
    Column("error_message", Text),
    _document("damage"),
    _document("warnings"),
    _document("video_metadata"),
    _text("video_metadata_text"),
    _count("segment_count"),
    _count("failed_segment_count"),
    _moment("started_at"),
    _moment("completed_at"),
    *_work(),
    UniqueConstraint("run_id", "media_id"),
    sqlite_autoincrement=True,
)

segment_results = sa.Table(
    "segment_results",
    metadata,
    Column("run_item_id", Integer, ForeignKey("run_items.id"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("start_time", Float, nullable=False),
    Column("end_time", Float, nullable=False),
    _document("metadata"),
    _text("metadata_text"),
    Column("warning", Text),
    Column("error", Text),
)

exports = sa.Table(
    "exports",
    metadata,
    _id(),
    _text("export_type"),  # index prompt_run
    _text("target_id"),
    Column("index_id", Text, index=True),
    Column("run_id", Text),  # the only run it holds, when restricted to one
    Column("automation_id", Text),
    _text("status", "pending"),
    _text("queue_status", "queued"),  # queued leased running failed succeeded dead_letter
    _count("attempts"),
    _count("max_attempts", 150),  # a day, at most ten minutes apart
    _text("destination_type", "download"),  # download connector
    Column("destination_connector_id", Text),
    Column("destination_base_path", Text),
    Column("destination_subpath", Text),
    Column("destination_uri", Text),
    Column("file_size_bytes", Integer),
    Column("sha256", Text),
    Column("error_message", Text),
    Column("last_error", Text),
    *_work(),
    _moment("created_at"),
    _moment("available_at"),
    _moment("started_at"),
    _moment("completed_at"),
    _moment("updated_at"),
    UniqueConstraint("automation_id", "run_id"),
)

# What we wrote ourselves, by canonical address, recorded before the write: never an input.
outputs = sa.Table(
    "outputs",
    metadata,
    Column("uri", Text, primary_key=True),
    Column("export_id", Text, nullable=False),
    _moment("created_at"),
)

webhooks = sa.Table(
    "webhooks",
    metadata,
    _id(),
    _text("name"),
    _text("url"),
    _document("events"),
    _document("index_ids"),  # NULL: unrestricted
    _text("status", "active"),  # active paused disabled
    Column("secret", LargeBinary, nullable=False),  # encrypted
    _count("failure_count"),
    _moment("last_failure_at"),
    _moment("last_success_at"),
    _document("metadata"),
    _flag("declared"),
    _moment("created_at"),
    _moment("updated_at"),
)

events = sa.Table(
    "events",
    metadata,
    _id(),
    _text("type"),
    Column("index_id", Text),
    Column("occurrence", Text, nullable=False, unique=True),  # type:subject, so that it is told once
    _document("data"),
    _moment("created_at"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    _id(),
    Column("event_id", Text, ForeignKey("events.id"), nullable=False),
    Column("webhook_id", Text, ForeignKey("webhooks.id"), nullable=False, index=True),
    _text("status", "pending"),  # pending processing delivered failed retrying
    _count("attempts"),
    Column("response_status_code", Integer),
    Column("response_body", Text),
    Column("error_message", Text),
    *_work(),
    _moment("created_at"),
    _moment("last_attempt_at"),
    _moment("completed_at"),
    UniqueConstraint("event_id", "webhook_id"),
)

delivery_attempts = sa.Table(
    "delivery_attempts",
    metadata,
    Column("delivery_id", Text, ForeignKey("deliveries.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    _moment("started_at"),
    Column("duration_seconds", Float),  # NULL: the daemon died while it was under way
    Column("response_status_code", Integer),
    Column("response_body", Text),  # its first kilobyte
    Column("error_message", Text),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _id(),
    _text("name"),
    Column("digest", Text, nullable=False, unique=True),  # sha256 of the key
    _text("key_prefix"),
    _document("scopes"),
    _moment("created_at"),
    _moment("expires_at"),
    _moment("revoked_at"),
    _moment("last_used_at"),
)

for _table in (import_automations, windows, import_files, run_items, exports, deliveries):
    Index(
        f"{_table.name}_due",
        _table.c.next_at,
        sqlite_where=_table.c.next_at.is_not(None),
        postgresql_where=_table.c.next_at.is_not(None),
    )

# The queue of the embedded engine; on PostgreSQL the engine brings its own.
jobs = sa.Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("run_at", Float, nullable=False),
    _count("attempt"),
    _flag("running"),
)
Index("jobs_due", jobs.c.kind, jobs.c.running, jobs.c.run_at)
