"""The folder of what was sent in: a file arrives under no name that counts, and is renamed when it is whole.

It stands at `<job id>/<ordinal>/<name>`, which is its key. Whatever dies on the way leaves a file that nothing names.
Everything here blocks.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import quote

from vvwatch.core.objects import StorageObject
from vvwatch.errors import SpoolFull
from vvwatch.storage.walking import object_of

_KEPT_FREE_BYTES: Final = 256 << 20
"""What an upload leaves free on the disk: the database may stand there as well."""

_ARRIVING: Final = ".arriving"
_OWNER: Final = ".owner"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Arriving:
    """A file that is not whole yet; `size_bytes` and `digest()` (SHA-256) tell what it holds so far."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{secrets.token_hex(8)}.part"
        self._file = self._path.open("xb", buffering=0)
        self._sum = sha256()
        self.size_bytes = 0

    def write(self, data: bytes | bytearray) -> None:
        """Append all of `data`. Raises SpoolFull when the disk has no room for it."""
        room = os.fstatvfs(self._file.fileno())
        if room.f_bavail * room.f_frsize < len(data) + _KEPT_FREE_BYTES:
            raise no_room()
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            if error.errno in _FULL:
                raise no_room() from error
            raise
        self._sum.update(data)
        self.size_bytes += len(data)

    def digest(self) -> str:
        """Of all that was written, in hex."""
        return self._sum.hexdigest()

    def become(self, target: Path) -> None:
        """Take the name `target`, in place of what stood there; bytes and name are on the disk then."""
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.replace(target)
        _synced(target.parent)

    def discard(self) -> None:
        """Be gone, unless it has a name."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class UploadsFolder:
    """The folder at `root`, which one process has to itself."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the folder; what a dead process had not finished is gone."""
        self.root.mkdir(mode=0o700, exist_ok=True)
        shutil.rmtree(self.root / _ARRIVING, ignore_errors=True)
        (self.root / _ARRIVING).mkdir(mode=0o700, exist_ok=True)

    def require_room(self, size_bytes: int) -> None:
        """Raises SpoolFull when a file of this size cannot be had."""
        if shutil.disk_usage(self.root).free < size_bytes + _KEPT_FREE_BYTES:
            raise no_room()

    def begin(self) -> Arriving:
        """A file to be filled."""
        return Arriving(self.root / _ARRIVING)

    def place(self, arriving: Arriving, key: str) -> StorageObject:
        """Let the file stand at `key`; the object that it is then."""
        target = self.root / key
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        arriving.become(target)
        _synced(target.parent.parent)
        _synced(self.root)
        return object_of(key, target.stat())

    def uri(self, key: str) -> str:
        """The address of `key`, as the storage over this folder tells it."""
        return "file://" + quote(f"{os.path.realpath(self.root).rstrip('/')}/{key}")

    def job_ids(self) -> Sequence[str]:
        """The jobs that have files here, in order."""
        with os.scandir(self.root) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith("."))

    def files(self, job_ids: Sequence[str]) -> dict[str, int]:
        """The keys of the files of these jobs, and the inode of each."""
        found: dict[str, int] = {}
        for path in (path for job_id in job_ids for path in (self.root / job_id).glob("*/*")):
            with suppress(FileNotFoundError):
                found[path.relative_to(self.root).as_posix()] = path.stat().st_ino
        return found

    def belongs_to(self, owner: str) -> bool:
        """Whether these are the files of `owner`: the first who asks has them. An empty mark is a power loss's."""
        mark = self.root / _OWNER
        if not mark.exists() or not mark.stat().st_size:
            mark.write_text(owner)
        return mark.read_text() == owner

    def has(self, job_id: str) -> bool:
        """Whether anything was placed for a job."""
        return (self.root / job_id).is_dir()

    def remove(self, key: str, inode: int) -> None:
        """Remove the file that stood at `key`, with the folders that were made for it. Another that does now stays."""
        path = self.root / key
        with suppress(FileNotFoundError):
            if path.stat().st_ino == inode:
                path.unlink()
        self._tidy(path.parent.parent)

    def discard(self, job_id: str) -> None:
        """Remove all files of a job."""
        shutil.rmtree(self.root / job_id, ignore_errors=True)

    def _tidy(self, job_folder: Path) -> None:
        for folder in (*job_folder.glob("*"), job_folder):
            with suppress(OSError):  # it holds another file
                folder.rmdir()


def no_room() -> SpoolFull:
    """The refusal of a file that the disk has no room for."""
    return SpoolFull("there is no room for the file on this machine", "free some where state_dir is")


def _synced(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
