"""Export: build one JSON artefact from a run's results and deliver it under a name reserved beforehand."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import sqlalchemy as sa

from vvwatch.core import artifact
from vvwatch.core.events import canonical_json
from vvwatch.core.exports import destination_key, manifest_key
from vvwatch.core.objects import base_name
from vvwatch.errors import Conflict, VvwatchError
from vvwatch.ports import Clock, Job, Storage, Written
from vvwatch.store import exports, ledger
from vvwatch.store.database import Database, Tx
from vvwatch.store.exports import ExportWork
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.keeping import kept
from vvwatch.workflow.reading import Reading, expected

_ITEMS_PER_PAGE = 50
_JSON = "application/json"


class Exports:
    """Builds artefacts in `folder` and delivers them."""

    def __init__(
        self, database: Database, clock: Clock, telemetry: Telemetry, reading: Reading, folder: Path
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._reading = reading
        self._folder = folder
        self._rebuilding = anyio.Lock()

    async def export(self, job: Job) -> None:
        """Handle one export."""
        work = await self._database.write(exports.begin, job)
        if work is None:
            return
        try:
            written = await self._built(work)
            if work.connector is not None:
                written = await self._delivered(work, work.connector)
        except Exception as failure:  # noqa: BLE001  # one export's trouble must not go on for ever
            error = failure if isinstance(failure, OSError) else expected(job, failure)
            await self._failed(job, work, error)
            return
        delivered = work.connector is not None
        if (
            await kept(self._database, self._clock, exports.finish, job, written, delivered=delivered)
            is not None
        ):
            self._telemetry.emit(
                "export.finished",
                export=work.export.id,
                run=work.export.run_id or "",
                uri=written.uri if delivered else "",
                size_bytes=written.size_bytes,
            )
        if delivered:
            self._path(work).unlink(missing_ok=True)

    async def document(self, export: sa.Row[Any]) -> Path:
        """The file of a completed export that is for download; when another node has it, it is built here again.

        Raises Conflict when what it was built from is no longer there.
        """
        path = self._folder / f"{export.id}.json"
        async with self._rebuilding:
            if not path.exists():
                written = await self._built(await self._database.read(exports.again, export.id))
                if written.sha256 != export.sha256:
                    path.unlink()
                    raise Conflict(
                        f"the document of export {export.id!r} is gone",
                        "it is not in this node's state directory, and the results have changed since; export anew",
                    )
        return path

    async def _failed(self, job: Job, work: ExportWork, error: VvwatchError | OSError) -> None:
        message = error.message if isinstance(error, VvwatchError) else f"{error.strerror}: the artefact"
        transient = isinstance(error, OSError) or error.transient
        attempts = work.export.attempts
        if transient and attempts < work.export.max_attempts:
            again = self._clock.now() + min(5.0 * 2**attempts, 600.0)
            await self._database.write(exports.retry, job, again, message)
            self._telemetry.emit("export.retried", export=work.export.id, attempt=attempts, error=error)
            return
        await self._database.write(exports.fail, job, message)
        self._telemetry.emit(
            "export.failed", export=work.export.id, run=work.export.run_id or "", error=error
        )

    def _path(self, work: ExportWork) -> Path:
        return self._folder / f"{work.export.id}.json"

    async def _built(self, work: ExportWork) -> Written:
        """The artefact's bytes depend on the database alone, so building again gives the same bytes."""
        path = self._path(work)
        part = path.with_suffix(".part")
        digest = hashlib.sha256()
        async with await anyio.open_file(part, "wb") as file:
            async for piece in self._pieces(work):
                digest.update(piece)
                await file.write(piece)
            await file.flush()
            await anyio.to_thread.run_sync(os.fsync, file.wrapped.fileno())
        size = part.stat().st_size
        part.replace(path)
        return Written("", size, digest.hexdigest())

    async def _pieces(self, work: ExportWork) -> AsyncIterator[bytes]:
        head = canonical_json(artifact.document_head(work.export, work.runs))
        yield head[:-1] + b',"media":['
        first = True
        for run in work.runs:
            after = 0
            while page := await self._database.read(_page, run.id, after):
                for row, segments in page:
                    yield (b"" if first else b",") + canonical_json(
                        artifact.media_document(run, row, segments)
                    )
                    first = False
                after = page[-1][0].id
        yield b"]}\n"

    async def _delivered(self, work: ExportWork, connector: sa.Row[Any]) -> Written:
        storage: Storage = await self._reading.storage(connector)
        row = work.export
        key = destination_key(row.destination_base_path, row.destination_subpath, row.id)
        last = manifest_key(key)
        await self._database.write(ledger.claim_outputs, [storage.uri(key), storage.uri(last)], row.id)
        written = await storage.write(key, self._path(work), content_type=_JSON)
        path = self._path(work).with_suffix(".manifest")
        document = artifact.manifest(row, base_name(key), written.size_bytes, written.sha256)
        await anyio.Path(path).write_bytes(canonical_json(document) + b"\n")
        await storage.write(last, path, content_type=_JSON)
        path.unlink()
        return written


def _page(tx: Tx, run_id: str, after: int) -> list[tuple[sa.Row[Any], list[sa.Row[Any]]]]:
    rows = exports.items(tx, run_id, after, _ITEMS_PER_PAGE)
    return [(row, list(exports.segments(tx, row.id))) for row in rows]
