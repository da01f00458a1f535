"""What was sent in: kept as long as something names it. Rows come after the file, and go before it.

So whoever dies in between leaves a file that nothing names, never a name without its file; strays are swept when the
daemon starts, and now and then.
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
    """The uploads of this node, which is called `node` where there are others."""

    def __init__(self, database: Database, clock: Clock, folder: UploadsFolder, node: str = "") -> None:
        self.folder = folder
        self._database = database
        self._clock = clock
        self._node = node
        self._held: Counter[str] = Counter()
        self._touched: set[str] = set()
        self._sweeping = anyio.Lock()

    def connector(self, tx: Tx) -> Connector:
        """The connector that these files are opened by."""
        return catalog.ensure_uploads_connector(tx, self._node, str(self.folder.root))

    async def settle(self) -> None:
        """Take note of where the folder is: it moves with the state."""
        await self._database.write(catalog.move_uploads, self._node, str(self.folder.root))

    @asynccontextmanager
    async def job(self) -> AsyncIterator[str]:
        """The id of a job to come: its files are left alone meanwhile, and are gone after it unless it was made."""
        job_id = new_id("job", self._clock.now(), secrets.token_bytes(10))
        with self.holding(job_id):
            try:
                yield job_id
            except StoreError:
                raise  # nobody knows whether it was made: the next sweep does
            except BaseException:
                await self._discard_unmade(job_id)
                raise
            else:
                await self._discard_unmade(job_id)

    @contextmanager
    def holding(self, job_id: str) -> Iterator[None]:
        """Let nobody sweep what belongs to the job."""
        self._held[job_id] += 1
        self._touched.add(job_id)
        try:
            yield
        finally:
            self._held[job_id] -= 1
            self._held += Counter()  # without those that nobody holds

    async def _discard_unmade(self, job_id: str) -> None:
        with anyio.CancelScope(shield=True), suppress(StoreError):
            placed = await to_thread.run_sync(self.folder.has, job_id)
            if placed and not await self._database.read(uploads.is_known, job_id):
                await to_thread.run_sync(self.folder.discard, job_id)

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[Arriving]:
        """A file to be filled; it is gone afterwards unless it was placed."""
        file = await to_thread.run_sync(self.folder.begin)
        try:
            yield file
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(file.discard)

    async def place(self, file: Arriving, key: str) -> StorageObject:
        """Let the file stand at `key` for good."""
        return await to_thread.run_sync(self.folder.place, file, key)

    async def sweep(self) -> int:
        """Remove what nothing names; returns how many files. Raises Conflict when another database may name them."""
        owner = await self._database.read(moving.installation)
        if not await to_thread.run_sync(self.folder.belongs_to, owner):
            raise Conflict(
                f"the files in {self.folder.root} belong to another installation: none is cleared away",
                "give this one a state_dir of its own, or look at database_url",
            )
        removed = 0
        async with self._sweeping:
            job_ids = await to_thread.run_sync(self.folder.job_ids)
            for first in range(0, len(job_ids), _JOBS_AT_ONCE):
                removed += await self._swept(job_ids[first : first + _JOBS_AT_ONCE])
        return removed

    async def clear(self, job_id: str) -> None:
        """Remove what nothing names of a job that ended: files that were refused. What fails is left to a sweep."""
        with suppress(StoreError, OSError):
            files = await to_thread.run_sync(self.folder.files, [job_id])
            wanted = await self._database.read(uploads.list_needed_keys, [job_id]) if files else set()
            for key in files.keys() - wanted:
                await to_thread.run_sync(self.folder.remove, key, files[key])

    async def _swept(self, job_ids: Sequence[str]) -> int:
        """Whoever begins to hold a job after the files were looked for may name one of them that nobody named then."""
        self._touched = set(self._held)
        files = await to_thread.run_sync(self.folder.files, job_ids)
        wanted = await self._database.read(uploads.list_needed_keys, job_ids) if files else set()
        strays = [key for key in files if key not in wanted and key.partition("/")[0] not in self._touched]
        for key in strays:
            await to_thread.run_sync(self.folder.remove, key, files[key])
        return len(strays)
