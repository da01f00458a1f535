"""The files that a run has no results for: its failed items, and what its import job failed or skipped."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.imports import FileStatus
from vvwatch.core.runs import ItemStatus
from vvwatch.store.db.database import Tx
from vvwatch.store.models.delivery import ExportedRun
from vvwatch.store.schema import import_files, media, run_items

_PAGE: Final = 1_000
_NO_RESULTS: Final = (ItemStatus.FAILED, ItemStatus.CANCELLED)
_NAMES: Final = ("status", "video_id", "key", "version", "error_code", "error_message")
_NO_MEDIA: Final = (FileStatus.FAILED, FileStatus.SKIPPED)


def list_failures(tx: Tx, run: ExportedRun, stage: str, after: int) -> list[tuple[int, dict[str, Any]]]:
    """Return the next failures of one `stage`, `import` or `processing`, each with the number to go on after."""
    chosen = _select_imports(run) if stage == "import" else _select_items(run)
    number = import_files.c.id if stage == "import" else run_items.c.id
    rows = tx.all(chosen.where(number > after).order_by(number).limit(_PAGE))
    shared = {"run_id": run.id, "stage": stage}
    return [(row.number, {**shared, **{name: getattr(row, name) for name in _NAMES}}) for row in rows]


def _select_imports(run: ExportedRun) -> sa.Select[Any]:
    table = import_files
    return sa.select(
        table.c.id.label("number"),
        table.c.status,
        sa.null().label("video_id"),
        table.c.key,
        table.c.version,
        table.c.reason.label("error_code"),
        table.c.message.label("error_message"),
    ).where(table.c.job_id == run.import_job_id, table.c.status.in_(_NO_MEDIA))


def _select_items(run: ExportedRun) -> sa.Select[Any]:
    table = run_items
    return (
        sa.select(
            table.c.id.label("number"),
            table.c.status,
            table.c.media_id.label("video_id"),
            media.c.key,
            media.c.version,
            table.c.error_code,
            table.c.error_message,
        )
        .join(media, media.c.id == table.c.media_id)
        .where(table.c.run_id == run.id, table.c.status.in_(_NO_RESULTS))
    )
