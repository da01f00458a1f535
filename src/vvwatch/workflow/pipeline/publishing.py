"""Publish the files of an export with options: data, then the manifest, then `_SUCCESS`, then `latest.json`.

Each name is recorded as our output before it is written, so no automation imports it. A file that an earlier attempt
left is taken over if it is equal or the whole export was complete, and replaced if it is ours; nothing of others is.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import anyio.to_thread

from vvwatch import private_files
from vvwatch.core.events import canonical_json, to_iso
from vvwatch.core.exports import ExportOptions, check_subpath
from vvwatch.core.outputs import Written
from vvwatch.errors import Conflict, NotFound, ObjectChanged, ObjectExists, ObjectNotFound
from vvwatch.ports import Job, Storage, WriteResult
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database
from vvwatch.store.delivery import exports
from vvwatch.store.delivery.exports import MOST_FILES, ExportWork
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.delivery import Export
from vvwatch.store.models.runs import RunItemWithMedia
from vvwatch.store.watching import ledger, own_files
from vvwatch.store.watching.own_files import Beside, Claim, Superseded, series_of
from vvwatch.workflow.own_files import is_unchanged
from vvwatch.workflow.pipeline.export_files import BuiltFile, LeftOut
from vvwatch.workflow.pipeline.reading import Reading

MANIFEST_SCHEMA_ID: Final = "vvwatch-manifest/2"
LATEST_SCHEMA_ID: Final = "vvwatch-latest/1"

_JSON: Final = "application/json"
_LARGEST_PARSED: Final = 64 << 20
_LARGEST_POINTER: Final = 65_536
_POINTER_TRIES: Final = 20
_TRIES: Final = 3


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
        self._series = {run.id: series_of(run.index_id, run.prompt_id) for run in work.runs}
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
        if options.latest:
            await self._require_pointer(storage, latest)
        await self._database.write(ledger.claim_outputs, uris, self._export.id)
        published = await self._adopt(storage, manifest) or await self._publish_files(
            storage, manifest, files
        )
        await self._write_text(storage, success, b"", "text/plain")
        if options.latest:
            await self._move_pointer(storage, latest)
        if options.sidecars:
            await self._remove_superseded()
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
        claim = await self._claim(storage, key, found)
        if claim is Claim.TAKEN or not await self._put(storage, key, found, claim):
            raise ObjectExists(
                f"other content exists at {key!r}", "remove or rename it, and retry the export"
            )

    async def _claim(
        self, storage: Storage, key: str, found: BuiltFile, beside: Beside | None = None
    ) -> Claim:
        """Record the name as our output, with the content that it will have."""
        uri = storage.uri(key)
        known = await self._database.read(own_files.find_outputs, [uri])
        is_free = uri in known or beside is None or await _find_version(storage, key) is None
        content = Written(found.size_bytes, found.sha256)
        return await self._database.write(
            own_files.claim_file, uri, self._export.id, content, beside, is_free=is_free
        )

    async def _put(self, storage: Storage, key: str, found: BuiltFile, claim: Claim) -> bool:
        """Write the file under a name that was claimed; replace what exports wrote there, in one step.

        Return False, and forget the claim, if something else exists there: it is somebody else's, and may be an input.
        """
        uri = storage.uri(key)
        for _ in range(_TRIES):
            try:
                await storage.write(key, found.path, content_type=found.content_type)
            except ObjectExists:
                if not await self._database.read(exports.is_current, self._job):
                    raise
            else:
                return True
            known = (await self._database.read(own_files.find_outputs, [uri])).get(uri)
            try:
                there = await storage.stat(key)
                if claim is Claim.NEW or known is None or not await is_unchanged(storage, there, known):
                    break
                await storage.replace(key, found.path, there.version, content_type=found.content_type)
            except (ObjectChanged, ObjectNotFound):
                continue
            return True
        await self._database.write(ledger.release_outputs, [uri], self._export.id)
        return False

    async def _publish_sidecar(self, draft: Manifest, found: BuiltFile, item: RunItemWithMedia) -> None:
        connector = await self._find_connector(item.media_connector_id)
        if connector is None or "export" not in connector.scopes:
            why = f"the connector {item.media_connector_id!r} of the source does not have the scope 'export'"
            draft.leave_out(LeftOut(item.run_id, item.media_id, item.media_key, found.format, why))
            return
        key = await self._place_sidecar(connector, found, item)
        if key is None:
            why = "a newer export of the same prompt stands beside it"
            draft.leave_out(LeftOut(item.run_id, item.media_id, item.media_key, found.format, why))
        else:
            draft.add({**replace(found, name=key).describe(), "connector_id": connector.id})

    async def _place_sidecar(
        self, connector: Connector, found: BuiltFile, item: RunItemWithMedia
    ) -> str | None:
        """Write the file beside its source; return its key, which is the spare one if another file has the name.

        None: a newer export wrote it. Raises ObjectExists if others have both names.
        """
        storage = await self._reading.storage(connector)
        for name in (found.name, found.spare_name):
            if name == self._pointer:
                continue
            beside = Beside(item.media_id, self._series[item.run_id], connector.id, name)
            claim = await self._claim(storage, name, found, beside)
            if claim is Claim.NEWER:
                return None
            if claim is not Claim.TAKEN and await self._put(storage, name, found, claim):
                return name
        raise ObjectExists(f"other content exists at {found.spare_name!r}", "remove it, and retry the export")

    async def _remove_superseded(self) -> None:
        """Remove what earlier exports wrote beside the media of these runs and this one did not: only what is ours."""
        for run_id, series in self._series.items():
            after = ""
            while page := await self._database.read(
                own_files.list_superseded, self._export.id, run_id, series, after
            ):
                for each in page:
                    await self._remove(each)
                after = page[-1].uri

    async def _remove(self, each: Superseded) -> None:
        connector = await self._find_connector(each.connector_id)
        if connector is None or "export" not in connector.scopes:
            return
        storage = await self._reading.storage(connector)
        with suppress(ObjectChanged, ObjectNotFound):
            there = await storage.stat(each.key)
            if await is_unchanged(storage, there, each.output):
                await storage.delete(each.key, there.version)
        await self._database.write(ledger.release_outputs, [each.uri], each.output.export_id)

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
            await self._database.write(ledger.release_outputs, [storage.uri(key)])
            raise ObjectExists(f"another manifest exists at {key!r}", "remove it, and retry the export")
        files = None
        if len(start) == size_bytes:
            files = (await anyio.to_thread.run_sync(json.loads, start))["files"][:MOST_FILES]
        return Published(WriteResult(storage.uri(key), size_bytes, digest.hexdigest(), version), files)

    async def _write_text(
        self, storage: Storage, key: str, data: bytes, content_type: str, over: str | None = None
    ) -> None:
        """Write a small object, in the place of the version `over` if there is one: readers never miss it."""
        await anyio.to_thread.run_sync(private_files.write_private, self._draft, data)
        try:
            if over is None:
                await storage.write(key, self._draft, content_type=content_type)
            else:
                await storage.replace(key, self._draft, over, content_type=content_type)
        finally:
            self._draft.unlink(missing_ok=True)

    async def _require_pointer(self, storage: Storage, key: str) -> None:
        """Raise Conflict if something else than a pointer exists there, and forget that the name was ours."""
        if (version := await _find_version(storage, key)) is not None:
            await self._read_pointer(storage, key, version)

    async def _read_pointer(self, storage: Storage, key: str, version: str) -> dict[str, Any]:
        try:
            return await _read_pointer(storage, key, version)
        except Conflict:
            await self._database.write(ledger.release_outputs, [storage.uri(key)])
            raise

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
                there = None if version is None else await self._read_pointer(storage, key, version)
                if there is not None and _is_newer(there, pointer):
                    return
                await self._write_text(storage, key, canonical_json(pointer) + b"\n", _JSON, over=version)
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
