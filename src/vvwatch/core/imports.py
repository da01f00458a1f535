"""The statuses of an import job and of its files, and how a job ends."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ImportStatus(StrEnum):
    """The state of an import job."""

    PENDING = "pending"
    SCANNING = "scanning"
    IMPORTING = "importing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class FileStatus(StrEnum):
    """The state of one file of an import job; `waiting` until its window closes."""

    WAITING = "waiting"
    PENDING = "pending"
    IMPORTED = "imported"
    FAILED = "failed"
    SKIPPED = "skipped"


TERMINAL: Final = frozenset({ImportStatus.COMPLETED, ImportStatus.FAILED, ImportStatus.CANCELLED})
"""The statuses in which a job has ended."""


def job_outcome(total: int, imported: int, failed: int, skipped: int) -> tuple[ImportStatus, str]:
    """Return the final status of a job whose files have all ended, and its event.

    A job fails only if it had files to import and all of them failed; skipped files are no failure.
    """
    if failed and not imported and failed + skipped == total:
        return ImportStatus.FAILED, "import_job.failed"
    if failed:
        return ImportStatus.COMPLETED, "import_job.partial_completed"
    return ImportStatus.COMPLETED, "import_job.completed"
