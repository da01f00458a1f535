"""Packs of pictures on the disk of this node: durable before a row names them, and removed when none does."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio.to_thread

from vvwatch import private_files
from vvwatch.config import PictureSettings
from vvwatch.core.filesystems import kept_free_bytes
from vvwatch.core.pictures import PictureContents, PicturePack
from vvwatch.ports.processing import PictureDraft
from vvwatch.store.db.database import Database
from vvwatch.store.runs import pictures
from vvwatch.telemetry import Telemetry

_PARTS: Final = 256
_FILES_AT_ONCE: Final = 500
_DIGEST_DIGITS: Final = 16
_CHUNK_BYTES: Final = 1 << 20


class Pictures:
    """The packs below `folder`; `node` names this node if there are others.

    A pack is on the disk before the item's result is committed with its name. After a crash in between no row names
    it, and `remove_orphans` removes it.
    """

    def __init__(
        self,
        database: Database,
        telemetry: Telemetry,
        folder: Path,
        settings: PictureSettings,
        node: str = "",
    ) -> None:
        self._database = database
        self._telemetry = telemetry
        self._folder = folder
        self._settings = settings
        self.node = node

    def prepare(self) -> None:
        """Create the folder; delete what a dead process left incomplete."""
        private_files.make_private_folder(self._folder)
        for path in self._folder.glob("*.part"):
            private_files.remove_anything(path)

    def path(self, pack: PicturePack) -> Path:
        """Return where the file of a pack of this node is."""
        return self._folder / pack.file

    @asynccontextmanager
    async def draft(self, item_id: int) -> AsyncIterator[PictureDraft | None]:
        """Yield a file for the pictures of an item, deleted afterwards unless it was kept.

        None if there are to be none, or no room: pictures never fail an item.
        """
        draft = await anyio.to_thread.run_sync(self._open_draft, item_id) if self._settings.enabled else None
        try:
            yield draft
        finally:
            if draft is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(draft.discard)

    def _open_draft(self, item_id: int) -> _Draft | None:
        try:
            private_files.make_private_folder(self._folder)
            disk = os.statvfs(self._folder)
            free = disk.f_bavail * disk.f_frsize
            if free - self._settings.max_bytes < kept_free_bytes(disk.f_blocks * disk.f_frsize):
                raise OSError(f"{free:,} bytes are free")  # the same end
            return _Draft(self._folder, self._settings, item_id, self.node, self._report)
        except OSError as error:
            self._report(error)
            return None

    def _report(self, error: OSError) -> None:
        self._telemetry.emit("pictures.skipped", error=error)

    async def remove_orphans(self) -> int:
        """Remove packs that nothing needs any more; return their number."""
        files = await anyio.to_thread.run_sync(self._list_files)
        names, removed = sorted(files), 0
        for start in range(0, len(names), _FILES_AT_ONCE):
            some = {name: files[name] for name in names[start : start + _FILES_AT_ONCE]}
            needed = await self._database.read(pictures.find_needed, self.node, some)
            orphans = some.keys() - needed
            await anyio.to_thread.run_sync(self._remove_files, sorted(orphans))
            removed += len(orphans)
        return removed

    def _list_files(self) -> dict[str, int]:
        """Return the items of all packs by the names of their files."""
        names = (path.relative_to(self._folder).as_posix() for path in self._folder.glob("??/*.pack"))
        ids = {name: name.rpartition("/")[2].partition(".")[0] for name in names}
        return {name: int(item_id) for name, item_id in ids.items() if item_id.isdecimal()}

    def _remove_files(self, names: list[str]) -> None:
        for name in names:
            (self._folder / name).unlink(missing_ok=True)


class _Draft:
    """Implements `PictureDraft` by a file that gets its name when it is kept."""

    def __init__(
        self,
        folder: Path,
        settings: PictureSettings,
        item_id: int,
        node: str,
        report: Callable[[OSError], None],
    ) -> None:
        self._folder = folder
        self._item_id = item_id
        self._node = node
        self._report = report
        self._path = folder / f"{secrets.token_hex(8)}.part"
        self.width = settings.width
        self.most_bytes = settings.max_bytes
        self.fd = os.open(
            self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, private_files.FILE_MODE
        )

    async def keep(self, contents: PictureContents) -> PicturePack | None:
        """Make the file durable under its name."""
        try:
            file, size_bytes = await anyio.to_thread.run_sync(self._place)
        except OSError as error:
            self._report(error)
            return None
        return PicturePack(file, self._node, size_bytes, contents)

    def _place(self) -> tuple[str, int]:
        os.fsync(self.fd)
        name = f"{self._item_id % _PARTS:02x}/{self._item_id}.{self._digest()}.pack"
        target = self._folder / name
        if not target.parent.exists():
            private_files.make_private_folder(target.parent)
            private_files.sync_folder(self._folder)
        self._path.replace(target)
        private_files.sync_folder(target.parent)
        return name, os.fstat(self.fd).st_size

    def _digest(self) -> str:
        digest, offset = hashlib.sha256(), 0
        while chunk := os.pread(self.fd, _CHUNK_BYTES, offset):
            digest.update(chunk)
            offset += len(chunk)
        return digest.hexdigest()[:_DIGEST_DIGITS]

    def discard(self) -> None:
        """Close the file, and delete it unless it was kept."""
        os.close(self.fd)
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


_: type[PictureDraft] = _Draft
