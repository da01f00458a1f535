"""Delete an index or a media item: accepted at once, carried out in the background.

The resource answers 404 from then on; the deletion's status stays readable forever.
"""

from __future__ import annotations

from typing import Any, Final

from vvwatch.api.http.auditing import Audited
from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.wire import Resource
from vvwatch.core.deletions import DeletionStatus
from vvwatch.core.keys import Scope
from vvwatch.store.admin import deletions
from vvwatch.store.admin.deletions import INDEX, VIDEO
from vvwatch.store.models.admin import Deletion as StoredDeletion

router = resource_router("deletions")

_PAUSE_SECONDS: Final = 1


class Deletion(Resource):
    """The progress of a deletion; `retry_after_seconds` says when to poll again, null when it has finished."""

    deletion_id: str
    status: DeletionStatus
    retry_after_seconds: int | None


class IndexDeletion(Deletion):
    """The deletion of an index."""

    index_id: str


class VideoDeletion(Deletion):
    """The deletion of a media item."""

    video_id: str


def _to_fields(row: StoredDeletion) -> dict[str, Any]:
    ended = row.status == DeletionStatus.DELETED
    pause = None if ended else _PAUSE_SECONDS
    status = DeletionStatus(row.status)
    return {"deletion_id": row.id, "status": status, "retry_after_seconds": pause}


def _to_index_deletion(row: StoredDeletion) -> IndexDeletion:
    return IndexDeletion(index_id=row.resource_id, **_to_fields(row))


def _to_video_deletion(row: StoredDeletion) -> VideoDeletion:
    return VideoDeletion(video_id=row.resource_id, **_to_fields(row))


@router.delete("/indexes/{index_id}", status_code=202, **require(Scope.ADMIN))
async def delete_index(audited: Audited, index_id: str) -> IndexDeletion:
    """Delete an index: its automations stop, its imports and runs end, and all its data goes, including its ledger.

    Exports delivered elsewhere stay. Repeating the request returns the progress.
    """
    return await audited.write(lambda tx: _to_index_deletion(deletions.delete_index(tx, index_id)))


@router.get("/indexes/{index_id}/deletion", **require(Scope.READ))
async def get_index_deletion(context: Context, index_id: str) -> IndexDeletion:
    """Return the progress of an index deletion, even long after."""
    return _to_index_deletion(await context.database.read(deletions.find, INDEX, index_id))


@router.delete("/videos/{video_id}", status_code=202, **require(Scope.ADMIN))
async def delete_video(audited: Audited, video_id: str) -> VideoDeletion:
    """Delete a media item and its results; runs that still have it to process continue without it.

    The source object stays and remains known: only another version of it is imported again. Earlier exports keep the
    item. Repeating the request returns the progress.
    """
    return await audited.write(lambda tx: _to_video_deletion(deletions.delete_video(tx, video_id)))


@router.get("/videos/{video_id}/deletion", **require(Scope.READ))
async def get_video_deletion(context: Context, video_id: str) -> VideoDeletion:
    """Return the progress of a media item's deletion, even long after."""
    return _to_video_deletion(await context.database.read(deletions.find, VIDEO, video_id))
