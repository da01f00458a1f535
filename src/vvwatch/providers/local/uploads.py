"""The folder of uploaded files: a file arrives under a temporary name and is renamed when complete.

Its final key is `<job id>/<ordinal>/<name>`. A crash leaves only files without a final name. Everything here blocks.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Final
from urllib.parse import quote

from vvwatch import private_files
from vvwatch.core.filesystems import kept_free_bytes
from vvwatch.core.objects import StorageObject
from vvwatch.core.shortages import own_shortage
from vvwatch.errors import SpoolFull
from vvwatch.providers.local.walk import object_of

_ARRIVING: Final = ".arriving"
_OWNER: Final = ".owner"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Room:
    """The disk space of all files below `root`: at most `most_bytes`, and never the disk's reserve.

    Threads reserve bytes before they write, so parallel uploads never exceed either.
    """

    def __init__(self, root: Path, most_bytes: int | None) -> None:
        self._root = root
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._unwritten_bytes = 0
        self.used_bytes = 0

    def require(self, size_bytes: int) -> None:
        """Raises SpoolFull if so many more bytes are not available."""
        if self._most_bytes is not None and self.used_bytes + size_bytes > self._most_bytes:
            raise SpoolFull(
                f"the file does not fit: uploaded files take {self.used_bytes:,} "
                f"of {self._most_bytes:,} bytes already",
                "raise [api] uploads_bytes, or delete some of their media (room is free within an hour)",
            )
        disk = os.statvfs(self._root)
        free_bytes = disk.f_bavail * disk.f_frsize - self._unwritten_bytes
        if free_bytes < size_bytes + kept_free_bytes(disk.f_blocks * disk.f_frsize):
            raise no_room()

    @contextmanager
    def writing(self, size_bytes: int) -> Iterator[None]:
        """Reserve so many bytes for the block. Raises SpoolFull if they are not available."""
        with self._lock:
            self.require(size_bytes)
            self.used_bytes += size_bytes
            self._unwritten_bytes += size_bytes
        try:
            yield
        except BaseException:
            self.give_back(size_bytes)
            raise
        finally:
            with self._lock:
                self._unwritten_bytes -= size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Release so many bytes."""
        with self._lock:
            self.used_bytes -= size_bytes


class Arriving:
    """An incomplete file; `size_bytes` and `digest()` (SHA-256) describe its content so far."""

    def __init__(self, folder: Path, room: Room) -> None:
        self._room = room
        self._path = folder / f"{secrets.token_hex(8)}.part"
        with _on_own_disk():
            self._file = os.fdopen(private_files.create_private(self._path), "wb", buffering=0)
        self._sum = sha256()
        self._is_placed = False
        self.size_bytes = 0

    def write(self, data: bytes | bytearray) -> None:
        """Append all of `data`. Raises SpoolFull on a full disk, else MachineShortage."""
        with self._room.writing(len(data)):
            self._append(data)
        self._sum.update(data)
        self.size_bytes += len(data)

    def _append(self, data: bytes | bytearray) -> None:
        with _on_own_disk():
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]

    def digest(self) -> str:
        """Return the SHA-256 of all written bytes, in hex."""
        return self._sum.hexdigest()

    def become(self, target: Path) -> None:
        """Rename the file to `target`, replacing any other; bytes and name are then on the disk."""
        os.fsync(self._file.fileno())
        self._file.close()
        replaced_bytes = target.stat().st_size if target.exists() else 0
        self._path.replace(target)
        self._room.give_back(replaced_bytes)
        self._is_placed = True
        private_files.sync_folder(target.parent)

    def discard(self) -> None:
        """Delete the file unless it has its final name."""
        self._file.close()
        if not self._is_placed:
            self._path.unlink(missing_ok=True)
            self._room.give_back(self.size_bytes)
            self.size_bytes = 0


class UploadsFolder:
    """The folder at `root`, owned by one process; its files take at most `most_bytes`, if given."""

    def __init__(self, root: Path, most_bytes: int | None = None) -> None:
        self.root = root
        self.room = Room(root, most_bytes)

    def prepare(self) -> None:
        """Create the folder; delete files that a dead process left incomplete."""
        self.root.mkdir(mode=0o700, exist_ok=True)
        shutil.rmtree(self.root / _ARRIVING, ignore_errors=True)
        (self.root / _ARRIVING).mkdir(mode=0o700, exist_ok=True)
        self.room.used_bytes = sum(map(self._size_of, self.job_ids()))

    def begin(self) -> Arriving:
        """Return a new, empty file. Raises MachineShortage."""
        return Arriving(self.root / _ARRIVING, self.room)

    def place(self, arriving: Arriving, key: str) -> StorageObject:
        """Move the complete file to `key`; return the object. Raises MachineShortage."""
        target = self.root / key
        with _on_own_disk():
            private_files.make_private_folder(target.parent)
            arriving.become(target)
            private_files.sync_folder(target.parent.parent)
            private_files.sync_folder(self.root)
            return object_of(key, target.stat())

    def uri(self, key: str) -> str:
        """Return the address of `key`, as the storage over this folder does."""
        return "file://" + quote(f"{os.path.realpath(self.root).rstrip('/')}/{key}")

    def job_ids(self) -> Sequence[str]:
        """Return the jobs with files here, in order."""
        with os.scandir(self.root) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith("."))

    def files(self, job_ids: Sequence[str]) -> dict[str, int]:
        """Return the keys of these jobs' files, and the inode of each."""
        found: dict[str, int] = {}
        for path in (path for job_id in job_ids for path in (self.root / job_id).glob("*/*")):
            with suppress(FileNotFoundError):
                found[path.relative_to(self.root).as_posix()] = path.stat().st_ino
        return found

    def belongs_to(self, owner: str) -> bool:
        """Return whether `owner` owns these files: the first caller does. An empty mark stems from a power loss."""
        mark = self.root / _OWNER
        if not mark.exists() or not mark.stat().st_size:
            private_files.replace_private(mark, owner.encode())
        return mark.read_text() == owner

    def has(self, job_id: str) -> bool:
        """Return whether a job has files here."""
        return (self.root / job_id).is_dir()

    def remove(self, key: str, inode: int) -> None:
        """Delete the file placed at `key`, and its empty folders. Another file there now stays."""
        path = self.root / key
        with suppress(FileNotFoundError):
            there = path.stat()
            if there.st_ino == inode:
                path.unlink()
                self.room.give_back(there.st_size)
        self._tidy(path.parent.parent)

    def discard(self, job_id: str) -> None:
        """Delete all files of a job."""
        before_bytes = self._size_of(job_id)
        shutil.rmtree(self.root / job_id, ignore_errors=True)
        self.room.give_back(before_bytes - self._size_of(job_id))

    def _size_of(self, job_id: str) -> int:
        """The bytes that the files of a job take."""
        sizes = 0
        for path in (self.root / job_id).glob("*/*"):
            with suppress(FileNotFoundError):
                sizes += path.stat().st_size
        return sizes

    def _tidy(self, job_folder: Path) -> None:
        for folder in (*job_folder.glob("*"), job_folder):
            with suppress(OSError):  # it holds another file
                folder.rmdir()


@contextmanager
def _on_own_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        short = no_room() if error.errno in _FULL else own_shortage(error)
        if short is None:
            raise
        raise short from error


def no_room() -> SpoolFull:
    """Return the error for a full disk."""
    return SpoolFull("this machine has no disk space for the file", "free space where state_dir is")
