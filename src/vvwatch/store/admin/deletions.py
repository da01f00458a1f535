"""Deletions: an index or a media item is out of sight at once, and what hangs on it goes in pieces.

What is under way records nothing more; then rows go, those first that refer to others, so that all promises of a sound
database hold in between (see `invariants`). Each step looks for what is left: a deletion goes on wherever it broke off.

Of an index nothing stays but the fact: what it was made of is new to another index. A media item keeps its row, without
findings: import job and runs that counted it add up, and the ledger knows the object still, so no sweep brings it back.
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
    """The deletion of the index or video; raises NotFound when nobody deleted it."""
    found = _find(tx, resource, identifier)
    if found is None:
        raise NotFound(f"{resource}_deletion", identifier, f"DELETE the {resource} to begin one")
    return found


def _find(tx: Tx, resource: str, identifier: str) -> Deletion | None:
    wanted = deletions.c.resource == resource, deletions.c.resource_id == identifier
    return first_of(Deletion, tx.execute(sa.select(deletions).where(*wanted)))


def delete_index(tx: Tx, index_id: str) -> Deletion:
    """Begin to delete the index, or tell how far that has come: its automations stand still from now on.

    Raises NotFound, or Conflict for the playground, and when the configuration file owns it or an automation of it.
    """
    found = _find(tx, INDEX, index_id)
    if found is not None:
        return found
    _require_own(tx, catalog.require_own_index(tx, index_id, _DECLARED_HINT))
    begun = _begin(tx, INDEX, index_id)
    _stop_automations(tx, index_id)
    return begun


def _require_own(tx: Tx, index: sa.Row[Any]) -> None:
    for table in (import_automations, export_automations):
        declared = table.c.index_id == index.id, table.c.declared
        automation = tx.first(sa.select(table).where(*declared))
        if automation is not None:
            raise Conflict(
                f"automation {automation.id!r} of index {index.id!r} is read-only here", _DECLARED_HINT
            )


def delete_video(tx: Tx, video_id: str) -> Deletion:
    """Begin to delete the media item, or tell how far that has come.

    Where a run still has it to process, that fails there, and the run goes on without. Raises NotFound.
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
    """Of two that begin at once, the second finds what the first began."""
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
    """Deletions that have not ended, oldest first."""
    chosen = sa.select(deletions).where(_is_not_deleted()).order_by(deletions.c.id)
    return models_of(Deletion, tx.all(chosen))


def _is_not_deleted() -> sa.ColumnElement[bool]:
    """As the index on them says it."""
    return deletions.c.status != sa.literal("deleted", literal_execute=True)


def is_unfinished(tx: Tx, deletion: Deletion) -> bool:
    """Whether it has not ended. When another node has ended it, what has the id now may be something new."""
    return (
        tx.first(sa.select(deletions.c.id).where(deletions.c.id == deletion.id, _is_not_deleted()))
        is not None
    )


def stop_work(tx: Tx, deletion: Deletion) -> None:
    """Let nothing of it be put again, and what works on it record nothing more; from here on rows go.

    Nothing happens when it has ended meanwhile.
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
    """Whether this moved it on: another node may have done so before."""
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
    """Also those of other indexes that have its media to process."""
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
    """Move the fence of the pieces that the engine has: as few as their wholes' shares are."""
    held = whole.in_(ids), table.c.next_at.is_not(None)
    moved = {"revision": table.c.revision + 1, "next_at": None, **values}
    tx.execute(sa.update(table).where(*held).values(moved))


def finish(tx: Tx, deletion: Deletion) -> None:
    """Nothing hangs on it any more: it is deleted."""
    ended = _change_status(tx, deletion, DeletionStatus.DELETING, DeletionStatus.DELETED, completed_at=tx.now)
    if ended and deletion.resource == INDEX:
        tx.execute(sa.delete(indexes).where(indexes.c.id == deletion.resource_id))
