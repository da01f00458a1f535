"""The state machines: a table from each status to those that may follow it. A final status has no row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vvwatch.core.deliveries import DeliveryStatus
from vvwatch.core.exports import ExportStatus, QueueStatus
from vvwatch.core.imports import TERMINAL as IMPORT_ENDS
from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.core.runs import TERMINAL as RUN_ENDS
from vvwatch.core.runs import ItemStatus, RunStatus
from vvwatch.errors import Conflict

Status = ImportStatus | FileStatus | RunStatus | ItemStatus | ExportStatus | QueueStatus | DeliveryStatus

_FILE_ENDS: Final = frozenset({FileStatus.IMPORTED, FileStatus.FAILED, FileStatus.SKIPPED})
_ITEM_ENDS: Final = frozenset(
    {ItemStatus.COMPLETED, ItemStatus.PARTIAL, ItemStatus.FAILED, ItemStatus.CANCELLED}
)

IMPORT_TRANSITIONS: Final[Mapping[ImportStatus, frozenset[ImportStatus]]] = {
    ImportStatus.PENDING: frozenset({ImportStatus.SCANNING, ImportStatus.IMPORTING}) | IMPORT_ENDS,
    ImportStatus.SCANNING: frozenset({ImportStatus.IMPORTING}) | IMPORT_ENDS,
    ImportStatus.IMPORTING: IMPORT_ENDS,
}
"""The import job: a sealed manifest skips scanning, a job without files skips importing."""

FILE_TRANSITIONS: Final[Mapping[FileStatus, frozenset[FileStatus]]] = {
    FileStatus.WAITING: frozenset({FileStatus.PENDING}) | _FILE_ENDS,
    FileStatus.PENDING: _FILE_ENDS,
}
"""One file; a retryable failure leaves it pending."""

RUN_TRANSITIONS: Final[Mapping[RunStatus, frozenset[RunStatus]]] = {
    RunStatus.PENDING: frozenset({RunStatus.PROCESSING}) | RUN_ENDS,
    RunStatus.PROCESSING: RUN_ENDS,
}
"""The prompt run; one without items ends as it begins."""

ITEM_TRANSITIONS: Final[Mapping[ItemStatus, frozenset[ItemStatus]]] = {
    ItemStatus.PENDING: frozenset({ItemStatus.PROCESSING}) | _ITEM_ENDS,
    ItemStatus.PROCESSING: frozenset({ItemStatus.PENDING}) | _ITEM_ENDS,
}
"""One media item; it returns to pending when another attempt can help."""

EXPORT_TRANSITIONS: Final[Mapping[ExportStatus, frozenset[ExportStatus]]] = {
    ExportStatus.PENDING: frozenset({ExportStatus.PROCESSING, ExportStatus.FAILED}),
    ExportStatus.PROCESSING: frozenset({ExportStatus.PENDING, ExportStatus.COMPLETED, ExportStatus.FAILED}),
}
"""The export; it returns to pending while it waits for another attempt."""

QUEUE_TRANSITIONS: Final[Mapping[QueueStatus, frozenset[QueueStatus]]] = {
    QueueStatus.QUEUED: frozenset({QueueStatus.LEASED, QueueStatus.RUNNING, QueueStatus.DEAD_LETTER}),
    QueueStatus.LEASED: frozenset({QueueStatus.QUEUED, QueueStatus.RUNNING, QueueStatus.FAILED}),
    QueueStatus.RUNNING: frozenset(
        {QueueStatus.QUEUED, QueueStatus.SUCCEEDED, QueueStatus.FAILED, QueueStatus.DEAD_LETTER}
    ),
    QueueStatus.FAILED: frozenset(
        {QueueStatus.QUEUED, QueueStatus.LEASED, QueueStatus.RUNNING, QueueStatus.DEAD_LETTER}
    ),
}
"""The export's work."""

DELIVERY_TRANSITIONS: Final[Mapping[DeliveryStatus, frozenset[DeliveryStatus]]] = {
    DeliveryStatus.PENDING: frozenset({DeliveryStatus.PROCESSING, DeliveryStatus.FAILED}),
    DeliveryStatus.PROCESSING: frozenset(
        {DeliveryStatus.DELIVERED, DeliveryStatus.RETRYING, DeliveryStatus.FAILED}
    ),
    DeliveryStatus.RETRYING: frozenset({DeliveryStatus.PROCESSING, DeliveryStatus.FAILED}),
}
"""A webhook delivery. An attempt cut short by a crash continues as `retrying`."""

_MACHINES: Final[Mapping[type[Status], Mapping[Any, frozenset[Any]]]] = {
    ImportStatus: IMPORT_TRANSITIONS,
    FileStatus: FILE_TRANSITIONS,
    RunStatus: RUN_TRANSITIONS,
    ItemStatus: ITEM_TRANSITIONS,
    ExportStatus: EXPORT_TRANSITIONS,
    QueueStatus: QUEUE_TRANSITIONS,
    DeliveryStatus: DELIVERY_TRANSITIONS,
}


def check_transition(frm: str, to: Status) -> None:
    """Raises Conflict unless `frm` may become `to`; the type of `to` selects the machine."""
    following = _MACHINES[type(to)].get(type(to)(frm), ())
    if to not in following:
        allowed = ", ".join(sorted(following)) or "nothing: it is final"
        raise Conflict(f"what is {frm} cannot become {to}", f"after {frm} may follow {allowed}")
