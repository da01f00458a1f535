"""Deletions: an index or a media item disappears at once, and its rows are deleted in pieces.

Work under way records nothing more; then rows go, referring rows first, so that all invariants hold in between (see
`invariants`). Each step looks for what is left, so a deletion resumes wherever it stopped.

Only the deletion itself is kept of an index: the same objects are new to another index. A media item keeps its row
without results: the counts of its import job and runs stay right, and the ledger still knows the object, so no full
scan imports it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core import imports as import_machine
from vvwatch.core import runs as run_machine
from vvwatch.core.deletions import DeletionStatus
from vvwatch.core.imports import ImportStatus
from vvwatch.core.runs import ItemStatus
from vvwatch.errors import Conflict, NotFound
from vvwatch.ports import Job, Kind
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.deleted import require_not_deleted
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import first_of, models_of
from vvwatch.store.models.admin import Deletion
from vvwatch.store.models.catalog import Index
from vvwatch.store.models.runs import Run
from vvwatch.store.runs import course, runs, segment_retries
from vvwatch.store.schema import (
    deletions,
    export_automations,
    import_automations,
    import_files,
    import_jobs,
    indexes,
    media,
    prompt_runs,
    run_items,
)

INDEX: Final = "index"
VIDEO: Final = "video"

_DECLARED_HINT: Final = "it is declared in the configuration file: remove it there and reload"
_UNENDED: Final = (ItemStatus.PENDING, ItemStatus.PROCESSING)


def find(tx: Tx, resource: str, identifier: str) -> Deletion:
    """Return the deletion of the index or video. Raises NotFound if nobody deleted it."""
    found = _find(tx, resource, identifier)
    if found is None:
        raise NotFound(f"{resource}_deletion", identifier, f"DELETE the {resource} to begin one")
    return found


def _find(tx: Tx, resource: str, identifier: str) -> Deletion | None:
    wanted = deletions.c.resource == resource, deletions.c.resource_id == identifier
    return first_of(Deletion, tx.execute(sa.select(deletions).where(*wanted)))


def delete_index(tx: Tx, index_id: str) -> Deletion:
    """Begin to delete the index, or return the deletion under way: its automations stop at once.

    Raises NotFound, or Conflict for the playground, and if the configuration file declares it or an automation of it.
    """
    found = _find(tx, INDEX, index_id)
    if found is not None:
        return found
    _require_own(tx, catalog.require_own_index(tx, index_id, _DECLARED_HINT))
    begun = _begin(tx, INDEX, index_id)
    _stop_automations(tx, index_id)
    return begun


def _require_own(tx: Tx, index: Index) -> None:
    for table in (import_automations, export_automations):
        declared = table.c.index_id == index.id, table.c.declared
        automation = tx.first(sa.select(table).where(*declared))
        if automation is not None:
            raise Conflict(
                f"automation {automation.id!r} of index {index.id!r} is read-only here", _DECLARED_HINT
            )


def delete_video(tx: Tx, video_id: str) -> Deletion:
    """Begin to delete the media item, or return the deletion under way.

    Runs that still have to process it fail that item and go on. Raises NotFound.
    """
    found = _find(tx, VIDEO, video_id)
    if found is not None:
        return found
    row = tx.require(media, VIDEO, video_id)
    require_not_deleted(tx, VIDEO, video_id, row.index_id)
    begun = _begin(tx, VIDEO, video_id)
    _fail_items(tx, video_id)
    return begun


def _begin(tx: Tx, resource: str, identifier: str) -> Deletion:
    """Begin a deletion; of two concurrent calls the second returns what the first began."""
    begun = {"resource": resource, "resource_id": identifier, "created_at": tx.now}
    tx.insert_new(deletions, [{"id": tx.new_id("deletion"), **begun}])
    return find(tx, resource, identifier)


def _fail_items(tx: Tx, video_id: str) -> None:
    wanted = run_items.c.media_id == video_id, run_items.c.status.in_(_UNENDED)
    going = prompt_runs.c.status.not_in(run_machine.TERMINAL)
    chosen = sa.select(run_items.c.id, run_items.c.revision).join(prompt_runs).where(*wanted, going)
    for item in tx.all(chosen.order_by(run_items.c.id)):
        job = Job(Kind.RUN_ITEM, str(item.id), item.revision, tx.now)
        runs.fail_item(tx, job, "video_deleted", "the video was deleted")
    segment_retries.end_retries(tx, media.c.id == video_id)
    tx.update(media, video_id, status="deleted", probe=None, updated_at=tx.now)


def list_unfinished(tx: Tx) -> Sequence[Deletion]:
    """Return unfinished deletions, oldest first."""
    chosen = sa.select(deletions).where(_is_not_deleted()).order_by(deletions.c.id)
    return models_of(Deletion, tx.all(chosen))


def _is_not_deleted() -> sa.ColumnElement[bool]:
    """Return the condition written as the index needs it."""
    return deletions.c.status != sa.literal("deleted", literal_execute=True)


def is_unfinished(tx: Tx, deletion: Deletion) -> bool:
    """Return whether the deletion is unfinished. Once another node ends it, its id may name something new."""
    return (
        tx.first(sa.select(deletions.c.id).where(deletions.c.id == deletion.id, _is_not_deleted()))
        is not None
    )


def stop_work(tx: Tx, deletion: Deletion) -> None:
    """Queue nothing more of it, and make its running work stale; then rows can go.

    Does nothing if it has ended meanwhile.
    """
    if not is_unfinished(tx, deletion):
        return
    if deletion.resource == INDEX:
        _stop_automations(tx, deletion.resource_id)
        _cancel_imports(tx, deletion.resource_id)
        _cancel_runs(tx, deletion.resource_id)
    else:
        _fail_items(tx, deletion.resource_id)
    _change_status(tx, deletion, DeletionStatus.DRAINING, DeletionStatus.DELETING)


def _change_status(
    tx: Tx, deletion: Deletion, frm: DeletionStatus, to: DeletionStatus, **values: Any
) -> bool:
    """Return whether this changed the status: another node may have been first."""
    table = deletions
    moved = sa.update(table).where(table.c.id == deletion.id, table.c.status == frm)
    return bool(tx.execute(moved.values(status=to, **values)).rowcount)


def _stop_automations(tx: Tx, index_id: str) -> None:
    table = import_automations
    stopped = {"enabled": False, "next_at": None, "revision": table.c.revision + 1, "updated_at": tx.now}
    tx.execute(sa.update(table).where(table.c.index_id == index_id, table.c.enabled).values(stopped))
    other = export_automations
    tx.execute(sa.update(other).where(other.c.index_id == index_id, other.c.enabled).values(enabled=False))


def _cancel_imports(tx: Tx, index_id: str) -> None:
    table = import_jobs
    going = table.c.index_id == index_id, table.c.status.not_in(import_machine.TERMINAL)
    ended = {"status": ImportStatus.CANCELLED, "completed_at": tx.now, "updated_at": tx.now}
    changed = sa.update(table).where(*going).values(ended).returning(table.c.id)
    _revoke_pieces(tx, import_files, import_files.c.job_id, tx.execute(changed).scalars().all())


def _cancel_runs(tx: Tx, index_id: str) -> None:
    """Cancel the index's runs, and runs of other indexes that process its media."""
    table = prompt_runs
    has_media = sa.exists().where(
        run_items.c.run_id == table.c.id, media.c.id == run_items.c.media_id, media.c.index_id == index_id
    )
    going = table.c.status.not_in(run_machine.TERMINAL), sa.or_(table.c.index_id == index_id, has_media)
    for run in models_of(Run, tx.all(sa.select(table).where(*going))):
        course.abort(tx, run)
    segment_retries.end_retries(tx, sa.or_(table.c.index_id == index_id, media.c.index_id == index_id))


def _revoke_pieces(
    tx: Tx, table: sa.Table, whole: sa.ColumnElement[str], ids: Sequence[str], **values: Any
) -> None:
    """Move the fence of queued pieces: never more than the shares of their wholes."""
    held = whole.in_(ids), table.c.next_at.is_not(None)
    moved = {"revision": table.c.revision + 1, "next_at": None, **values}
    tx.execute(sa.update(table).where(*held).values(moved))


def finish(tx: Tx, deletion: Deletion) -> None:
    """Mark it deleted: no rows are left."""
    ended = _change_status(tx, deletion, DeletionStatus.DELETING, DeletionStatus.DELETED, completed_at=tx.now)
    if ended and deletion.resource == INDEX:
        tx.execute(sa.delete(indexes).where(indexes.c.id == deletion.resource_id))
