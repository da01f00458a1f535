"""Uploaded files: kept while a row names them. A row is added after its file and removed before it.

A crash in between leaves an orphan, never a row without its file. Orphans are removed when the daemon starts, and
periodically.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import anyio
from anyio import to_thread

from vvwatch.core.identities import new_id
from vvwatch.core.objects import StorageObject
from vvwatch.errors import Conflict, StoreError
from vvwatch.ports import Clock
from vvwatch.providers.local.uploads import Arriving, UploadsFolder
from vvwatch.store.admin import moving
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.imports import uploads
from vvwatch.store.models.catalog import Connector

_JOBS_AT_ONCE: Final = 200


class Uploads:
    """The uploads of this node, which is called `node` if there are others."""

    def __init__(self, database: Database, clock: Clock, folder: UploadsFolder, node: str = "") -> None:
        self.folder = folder
        self._database = database
        self._clock = clock
        self._node = node
        self._held: Counter[str] = Counter()
        self._touched: set[str] = set()
        self._removing = anyio.Lock()

    def connector(self, tx: Tx) -> Connector:
        """Return the connector of these files; create it if needed."""
        return catalog.ensure_uploads_connector(tx, self._node, str(self.folder.root))

    async def settle(self) -> None:
        """Record the folder's path, which moves with the state directory."""
        await self._database.write(catalog.move_uploads, self._node, str(self.folder.root))

    @asynccontextmanager
    async def job(self) -> AsyncIterator[str]:
        """Yield the id of a future job; keep its files meanwhile, and delete them unless the job was created."""
        job_id = new_id("job", self._clock.now(), secrets.token_bytes(10))
        with self.holding(job_id):
            try:
                yield job_id
            except StoreError:
                raise  # it may have been created: removing orphans decides later
            except BaseException:
                await self._discard_unmade(job_id)
                raise
            else:
                await self._discard_unmade(job_id)

    @contextmanager
    def holding(self, job_id: str) -> Iterator[None]:
        """Keep the files of the job during the block."""
        self._held[job_id] += 1
        self._touched.add(job_id)
        try:
            yield
        finally:
            self._held[job_id] -= 1
            self._held += Counter()  # drops counts of zero

    async def _discard_unmade(self, job_id: str) -> None:
        with anyio.CancelScope(shield=True), suppress(StoreError):
            placed = await to_thread.run_sync(self.folder.has, job_id)
            if placed and not await self._database.read(uploads.is_known, job_id):
                await to_thread.run_sync(self.folder.discard, job_id)

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[Arriving]:
        """Yield a file to fill; it is deleted afterwards unless it was placed."""
        file = await to_thread.run_sync(self.folder.begin)
        try:
            yield file
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(file.discard)

    async def place(self, file: Arriving, key: str) -> StorageObject:
        """Move the complete file to `key`; return the object."""
        return await to_thread.run_sync(self.folder.place, file, key)

    async def remove_orphans(self) -> int:
        """Remove orphans; return the number of files. Raises Conflict if another database may own the files."""
        owner = await self._database.read(moving.installation)
        if not await to_thread.run_sync(self.folder.belongs_to, owner):
            raise Conflict(
                f"the files in {self.folder.root} belong to another installation: none is removed",
                "give this one a state_dir of its own, or look at database_url",
            )
        removed = 0
        async with self._removing:
            job_ids = await to_thread.run_sync(self.folder.job_ids)
            for first in range(0, len(job_ids), _JOBS_AT_ONCE):
                removed += await self._remove_some_orphans(job_ids[first : first + _JOBS_AT_ONCE])
        return removed

    async def clear(self, job_id: str) -> None:
        """Remove the refused files of an ended job; failures are left to `remove_orphans`."""
        with suppress(StoreError, OSError):
            files = await to_thread.run_sync(self.folder.files, [job_id])
            wanted = await self._database.read(uploads.list_needed_keys, [job_id]) if files else set()
            for key in files.keys() - wanted:
                await to_thread.run_sync(self.folder.remove, key, files[key])

    async def _remove_some_orphans(self, job_ids: Sequence[str]) -> int:
        """Remove orphans of these jobs, except jobs held since the files were listed: rows may name these now."""
        self._touched = set(self._held)
        files = await to_thread.run_sync(self.folder.files, job_ids)
        wanted = await self._database.read(uploads.list_needed_keys, job_ids) if files else set()
        orphans = [key for key in files if key not in wanted and key.partition("/")[0] not in self._touched]
        for key in orphans:
            await to_thread.run_sync(self.folder.remove, key, files[key])
        return len(orphans)
