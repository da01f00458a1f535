"""Export: build one JSON artefact from a run's results and deliver it under a name reserved beforehand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from vvwatch import private_files
from vvwatch.core.events import canonical_json
from vvwatch.core.exports import ExportOptions, destination_key, manifest_key
from vvwatch.core.objects import base_name
from vvwatch.core.shortages import own_shortage, shortage_in
from vvwatch.errors import Conflict, MachineShortage, ObjectExists, ObjectNotFound, VvwatchError
from vvwatch.ports import Clock, Job, Storage, WriteResult
from vvwatch.store.db.database import Database
from vvwatch.store.delivery import exports
from vvwatch.store.delivery.exports import ExportWork
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.delivery import Export, ExportedRun
from vvwatch.store.watching import ledger
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline import artifact
from vvwatch.workflow.pipeline.documents import MOST_BYTES, Document, abandon_on_error
from vvwatch.workflow.pipeline.export_files import FileBuilder, LoadedItem, load_page
from vvwatch.workflow.pipeline.packaging import Package, package_files
from vvwatch.workflow.pipeline.publishing import Publisher
from vvwatch.workflow.pipeline.reading import Reading, to_known_error
from vvwatch.workflow.pipeline.writes import write_until_committed

_EXPORTS_AT_ONCE = 500
_MOST_MANIFEST_BYTES = 65_536
_JSON = "application/json"
_SHORTAGE_SECONDS = 30.0
_KEPT = {".json", ".download"}
"""The suffixes of complete files."""


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
        """Create the folder; delete what a dead process left incomplete, such as the folder of a table."""
        private_files.make_private_folder(self._folder)
        for path in self._folder.iterdir():
            if path.suffix not in _KEPT:
                private_files.remove_anything(path)

    async def remove_orphans(self) -> int:
        """Remove the documents of exports that were delivered or deleted; return the number of files."""
        paths = await anyio.to_thread.run_sync(self._list_documents)
        ids = sorted({path.name.partition(".")[0] for path in paths})
        needed: set[str] = set()
        for start in range(0, len(ids), _EXPORTS_AT_ONCE):
            some = ids[start : start + _EXPORTS_AT_ONCE]
            needed |= await self._database.read(exports.find_with_documents, some)
        orphans = [path for path in paths if path.name.partition(".")[0] not in needed]
        await anyio.to_thread.run_sync(_remove_files, orphans)
        return len(orphans)

    def _list_documents(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if path.suffix in _KEPT]

    async def export(self, job: Job) -> None:
        """Handle one export."""
        work = await self._database.write(exports.begin, job)
        if work is None:
            return
        parts: list[WriteResult] = []
        files: list[dict[str, Any]] | None = None
        try:
            if work.export.options is not None:
                written, files = await self._export_files(job, work, ExportOptions.of(work.export.options))
            else:
                parts = await self._build(work)
                written = parts[0]
                if work.connector is not None:
                    written = await self._deliver(job, work, work.connector)
        except Exception as failure:  # noqa: BLE001  # one export must not fail for ever
            short = own_shortage(failure) if isinstance(failure, OSError) else None
            await self._retry_or_fail(job, work, short or _to_known_error(job, failure))
            return
        delivered = work.connector is not None
        ended = await write_until_committed(
            self._database,
            self._clock,
            exports.finish,
            job,
            written,
            delivered=delivered,
            parts=parts,
            files=files,
        )
        if ended is not None:
            self._telemetry.emit(
                "export.finished",
                export=work.export.id,
                run=work.export.run_id or "",
                uri=written.uri if delivered else "",
                size_bytes=written.size_bytes,
            )

    async def document(self, export: Export, part: int = 1) -> Path:
        """Return the file of a completed export for download; rebuild it here if another node has it.

        `part` is the number of one of several files. Raises Conflict if the results it was built from no longer exist.
        """
        path = self._path(export.id, part) if export.options is None else self._package_path(export.id)
        size_bytes = export.parts[part - 1]["size_bytes"] if export.parts else export.file_size_bytes
        if not await anyio.to_thread.run_sync(_has_size, path, size_bytes):
            async with self._rebuilding:
                if not _has_size(path, size_bytes):
                    await self._rebuild(export)
        return path

    async def _rebuild(self, export: Export) -> None:
        work = await self._database.read(exports.load_work, export.id)
        if export.options is not None:
            built = [(await self._package(work, ExportOptions.of(export.options))).written]
            paths = [self._package_path(export.id)]
        else:
            built = await self._build(work)
            paths = [self._path(export.id, number) for number in range(1, len(built) + 1)]
        digests = [part["sha256"] for part in export.parts or ({"sha256": export.sha256},)]
        if [written.sha256 for written in built] != digests:
            _remove_files(paths)
            raise Conflict(
                f"the document of export {export.id!r} is gone",
                "it is not in this node's state directory, and the results have changed since; export again",
            )

    async def _export_files(
        self, job: Job, work: ExportWork, options: ExportOptions
    ) -> tuple[WriteResult, list[dict[str, Any]] | None]:
        """Build the files of an export with options and publish them; return the manifest, or the file for download."""
        if work.connector is None:
            package = await self._package(work, options)
            return package.written, package.files
        storage = await self._reading.storage(work.connector)
        files = FileBuilder(self._database, work, options, self._folder).build()
        publisher = Publisher(self._database, self._reading, job, work, self._folder)
        published = await publisher.publish(storage, options, files)
        return published.manifest, published.files

    async def _package(self, work: ExportWork, options: ExportOptions) -> Package:
        files = FileBuilder(self._database, work, options, self._folder).build()
        path = self._package_path(work.export.id)
        return await anyio.to_thread.run_sync(package_files, work.export, files, path, self._most_bytes)

    def _package_path(self, export_id: str) -> Path:
        return self._folder / f"{export_id}.download"

    async def _retry_or_fail(self, job: Job, work: ExportWork, error: VvwatchError | OSError) -> None:
        message = error.message if isinstance(error, VvwatchError) else f"{error.strerror}: the artefact"
        transient = isinstance(error, OSError) or error.transient
        attempts = work.export.attempts
        if isinstance(error, MachineShortage):
            again = self._clock.now() + _SHORTAGE_SECONDS
            await self._database.write(exports.retry, job, again, message, counts=False)
            self._telemetry.emit("machine.shortage", reason=error.code, error=error)
            return
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

    async def _build(self, work: ExportWork) -> list[WriteResult]:
        """Build the artefact. Its bytes depend only on the database: unchanged results give the same bytes."""
        document = await anyio.to_thread.run_sync(self._open_document, work)
        with abandon_on_error(document):
            for run in work.runs:
                after = 0
                while page := await self._database.read(load_page, run.id, after):
                    await anyio.to_thread.run_sync(_add_page, document, run, page)
                    after = page[-1][0].id
            return await anyio.to_thread.run_sync(document.end)

    def _open_document(self, work: ExportWork) -> Document:
        """Open the document: one file of any size for a connector."""
        head = artifact.document_head(work.export, work.runs)
        most_bytes = self._most_bytes if work.connector is None else None
        return Document(partial(self._path, work.export.id), head, most_bytes)

    async def _deliver(self, job: Job, work: ExportWork, connector: Connector) -> WriteResult:
        """Write the artefact to the connector; delete the local files in any case."""
        path = self._path(work.export.id)
        manifest = path.with_suffix(".manifest")
        try:
            storage = await self._reading.storage(connector)
            return await self._write_or_adopt(job, work, storage, path, manifest)
        finally:
            _remove_files([path, manifest])

    async def _write_or_adopt(
        self, job: Job, work: ExportWork, storage: Storage, path: Path, manifest: Path
    ) -> WriteResult:
        try:
            return await self._write(work, storage, path, manifest)
        except ObjectExists:
            earlier = await self._adopt_earlier(job, work, storage)
            return earlier or await self._write(work, storage, path, manifest)

    async def _write(self, work: ExportWork, storage: Storage, path: Path, manifest: Path) -> WriteResult:
        row = work.export
        key, last = _choose_keys(row)
        await self._database.write(ledger.claim_outputs, [storage.uri(key), storage.uri(last)], row.id)
        written = await storage.write(key, path, content_type=_JSON)
        text = _build_manifest(row, written.size_bytes, written.sha256)
        await anyio.to_thread.run_sync(private_files.write_private, manifest, text)
        await storage.write(last, manifest, content_type=_JSON)
        return written

    async def _adopt_earlier(self, job: Job, work: ExportWork, storage: Storage) -> WriteResult | None:
        """Return the artefact of an earlier attempt, built before the results changed.

        With its manifest it is complete and counts. Without one it is deleted, and None is returned. Raises
        ObjectExists if another manifest exists there.
        """
        row = work.export
        key, last = _choose_keys(row)
        there = await storage.stat(key)
        document = await _read_object(storage, last)
        if document is None:
            if await self._database.read(exports.is_current, job):
                await storage.delete(key, there.version)
            return None
        digest = _parse_digest(document)
        if document != _build_manifest(row, there.size_bytes, digest):
            raise ObjectExists(f"another manifest exists at {last!r}", "remove it, and retry the export")
        return WriteResult(storage.uri(key), there.size_bytes, digest, there.version)


def _choose_keys(export: Export) -> tuple[str, str]:
    key = destination_key(export.destination_base_path, export.destination_subpath, export.id)
    return key, manifest_key(key)


def _build_manifest(export: Export, size_bytes: int, sha256: str) -> bytes:
    document = artifact.build_manifest(export, base_name(_choose_keys(export)[0]), size_bytes, sha256)
    return canonical_json(document) + b"\n"


def _parse_digest(manifest: bytes) -> str:
    try:
        return str(json.loads(manifest)["files"][0]["sha256"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""


async def _read_object(storage: Storage, key: str) -> bytes | None:
    """Return the start of the object, enough for a whole manifest; None if there is no object."""
    try:
        obj = await storage.stat(key)
        async with storage.stream(key, obj.version, 0, _MOST_MANIFEST_BYTES) as pieces:
            return b"".join([piece async for piece in pieces])
    except ObjectNotFound:
        return None


def _add_page(document: Document, run: ExportedRun, page: Sequence[LoadedItem]) -> None:
    for row, segments, said in page:
        document.add(artifact.media_document(run, row, segments, said))


def _remove_files(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _has_size(path: Path, size_bytes: int | None) -> bool:
    return path.exists() and path.stat().st_size == size_bytes


def _to_known_error(job: Job, failure: Exception) -> VvwatchError | OSError:
    """Return the error, or the shortage of this machine that caused it."""
    error = failure if isinstance(failure, OSError) else to_known_error(job, failure)
    return shortage_in(error) or error
