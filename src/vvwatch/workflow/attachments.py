"""Attachments: the file of an import that has to be fetched is fetched, then it is imported like any other.

Nothing of it counts before it is whole and its row says so: who dies on the way begins again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from anyio import to_thread

from vvwatch.core.objects import StorageObject
from vvwatch.errors import AttachmentRefused
from vvwatch.ports import Job
from vvwatch.senders.downloads import Download, Downloads
from vvwatch.storage.uploads import Arriving
from vvwatch.store import fetching
from vvwatch.store.database import Database
from vvwatch.store.encryption import SecretBox
from vvwatch.store.fetching import Attachment
from vvwatch.store.imports import FileWork
from vvwatch.workflow.uploads import Uploads

_PIECE_BYTES: Final = 1 << 20


class Attachments:
    """Fetches attachments into the uploads of this node."""

    def __init__(self, database: Database, box: SecretBox, uploads: Uploads, downloads: Downloads) -> None:
        self._database = database
        self._box = box
        self._uploads = uploads
        self._downloads = downloads

    async def ready(self, job: Job, work: FileWork) -> FileWork | None:
        """The work, with its file in place; None when the job is stale by then.

        Raises AttachmentRefused, AttachmentUnavailable, SpoolFull.
        """
        if work.file.version or not work.file.origin:
            return work
        with self._uploads.holding(work.job.id):
            obj = await self._fetched(work)
            file = await self._database.write(fetching.fetched, job, obj)
        return None if file is None else replace(work, file=file)

    async def _fetched(self, work: FileWork) -> StorageObject:
        attachment = fetching.attachment_of(self._box, work.file.origin)
        async with self._uploads.arriving() as arriving:
            async with self._downloads.file(attachment.download_url) as download:
                name = _named(attachment, download)
                await _filled(arriving, download)
            if not arriving.size_bytes:
                raise AttachmentRefused("the file is empty", "look at its address")
            return await self._uploads.place(arriving, f"{work.job.id}/{work.file.ordinal}/{name}")


def _named(attachment: Attachment, download: Download) -> str:
    name = fetching.name_of(attachment, download.content_type)
    if name is None:
        kind = download.content_type.partition(";")[0] or "no type"
        hint = "name its format: file_name or mime_type"
        raise AttachmentRefused(f"the file has no known format ({kind[:80]!r})", hint)
    return name


async def _filled(arriving: Arriving, download: Download) -> None:
    waiting = bytearray()
    async for piece in download.pieces:
        waiting += piece
        if len(waiting) >= _PIECE_BYTES:
            await to_thread.run_sync(arriving.write, waiting)
            waiting = bytearray()
    await to_thread.run_sync(arriving.write, waiting)
