"""Rows of import jobs, their files and media, and of objects that their store fails to deliver.

Times are epoch seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ImportJob:
    """An import job, with the rules of what it lists.

    `unlisted`: the skipped files without a row. `retried`: the failed files that are tried again. `attempts`: to list.
    """

    id: str
    index_id: str
    connector_id: str
    automation_id: str | None
    window_id: str | None
    source_kind: str
    source_prefix: str
    file_pattern: str
    recursive: bool
    exclude_patterns: list[str] | None
    min_size_bytes: int | None
    max_size_bytes: int | None
    import_mode: str | None
    status: str
    priority: int
    concurrency: int
    prompt_preset: dict[str, Any] | None
    total_files: int
    imported: int
    failed: int
    skipped: int
    unlisted: int
    bytes_transferred: int
    attempts: int
    run_id: str | None
    execution_status: str
    error_message: str | None
    revision: int
    next_at: float | None
    created_at: float
    started_at: float | None
    completed_at: float | None
    updated_at: float
    retried: int
    dismissed_at: float | None


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file of an import job. `title` is that of its media, `origin` describes an attachment.

    `claimed`: it is in the ledger because of this job. `retried_at`: it failed, and is tried again elsewhere. The last
    `failures`, since `failing_since`, were its object's own. `waits` are attempts that this machine could not make.
    """

    id: int
    job_id: str
    ordinal: int
    key: str
    version: str
    size_bytes: int
    modified_at: float | None
    status: str
    reason: str | None
    message: str | None
    media_id: str | None
    title: str | None
    origin: dict[str, Any] | None
    claimed: bool
    retried_at: float | None
    attempts: int
    failures: int
    failing_since: float | None
    waits: int
    revision: int
    next_at: float | None


@dataclass(frozen=True, slots=True)
class ListedFile(ImportFile):
    """A file that is tried again at `retry_at` if its store did not deliver it, after `tries` tries in vain."""

    tries: int | None
    retry_at: float | None


@dataclass(frozen=True, slots=True)
class ImportedFile(ImportFile):
    """A file with its media."""

    media_id: str
    media_title: str
    media_status: str
    media_duration_seconds: float | None


@dataclass(frozen=True, slots=True)
class Media:
    """A media item and the object that it was made of."""

    id: str
    index_id: str
    connector_id: str
    import_file_id: int | None
    import_job_id: str
    title: str
    uri: str
    key: str
    version: str
    size_bytes: int
    media_type: str
    duration_seconds: float | None
    probe: dict[str, Any] | None
    facts: dict[str, Any] | None
    status: str
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """A version of an object that its store failed to deliver to file `file_id` of job `job_id`.

    It is tried again at `retry_at`, after `tries` tries in vain. `begun_by` is the node that tries it now, whose lease
    then ends at `retry_at`.
    """

    scope_id: int
    key: str
    version: str
    job_id: str
    file_id: int
    automation_id: str | None
    reason: str
    message: str
    tries: int
    first_failed_at: float
    failed_at: float
    retry_at: float | None
    begun_by: str
