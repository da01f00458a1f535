"""The products of a window: import jobs, media, prompt runs, exports."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Float, ForeignKey, Index, UniqueConstraint

from vvwatch.core.runs import WHOLE_FAILED
from vvwatch.store.schema.columns import (
    FAILED,
    SKIPPED,
    Integer,
    Text,
    add_attention_index,
    add_due_index,
    add_failed_index,
    add_part_index,
    add_share_index,
    add_under_way_index,
    count,
    document,
    flag,
    identifier,
    metadata,
    moment,
    text,
    work,
)

import_jobs = sa.Table(
    "import_jobs",
    metadata,
    identifier(),
    Column("index_id", Text, ForeignKey("indexes.id"), nullable=False, index=True),
    Column("connector_id", Text),
    Column("automation_id", Text, index=True),
    Column("window_id", Text, unique=True),
    text("source_kind", "connector"),
    text("source_prefix"),
    text("file_pattern", "*"),
    flag("recursive", default=True),
    document("exclude_patterns"),  # NULL: none
    Column("min_size_bytes", Integer),
    Column("max_size_bytes", Integer),
    Column("import_mode", Text),  # of a job that lists: all new_only
    text("status", "pending"),
    count("priority", 1),
    count("concurrency", 16),
    document("prompt_preset"),
    count("total_files"),
    count("imported"),
    count("failed"),
    count("skipped"),
    count("unlisted"),  # the skipped files without a row
    count("bytes_transferred"),
    count("attempts"),  # to list
    Column("run_id", Text),
    text("execution_status", "not_requested"),  # not_requested pending submitted
    Column("error_message", Text),
    *work(),  # it lists, or its unfinished files are recorded as skipped after a stop
    moment("created_at"),
    moment("started_at"),
    moment("completed_at"),
    moment("updated_at"),
    count("retried"),  # of the failed, those that a person let be tried again
    moment("dismissed_at"),  # a person has seen what failed
)

# The manifest of an import job; its rows gather while the window is open, before the job exists.
import_files = sa.Table(
    "import_files",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Text, nullable=False),
    count("ordinal"),
    Column("key", Text, nullable=False),
    text("version"),
    Column("size_bytes", Integer, nullable=False, server_default="0"),
    moment("modified_at"),
    text("status", "waiting"),  # waiting pending imported failed skipped
    Column("reason", Text),  # machine-readable, e.g. object_not_found, zero_byte
    Column("message", Text),  # for people
    Column("media_id", Text),
    Column("title", Text),  # of the media to be
    document("origin"),  # what an attachment was: file_id, download_url, mime_type, file_name
    flag("claimed"),  # it is in the ledger because of this job, which no window made
    moment("retried_at"),  # it failed, and a person let it be tried again
    count("attempts"),
    count("failures"),  # in a row while the store answered for others …
    moment("failing_since"),  # … the first of them; or since when this machine has been short of something
    count("waits"),  # of the attempts, those that ended because this machine was short of something
    *work(),
    UniqueConstraint("job_id", "key"),
    sqlite_autoincrement=True,
)

media = sa.Table(
    "media",
    metadata,
    identifier(),
    Column("index_id", Text, ForeignKey("indexes.id"), nullable=False),
    Column("connector_id", Text),
    Column("import_file_id", Integer, unique=True),
    text("import_job_id"),
    text("title"),
    text("uri"),
    text("key"),
    text("version"),
    Column("size_bytes", Integer, nullable=False, server_default="0"),
    text("media_type"),
    Column("duration_seconds", Float),
    document("probe"),
    document(
        "facts"
    ),  # what the team knows: object metadata, tags, fields of the path, a sidecar; NULL: nothing
    text("status", "not_processed"),  # not_processed processing processed failed
    moment("created_at"),
    moment("updated_at"),
)
Index("media_by_index", media.c.index_id, media.c.id)
Index("media_by_import_job", media.c.import_job_id, media.c.key)
Index("media_by_key", media.c.connector_id, media.c.key)

prompt_runs = sa.Table(
    "prompt_runs",
    metadata,
    identifier(),
    Column("index_id", Text, index=True),
    Column("prompt_id", Text, nullable=False),
    count("prompt_version", 1),
    document("prompt"),  # snapshot: name, prompt_text, json_schema, video_level
    document("settings"),  # the run settings of the preset
    text("processor"),  # empty: none answered to the model when the run began
    document("not_done"),  # what of the settings it does not do: feature to reason; NULL: it does all
    count("priority", 1),
    count("concurrency", 16),
    Column("import_job_id", Text, unique=True),
    text("executed_by"),
    text("status", "pending"),
    Column("error_message", Text),
    count("total_items"),
    count("completed_items"),
    count("partial_items"),
    count("failed_items"),
    count("cancelled_items"),
    count("total_segments"),
    count("completed_segments"),
    count("missing_wholes"),  # items without the answer about the whole that was asked for
    text("results", "kept"),  # kept dropping dropped: retention takes them, the run stays
    document("context"),  # what it was requested for
    document("tally"),  # its items by media type and by how they ended; NULL: they are to be counted
    document("filling"),  # what of its media is still to come in: of, id, after, upto; NULL: it is whole
    document("stop"),  # who asked it to stop: requested_at, requested_by, mode, observed_at
    *work(),  # its items come in, or are called off
    moment("created_at"),
    moment("started_at"),
    moment("completed_at"),
    moment("updated_at"),
    moment("dismissed_at"),  # a person has seen what failed
)

run_items = sa.Table(
    "run_items",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", Text, ForeignKey("prompt_runs.id"), nullable=False),
    Column("media_id", Text, ForeignKey("media.id"), nullable=False, index=True),
    text("status", "pending"),  # pending processing completed partial failed cancelled
    count("attempts"),
    count(
        "waits"
    ),  # those of the attempts that ended because the processor was away, paused or out of budget
    count("failures"),  # as of import_files
    moment("failing_since"),
    Column("error_code", Text),
    Column("error_message", Text),
    document("damage"),
    document("warnings"),
    document("video_metadata"),
    text("video_metadata_text"),
    count("segment_count"),
    count("failed_segment_count"),
    moment("started_at"),
    moment("completed_at"),
    *work(),
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
    document("metadata"),
    text("metadata_text"),
    Column("warning", Text),
    Column("error", Text),
)

# What is said in an item. Words stand within their cues; segments take theirs by time.
transcripts = sa.Table(
    "transcripts",
    metadata,
    Column("run_item_id", Integer, ForeignKey("run_items.id"), primary_key=True),
    text("source"),  # embedded sidecar endpoint speech; empty: there is none
    text("origin"),  # of that source: the track, the key of the sidecar, the model
    Column("language", Text),
    Column("error", Text),  # why there is none
    document("cues"),  # [start, end, text, [[start, end, word], …]] each, in seconds
    moment("updated_at"),
)

# The pictures of an item, in one file of one node: the poster, one a segment, the storyboard.
pictures = sa.Table(
    "pictures",
    metadata,
    Column("run_item_id", Integer, ForeignKey("run_items.id"), primary_key=True),
    text("node"),  # whose state directory has the file; empty: the only node
    document("contents"),  # where each picture stands in the file, and its size
    Column("size_bytes", Integer, nullable=False, server_default="0"),
    moment("created_at"),
)

# One segment of a run that failed is tried again; the ordinal -1 is a whole item that found none.
segment_retries = sa.Table(
    "segment_retries",
    metadata,
    identifier(),
    Column("run_item_id", Integer, ForeignKey("run_items.id"), nullable=False, index=True),
    Column("ordinal", Integer, nullable=False),
    text("status", "pending"),  # pending processing completed failed
    count("tries"),  # the number of the automatic retry; 0: a person requested it
    count("attempts"),
    count(
        "waits"
    ),  # those of the attempts that ended because the processor was away, paused or out of budget
    count("failures"),  # as of import_files
    moment("failing_since"),
    Column("error_code", Text),
    Column("error_message", Text),
    *work(),
    moment("created_at"),
    moment("started_at"),
    moment("completed_at"),
)
_retried = segment_retries.c.completed_at.is_(None)
Index(
    "segment_retries_under_way",
    segment_retries.c.run_item_id,
    segment_retries.c.ordinal,
    unique=True,
    sqlite_where=_retried,
    postgresql_where=_retried,
)

exports = sa.Table(
    "exports",
    metadata,
    identifier(),
    text("export_type"),  # index prompt_run
    text("target_id"),
    Column("index_id", Text, index=True),
    Column("run_id", Text),  # the only run it holds, when restricted to one
    document("prompt_run_ids"),  # the runs that were asked for; NULL: all of the index, or that one
    Column("automation_id", Text),
    text("status", "pending"),
    text("queue_status", "queued"),  # queued leased running failed succeeded dead_letter
    count("attempts"),
    count("max_attempts", 150),  # a day, at most ten minutes apart
    text("destination_type", "download"),  # download connector
    Column("destination_connector_id", Text),
    Column("destination_base_path", Text),
    Column("destination_subpath", Text),
    Column("destination_uri", Text),
    Column("file_size_bytes", Integer),
    Column("sha256", Text),
    document(
        "options"
    ),  # formats, layout and names, as its automation or requester chose; NULL: one JSON document
    document("files"),  # name, size_bytes and sha256 of each file at the destination; NULL: only the document
    document("parts"),  # size_bytes and sha256 of each, when it had to be divided; the first is the document
    Column("error_message", Text),
    Column("last_error", Text),
    *work(),
    moment("created_at"),
    moment("available_at"),
    moment("started_at"),
    moment("completed_at"),
    moment("updated_at"),
    moment("dismissed_at"),  # a person has seen that it failed
    UniqueConstraint("automation_id", "run_id"),
)

# Media whose sidecar is to be read again, until that is done.
fact_updates = sa.Table(
    "fact_updates",
    metadata,
    identifier(),  # of the media item
    count("attempts"),
    Column("error_message", Text),
    moment("created_at"),
    *work(),
)

# What we wrote ourselves, by canonical address, recorded before the write: never an input.
outputs = sa.Table(
    "outputs",
    metadata,
    Column("uri", Text, primary_key=True),
    Column("export_id", Text, nullable=False),
    moment("created_at"),
    document(
        "written"
    ),  # [size, SHA-256] of the contents that exports wrote there, the last one last; NULL: unknown
    text("media_id"),  # of the media item that it stands beside; empty: it stands at the destination
    text("series"),  # of the exports that replace it there
    text("connector_id"),
    text("key"),
)
Index("outputs_by_media", outputs.c.media_id, outputs.c.series)
add_due_index(import_jobs)
add_due_index(import_files)
add_due_index(prompt_runs)
add_due_index(run_items)
add_due_index(segment_retries)
add_share_index(import_files, import_files.c.job_id, import_files.c.ordinal)
add_share_index(run_items, run_items.c.run_id, run_items.c.id)
add_due_index(exports)
add_due_index(fact_updates)

JOB_NEEDS_ATTENTION = sa.and_(
    sa.or_(
        import_jobs.c.failed > import_jobs.c.retried,
        sa.and_(import_jobs.c.status == FAILED, import_jobs.c.failed == sa.literal_column("0")),
    ),
    import_jobs.c.dismissed_at.is_(None),
)
RUN_NEEDS_ATTENTION = sa.and_(
    sa.or_(
        prompt_runs.c.failed_items > sa.literal_column("0"),
        prompt_runs.c.total_segments > prompt_runs.c.completed_segments,
        prompt_runs.c.missing_wholes > sa.literal_column("0"),
        prompt_runs.c.status == FAILED,
    ),
    prompt_runs.c.dismissed_at.is_(None),
)
EXPORT_NEEDS_ATTENTION = sa.and_(exports.c.status == FAILED, exports.c.dismissed_at.is_(None))
EXPORT_WAITS = sa.and_(exports.c.completed_at.is_(None), exports.c.last_error.is_not(None))
add_attention_index(import_jobs, import_jobs.c.updated_at, JOB_NEEDS_ATTENTION)
add_attention_index(prompt_runs, prompt_runs.c.updated_at, RUN_NEEDS_ATTENTION)
add_attention_index(exports, exports.c.completed_at, EXPORT_NEEDS_ATTENTION)
Index("exports_troubled", exports.c.id, sqlite_where=EXPORT_WAITS, postgresql_where=EXPORT_WAITS)
# Reasons are counted from their index alone: it has all columns that the condition names.
_FILE_REASONS = "job_id", "reason", "id", "status", "retried_at"
_ITEM_REASONS = "run_id", "error_code", "id", "status", "failed_segment_count"
FILE_FAILED = sa.and_(import_files.c.status == FAILED, import_files.c.retried_at.is_(None))
ITEM_LACKS = sa.or_(
    run_items.c.status == FAILED,
    run_items.c.failed_segment_count > sa.literal_column("0"),
    run_items.c.error_code == sa.literal_column(f"'{WHOLE_FAILED}'"),
)
"""Items that failed, items with failed segments, and items without the answer about the whole."""
add_failed_index(import_files, import_files.c.job_id, FILE_FAILED)
add_failed_index(run_items, run_items.c.run_id, ITEM_LACKS)
add_part_index(import_files, "reasons", FILE_FAILED, *(import_files.c[name] for name in _FILE_REASONS))
add_part_index(run_items, "reasons", ITEM_LACKS, *(run_items.c[name] for name in _ITEM_REASONS))
add_part_index(run_items, "lacking", ITEM_LACKS, run_items.c.run_id, run_items.c.media_id)
for _name, _status in (("failures", FAILED), ("skips", SKIPPED)):
    add_part_index(
        import_files, _name, import_files.c.status == _status, import_files.c.job_id, import_files.c.key
    )
for _table in (import_jobs, prompt_runs, exports):
    add_under_way_index(_table)
