"""Export: build one JSON artefact from a run's results and deliver it under a name reserved beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
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
from vvwatch.workflow.documents import MOST_BYTES, Document, abandoned
from vvwatch.workflow.keeping import kept
from vvwatch.workflow.reading import Reading, expected

_ITEMS_PER_PAGE = 50
_SEGMENTS_PER_PAGE = 2_000
_EXPORTS_AT_ONCE = 500
_JSON = "application/json"


class Exports:
    """Builds artefacts in `folder` and delivers them; `most_bytes` bounds each file that is for download."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        reading: Reading,
        folder: Path,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._reading = reading
        self._folder = folder
        self._most_bytes = most_bytes
        self._rebuilding = anyio.Lock()

    def prepare(self) -> None:
        """Make the folder; what a dead process was writing there is of no use to anybody."""
        self._folder.mkdir(exist_ok=True, mode=0o700)
        for path in self._folder.iterdir():
            if path.suffix != ".json":
                path.unlink()

    async def sweep(self) -> int:
        """Remove the documents of exports that are gone with their index; returns how many files."""
        paths = await anyio.to_thread.run_sync(lambda: list(self._folder.glob("*.json")))
        ids = sorted({path.name.partition(".")[0] for path in paths})
        known: set[str] = set()
        for start in range(0, len(ids), _EXPORTS_AT_ONCE):
            known |= await self._database.read(exports.known, ids[start : start + _EXPORTS_AT_ONCE])
        strays = [path for path in paths if path.name.partition(".")[0] not in known]
        await anyio.to_thread.run_sync(_remove, strays)
        return len(strays)

    async def export(self, job: Job) -> None:
        """Handle one export."""
        work = await self._database.write(exports.begin, job)
        if work is None:
            return
        try:
            parts = await self._built(work)
            written = parts[0]
            if work.connector is not None:
                written = await self._delivered(work, work.connector)
        except Exception as failure:  # noqa: BLE001  # one export's trouble must not go on for ever
            error = failure if isinstance(failure, OSError) else expected(job, failure)
            await self._failed(job, work, error)
            return
        delivered = work.connector is not None
        ended = await kept(
            self._database, self._clock, exports.finish, job, written, delivered=delivered, parts=parts
        )
        if ended is not None:
            self._telemetry.emit(
                "export.finished",
                export=work.export.id,
                run=work.export.run_id or "",
                uri=written.uri if delivered else "",
                size_bytes=written.size_bytes,
            )
        if delivered:
            self._path(work.export.id).unlink(missing_ok=True)

    async def document(self, export: sa.Row[Any], part: int = 1) -> Path:
        """The file of a completed export that is for download; when another node has it, it is built here again.

        Of one in several parts, the one with this number. Raises Conflict when what it was built from is no longer
        there.
        """
        path = self._path(export.id, part)
        size_bytes = export.parts[part - 1]["size_bytes"] if export.parts else export.file_size_bytes
        if not await anyio.to_thread.run_sync(_is_there, path, size_bytes):
            async with self._rebuilding:
                if not _is_there(path, size_bytes):
                    await self._rebuild(export)
        return path

    async def _rebuild(self, export: sa.Row[Any]) -> None:
        built = await self._built(await self._database.read(exports.again, export.id))
        digests = [part["sha256"] for part in export.parts or ({"sha256": export.sha256},)]
        if [written.sha256 for written in built] != digests:
            for number in range(1, len(built) + 1):
                self._path(export.id, number).unlink()
            raise Conflict(
                f"the document of export {export.id!r} is gone",
                "it is not in this node's state directory, and the results have changed since; export anew",
            )

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

    def _path(self, export_id: str, part: int = 1) -> Path:
        return self._folder / f"{export_id}{f'.{part}' if part > 1 else ''}.json"

    async def _built(self, work: ExportWork) -> list[Written]:
        """The artefact's bytes depend on the database alone, so building again gives the same bytes."""
        document = await anyio.to_thread.run_sync(self._begun, work)
        with abandoned(document):
            for run in work.runs:
                after = 0
                while page := await self._database.read(_page, run.id, after):
                    await anyio.to_thread.run_sync(_add, document, run, page)
                    after = page[-1][0].id
            return await anyio.to_thread.run_sync(document.end)

    def _begun(self, work: ExportWork) -> Document:
        """What a connector takes may have any size, and is one file."""
        head = artifact.document_head(work.export, work.runs)
        most_bytes = self._most_bytes if work.connector is None else None
        return Document(partial(self._path, work.export.id), head, most_bytes)

    async def _delivered(self, work: ExportWork, connector: sa.Row[Any]) -> Written:
        storage: Storage = await self._reading.storage(connector)
        row = work.export
        key = destination_key(row.destination_base_path, row.destination_subpath, row.id)
        last = manifest_key(key)
        await self._database.write(ledger.claim_outputs, [storage.uri(key), storage.uri(last)], row.id)
        written = await storage.write(key, self._path(row.id), content_type=_JSON)
        path = self._path(row.id).with_suffix(".manifest")
        document = artifact.manifest(row, base_name(key), written.size_bytes, written.sha256)
        await anyio.Path(path).write_bytes(canonical_json(document) + b"\n")
        await storage.write(last, path, content_type=_JSON)
        path.unlink()
        return written


_Item = tuple[sa.Row[Any], Sequence[sa.Row[Any]]]


def _page(tx: Tx, run_id: str, after: int) -> list[_Item]:
    """The next items with their segments: as many as have few together, but one at least."""
    page: list[_Item] = []
    segments = 0
    for row in exports.items(tx, run_id, after, _ITEMS_PER_PAGE):
        segments += row.segment_count
        if page and segments > _SEGMENTS_PER_PAGE:
            break
        page.append((row, exports.segments(tx, row.id)))
    return page


def _add(document: Document, run: sa.Row[Any], page: Sequence[_Item]) -> None:
    for row, segments in page:
        document.add(artifact.media_document(run, row, segments))


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _is_there(path: Path, size_bytes: int) -> bool:
    return path.exists() and path.stat().st_size == size_bytes
