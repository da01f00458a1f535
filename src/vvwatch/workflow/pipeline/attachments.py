"""Attachments: fetch the file of an import from another host, then import it like any other.

These are two jobs: a host that hangs delays other downloads, but no import. A file counts only when it is complete
and its row says so; after a crash the download starts again.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Final

from anyio import to_thread

from vvwatch.errors import AttachmentRefused
from vvwatch.ports import Job
from vvwatch.providers.local.uploads import Arriving
from vvwatch.senders.downloads import Download, Downloads
from vvwatch.store.db.database import Database
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.imports import attachments
from vvwatch.store.imports.attachments import Attachment
from vvwatch.store.imports.imports import FileWork
from vvwatch.workflow.pipeline.uploads import Uploads

_PIECE_BYTES: Final = 1 << 20
_LOOK_SECONDS: Final = 10.0


class Attachments:
    """Fetches attachments into the uploads of this node."""

    def __init__(self, database: Database, box: SecretBox, uploads: Uploads, downloads: Downloads) -> None:
        self._database = database
        self._box = box
        self._uploads = uploads
        self._downloads = downloads

    async def fetch(self, job: Job, work: FileWork) -> bool:
        """Fetch the file unless that is done, and queue its import; return whether it was fetched.

        Raises AttachmentRefused, AttachmentUnavailable, MachineShortage.
        """
        origin = work.file.origin
        if work.file.version or not origin:
            return False
        with self._uploads.holding(work.job.id):
            await self._fetch(job, work, origin)
        return True

    async def clear(self, job_id: str) -> None:
        """Remove the uploaded or fetched files of an ended job that became no media."""
        await self._uploads.clear(job_id)

    async def _fetch(self, job: Job, work: FileWork, origin: dict[str, Any]) -> None:
        attachment = attachments.open_attachment(self._box, origin)
        async with self._uploads.arriving() as arriving:
            async with self._downloads.file(attachment.download_url) as download:
                name = _name_file(attachment, download)
                await _fill_file(arriving, self._read_while_awaited(job, download.pieces))
            if not await self._database.read(attachments.is_awaited, job):
                return
            if not arriving.size_bytes:
                raise AttachmentRefused("the file is empty", "look at its address")
            obj = await self._uploads.place(arriving, f"{work.job.id}/{work.file.ordinal}/{name}")
            await self._database.write(attachments.note_fetched, job, obj)

    async def _read_while_awaited(self, job: Job, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the pieces while this job still fetches them: people cancel when a host is slow."""
        looked = time.monotonic()
        async for piece in pieces:
            if time.monotonic() - looked >= _LOOK_SECONDS:
                if not await self._database.read(attachments.is_awaited, job):
                    return
                looked = time.monotonic()
            yield piece


def _name_file(attachment: Attachment, download: Download) -> str:
    name = attachments.choose_file_name(attachment, download.content_type)
    if name is None:
        kind = download.content_type.partition(";")[0] or "no type"
        hint = "name its format: file_name or mime_type"
        raise AttachmentRefused(f"the file has no known format ({kind[:80]!r})", hint)
    return name


async def _fill_file(arriving: Arriving, pieces: AsyncIterator[bytes]) -> None:
    waiting = bytearray()
    async for piece in pieces:
        waiting += piece
        if len(waiting) >= _PIECE_BYTES:
            await to_thread.run_sync(arriving.write, waiting)
            waiting = bytearray()
    await to_thread.run_sync(arriving.write, waiting)
