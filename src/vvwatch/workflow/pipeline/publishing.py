"""Publish the files of an export with options: data, then the manifest, then `_SUCCESS`, then `latest.json`.

Each name is recorded as our output before it is written, so no automation imports it. A file that an earlier attempt
left is taken over if it is equal or the whole export was complete, and replaced if it is ours; nothing of others is.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import anyio.to_thread

from vvwatch import private_files
from vvwatch.core.events import canonical_json, to_iso
from vvwatch.core.exports import ExportOptions, check_subpath
from vvwatch.errors import Conflict, NotFound, ObjectChanged, ObjectExists, ObjectNotFound
from vvwatch.ports import Job, Storage, WriteResult
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database
from vvwatch.store.delivery import exports
from vvwatch.store.delivery.exports import MOST_FILES, ExportWork
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.delivery import Export
from vvwatch.store.models.runs import RunItemWithMedia
from vvwatch.store.watching import ledger
from vvwatch.workflow.pipeline.export_files import BuiltFile, LeftOut
from vvwatch.workflow.pipeline.reading import Reading

MANIFEST_SCHEMA_ID: Final = "vvwatch-manifest/2"
LATEST_SCHEMA_ID: Final = "vvwatch-latest/1"

_JSON: Final = "application/json"
_LARGEST_PARSED: Final = 64 << 20
_LARGEST_POINTER: Final = 65_536
_POINTER_TRIES: Final = 20


@dataclass
class Manifest:
    """The manifest under way, in a local file; beside it a file of what is left out, joined at the end."""

    path: Path
    export: Export
    files: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"files": 0, "left_out": 0})

    def __post_init__(self) -> None:
        self._rest = self.path.with_suffix(".rest")
        self._file = _open_private(self.path)
        self._left_out = _open_private(self._rest)
        self._file.write(manifest_head(self.export))

    def add(self, found: dict[str, Any]) -> None:
        """Add a file."""
        if len(self.files) < MOST_FILES:
            self.files.append(found)
        self._append(self._file, "files", found)

    def leave_out(self, what: LeftOut) -> None:
        """Add a file that is not part of the export."""
        found = {"run_id": what.run_id, "video_id": what.video_id, "key": what.key, "format": what.format}
        self._append(self._left_out, "left_out", {**found, "why": what.why})

    def end(self) -> Path:
        """Complete the manifest; return its path."""
        self._left_out.close()
        with self._file as file, self._rest.open("rb") as rest:
            file.write(b'],"left_out":[')
            shutil.copyfileobj(rest, file)
            file.write(b"]}\n")
        return self.path

    def remove(self) -> None:
        """Delete the local files."""
        self._file.close()
        self._left_out.close()
        self.path.unlink(missing_ok=True)
        self._rest.unlink(missing_ok=True)

    def _append(self, file: BinaryIO, name: str, found: dict[str, Any]) -> None:
        file.write((b"," if self.counts[name] else b"") + canonical_json(found))
        self.counts[name] += 1


def manifest_head(export: Export) -> bytes:
    """Return the start of the export's manifest, which no other export has."""
    head = {
        "schema": MANIFEST_SCHEMA_ID,
        "export_id": export.id,
        "export_type": export.export_type,
        "index_id": export.index_id,
        "run_id": export.run_id,
        "generated_at": to_iso(export.created_at),
    }
    return canonical_json(head)[:-1] + b',"files":['


def _open_private(path: Path) -> BinaryIO:
    return open(path, "wb", opener=lambda name, _: private_files.recreate_private(Path(name)))


@dataclass(frozen=True, slots=True)
class Published:
    """A published export: its manifest, and its first files."""

    manifest: WriteResult
    files: list[dict[str, Any]] | None


class Publisher:
    """Publishes one export to its connector; `folder` holds local files whose names begin with the export's id."""

    def __init__(
        self, database: Database, reading: Reading, job: Job, work: ExportWork, folder: Path
    ) -> None:
        self._database = database
        self._reading = reading
        self._job = job
        self._export = work.export
        self._draft = folder / f"{work.export.id}.manifest.draft"
        self._connectors: dict[str, Connector | None] = {}
        row = work.export
        parts = check_subpath(row.destination_base_path), check_subpath(row.destination_subpath)
        self._root = "".join(f"{part}/" for part in parts if part)
        self._pointer = f"{self._root}latest.json"

    async def publish(
        self, storage: Storage, options: ExportOptions, files: Iterator[BuiltFile | LeftOut]
    ) -> Published:
        """Publish all. `files` blocks. Raises ObjectExists where something of others has a name of the export."""
        mine = f"{self._root}{self._export.id}/"
        manifest, success, latest = f"{mine}manifest.json", f"{mine}_SUCCESS", self._pointer
        uris = [storage.uri(key) for key in (manifest, success, *([latest] if options.latest else []))]
        await self._database.write(ledger.claim_outputs, uris, self._export.id)
        published = await self._adopt(storage, manifest) or await self._publish_files(
            storage, manifest, files
        )
        await self._write_text(storage, success, b"", "text/plain")
        if options.latest:
            await self._move_pointer(storage, latest)
        return published

    async def _publish_files(
        self, storage: Storage, manifest: str, files: Iterator[BuiltFile | LeftOut]
    ) -> Published:
        draft = await anyio.to_thread.run_sync(Manifest, self._draft, self._export)
        try:
            while (found := await anyio.to_thread.run_sync(next, files, None)) is not None:
                await self._publish_file(storage, draft, found)
            path = await anyio.to_thread.run_sync(draft.end)
            written = await storage.write(manifest, path, content_type=_JSON)
        finally:
            draft.remove()
        return Published(written, draft.files)

    async def _publish_file(self, storage: Storage, draft: Manifest, found: BuiltFile | LeftOut) -> None:
        if isinstance(found, LeftOut):
            draft.leave_out(found)
            return
        try:
            if found.beside is None:
                await self._write(storage, self._root + found.name, found)
                draft.add({**found.describe(), "name": self._root + found.name})
            else:
                await self._publish_sidecar(draft, found, found.beside)
        finally:
            found.path.unlink(missing_ok=True)

    async def _write(self, storage: Storage, key: str, found: BuiltFile) -> None:
        """Write a file to a name that only this export can have; replace what an earlier attempt left there."""
        is_ours = await self._claim(storage, key)
        try:
            await storage.write(key, found.path, content_type=found.content_type)
        except ObjectExists:
            if not is_ours:
                await self._release(storage, key)
                raise
            if not await self._database.read(exports.is_current, self._job):
                raise
            await storage.delete(key, (await storage.stat(key)).version)
            await storage.write(key, found.path, content_type=found.content_type)

    async def _claim(self, storage: Storage, key: str) -> bool:
        """Record the name as our output; return whether an earlier attempt of this export did."""
        uri = storage.uri(key)
        before = await self._database.read(ledger.find_claims, [uri])
        if uri not in before:
            await self._database.write(ledger.claim_outputs, [uri], self._export.id)
        return before.get(uri) == self._export.id

    async def _release(self, storage: Storage, key: str) -> None:
        """Forget the claim: the object there is somebody else's, and may be an input."""
        await self._database.write(ledger.release_outputs, [storage.uri(key)], self._export.id)

    async def _publish_sidecar(self, draft: Manifest, found: BuiltFile, item: RunItemWithMedia) -> None:
        connector = await self._find_connector(item.media_connector_id)
        if connector is None or "export" not in connector.scopes:
            why = f"the connector {item.media_connector_id!r} of the source does not have the scope 'export'"
            draft.leave_out(LeftOut(item.run_id, item.media_id, item.media_key, found.format, why))
            return
        storage = await self._reading.storage(connector)
        key = await self._place_sidecar(storage, found)
        draft.add({**replace(found, name=key).describe(), "connector_id": connector.id})

    async def _place_sidecar(self, storage: Storage, found: BuiltFile) -> str:
        """Write the file beside its source; return its key, which is the spare one if another file has the name."""
        if found.name != self._pointer and await self._is_free(storage, found.name):
            is_ours = await self._claim(storage, found.name)
            try:
                await storage.write(found.name, found.path, content_type=found.content_type)
            except ObjectExists:  # of somebody else, or of an attempt before the results changed
                if not is_ours:
                    await self._release(storage, found.name)
            else:
                return found.name
        await self._write(storage, found.spare_name, found)
        return found.spare_name

    async def _is_free(self, storage: Storage, key: str) -> bool:
        """Return whether the name is this export's, or nobody's and nothing exists there."""
        uri = storage.uri(key)
        owner = (await self._database.read(ledger.find_claims, [uri])).get(uri)
        return owner == self._export.id if owner else await _find_version(storage, key) is None

    async def _find_connector(self, connector_id: str | None) -> Connector | None:
        if connector_id is not None and connector_id not in self._connectors:
            try:
                self._connectors[connector_id] = await self._database.read(
                    catalog.get_connector, connector_id
                )
            except NotFound:
                self._connectors[connector_id] = None
        return None if connector_id is None else self._connectors[connector_id]

    async def _adopt(self, storage: Storage, key: str) -> Published | None:
        """Return the export if an earlier attempt completed it; its manifest says so."""
        version = await _find_version(storage, key)
        if version is None:
            return None
        digest, start, size_bytes = hashlib.sha256(), bytearray(), 0
        async with storage.stream(key, version) as pieces:
            async for piece in pieces:
                digest.update(piece)
                size_bytes += len(piece)
                if len(start) < _LARGEST_PARSED:
                    start += piece
        if not start.startswith(manifest_head(self._export)):
            raise ObjectExists(f"another manifest exists at {key!r}", "remove it, and retry the export")
        files = None
        if len(start) == size_bytes:
            files = (await anyio.to_thread.run_sync(json.loads, start))["files"][:MOST_FILES]
        return Published(WriteResult(storage.uri(key), size_bytes, digest.hexdigest(), version), files)

    async def _write_text(self, storage: Storage, key: str, data: bytes, content_type: str) -> None:
        await anyio.to_thread.run_sync(private_files.write_private, self._draft, data)
        try:
            await storage.write(key, self._draft, content_type=content_type)
        finally:
            self._draft.unlink(missing_ok=True)

    async def _move_pointer(self, storage: Storage, key: str) -> None:
        """Let the pointer lead to this export unless it leads to a newer one. Another writer's is read again."""
        row = self._export
        pointer = {
            "schema": LATEST_SCHEMA_ID,
            "export_id": row.id,
            "index_id": row.index_id,
            "run_id": row.run_id,
            "generated_at": to_iso(row.created_at),
            "manifest": f"{row.id}/manifest.json",
        }
        for left in reversed(range(_POINTER_TRIES)):
            version = await _find_version(storage, key)
            try:
                if version is not None:
                    if _is_newer(await _read_pointer(storage, key, version), pointer):
                        return
                    await storage.delete(key, version)
                await self._write_text(storage, key, canonical_json(pointer) + b"\n", _JSON)
            except (ObjectChanged, ObjectExists, ObjectNotFound):
                if not left:
                    raise
            else:
                return


async def _find_version(storage: Storage, key: str) -> str | None:
    try:
        return (await storage.stat(key)).version
    except ObjectNotFound:
        return None


async def _read_pointer(storage: Storage, key: str, version: str) -> dict[str, Any]:
    """Return the pointer. Raises Conflict if the object is something else."""
    async with storage.stream(key, version, 0, _LARGEST_POINTER) as pieces:
        data = b"".join([piece async for piece in pieces])
    try:
        found = json.loads(data)
        if found["schema"] == LATEST_SCHEMA_ID:
            return {"generated_at": str(found["generated_at"]), "export_id": str(found["export_id"])}
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    raise Conflict(f"something else exists at {key!r}", "remove it, and retry the export")


def _is_newer(there: dict[str, Any], pointer: dict[str, Any]) -> bool:
    """Return whether the pointer that is there leads to this export or a newer one."""
    return bool(_moment_of(there) >= _moment_of(pointer))


def _moment_of(pointer: dict[str, Any]) -> tuple[str, str]:
    return pointer["generated_at"], pointer["export_id"]
