"""The state machines of an import job and of its files, and how a job ends."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from vvwatch.core import transitions


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

_NOTHING: Final[frozenset[ImportStatus]] = frozenset()
_FILE_ENDS: Final = frozenset({FileStatus.IMPORTED, FileStatus.FAILED, FileStatus.SKIPPED})
_NO_FILE: Final[frozenset[FileStatus]] = frozenset()

TRANSITIONS: Final[Mapping[ImportStatus, frozenset[ImportStatus]]] = {
    ImportStatus.PENDING: frozenset({ImportStatus.SCANNING, ImportStatus.IMPORTING}) | TERMINAL,
    ImportStatus.SCANNING: frozenset({ImportStatus.IMPORTING}) | TERMINAL,
    ImportStatus.IMPORTING: TERMINAL,
    ImportStatus.COMPLETED: _NOTHING,
    ImportStatus.FAILED: _NOTHING,
    ImportStatus.CANCELLED: _NOTHING,
}
"""The import job: a sealed manifest skips scanning, a job without files skips importing."""

FILE_TRANSITIONS: Final[Mapping[FileStatus, frozenset[FileStatus]]] = {
    FileStatus.WAITING: frozenset({FileStatus.PENDING}) | _FILE_ENDS,
    FileStatus.PENDING: _FILE_ENDS,
    FileStatus.IMPORTED: _NO_FILE,
    FileStatus.FAILED: _NO_FILE,
    FileStatus.SKIPPED: _NO_FILE,
}
"""One file; a retryable failure leaves it pending."""


def check_transition(frm: str, to: ImportStatus | FileStatus) -> None:
    """Raises Conflict unless `frm` may become `to`; the type of `to` selects the machine."""
    if isinstance(to, FileStatus):
        transitions.check_status(FILE_TRANSITIONS, FileStatus(frm), to)
    else:
        transitions.check_status(TRANSITIONS, ImportStatus(frm), to)


def job_outcome(total: int, imported: int, failed: int, skipped: int) -> tuple[ImportStatus, str]:
    """Return the final status of a job whose files have all ended, and its event.

    A job fails only if it had files to import and all of them failed; skipped files are no failure.
    """
    if failed and not imported and failed + skipped == total:
        return ImportStatus.FAILED, "import_job.failed"
    if failed:
        return ImportStatus.COMPLETED, "import_job.partial_completed"
    return ImportStatus.COMPLETED, "import_job.completed"
