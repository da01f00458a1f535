"""A local folder as a storage."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from anyio import to_thread

from vvwatch.core.objects import StorageObject
from vvwatch.core.shortages import shortage_in
from vvwatch.core.store_notes import StoreNotes
from vvwatch.core.versions import is_same_version
from vvwatch.errors import (
    AccessDenied,
    InvalidInput,
    MediaError,
    ObjectChanged,
    ObjectNotFound,
    OutsideLocation,
    StorageError,
    StorageUnavailable,
)
from vvwatch.ports import Capabilities, Excerpt, ObjectFacts, Page, WriteResult
from vvwatch.providers.local.attributes import read_attributes
from vvwatch.providers.local.below import (
    access_hint,
    check_key,
    open_file,
    open_parent,
    stat_file,
    stat_or_error,
    translate_errors,
)
from vvwatch.providers.local.creation import create_file, make_folder, replace_file
from vvwatch.providers.local.filesystems import has_lasting_inodes
from vvwatch.providers.local.leases import has_writer
from vvwatch.providers.local.unfilled import is_unfilled
from vvwatch.providers.local.walk import Walk, group_pages, version_of

_CHUNK_BYTES: Final = 256 << 10


class LocalStorage:
    """The files below `root`. Keys are paths relative to it, their names separated by '/'.

    No key and no symbolic link leads outside: each name is opened below the one before without following
    links, and the root itself may only resolve to a folder at or below one of `allowed_roots`. The root need
    not exist yet: until it does, calls raise StorageUnavailable.

    Raises InvalidInput when the path is not absolute, OutsideLocation when it is not allowed.
    """

    capabilities = Capabilities(atomic_writes=False)
    clock_ahead_seconds = 0.0

    def __init__(self, root: Path, *, allowed_roots: Sequence[Path]) -> None:
        if not root.is_absolute():
            raise InvalidInput(f"the folder {str(root)!r} is not an absolute path", "start it with '/'")
        self.notes = StoreNotes()
        self._root = root
        self._allowed = [os.path.realpath(allowed) for allowed in allowed_roots]
        self._real = self._confined(os.path.realpath(root))
        self._device: int | None = None

    def uri(self, key: str) -> str:
        """The `file://` address of `key` with all links of the root resolved."""
        return "file://" + quote(f"{self._real.rstrip('/')}/{check_key(key)}")

    async def list(
        self,
        prefix: str,
        *,
        recursive: bool,
        after: str = "",  # noqa: ARG002  # a folder's names have no order
        skips: Callable[[str], bool] | None = None,
    ) -> AsyncIterator[Page]:
        """As `Storage.list`; skips hidden names and housekeeping folders."""
        if prefix:
            check_key(prefix.removesuffix("/"))
        # Not closed by hand: after a hard cancellation a worker thread may still be running in it.
        # Several pages a turn: each turn waits for a thread, which costs more than a page on a busy machine.
        groups = group_pages(self._pages(prefix, skips, recursive=recursive))
        while (pages := await to_thread.run_sync(next, groups, None)) is not None:
            for page in pages:
                yield page

    async def stat(self, key: str) -> StorageObject:
        """As `Storage.stat`; a link, a pipe or a folder is no object."""
        return await to_thread.run_sync(self._stat, key)

    async def facts(self, key: str, version: str) -> ObjectFacts:
        """As `Storage.facts`: the extended attributes `user.*`; none where the file system has none."""
        return await to_thread.run_sync(self._facts, key, version)

    async def stat_each(self, keys: Sequence[str]) -> Sequence[StorageObject | StorageError]:
        """As `Storage.stat_each`, in one thread."""
        return await to_thread.run_sync(self._stat_each, keys)

    async def in_use(self, keys: Sequence[str]) -> Collection[str]:
        """As `Storage.in_use`; a missing or unreadable file is not in use.

        A file with its full size but mostly holes is in use, until an hour after its last change.
        """
        return await to_thread.run_sync(self._find_in_use, keys)

    async def restored(self, keys: Sequence[str]) -> Collection[str]:  # noqa: ARG002  # a folder has no archive
        """As `Storage.restored`."""
        return ()

    @asynccontextmanager
    async def descriptor(self, key: str, version: str) -> AsyncIterator[int]:
        """As `Storage.descriptor`."""
        file = await to_thread.run_sync(self._open_version, key, version)
        try:
            yield file
        except MediaError:
            # What looks damaged may be a file that is being written again.
            await to_thread.run_sync(_require_version, key, version, file)
            raise
        else:
            await to_thread.run_sync(_require_version, key, version, file)
        finally:
            os.close(file)

    @asynccontextmanager
    async def excerpt(self, key: str, version: str) -> AsyncIterator[Excerpt]:
        """As `Storage.excerpt`; always the whole file, which costs nothing here."""
        async with self.descriptor(key, version) as file:
            yield Excerpt(file, whole=True)

    @asynccontextmanager
    async def stream(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """As `Storage.stream`; checks the version before each chunk is handed out."""
        file = await to_thread.run_sync(self._open_version, key, version)
        try:
            yield _iter_chunks(key, version, file, start, length)
        finally:
            os.close(file)

    async def write(self, key: str, source: Path, *, content_type: str) -> WriteResult:  # noqa: ARG002
        """As `Storage.write`; creates missing folders, ignores the content type.

        Bytes and names are on the disk when it returns.
        """
        return await to_thread.run_sync(self._write, key, source)

    async def replace(self, key: str, source: Path, version: str, *, content_type: str) -> WriteResult:  # noqa: ARG002
        """As `Storage.replace`, by a rename; two processes of vvwatch take turns."""
        return await to_thread.run_sync(self._replace, key, source, version)

    async def delete(self, key: str, version: str) -> None:
        """As `Storage.delete`."""
        await to_thread.run_sync(self._delete, key, version)

    async def check(self, *, read: bool, write_below: str | None) -> None:  # noqa: ARG002  # who lists may read
        """As `Storage.check`; writes to the folder itself."""
        await to_thread.run_sync(self._check, write_below is not None)

    async def aclose(self) -> None:
        """As `Storage.aclose`."""

    def _pages(self, prefix: str, skips: Callable[[str], bool] | None, *, recursive: bool) -> Iterator[Page]:
        with self._open() as root, translate_errors(prefix):
            yield from Walk(root, has_lasting_inodes, skips).pages(prefix, recursive=recursive)
            self._require_same_root(root)

    def _stat(self, key: str) -> StorageObject:
        with self._open() as root:
            return stat_file(root, key)

    def _facts(self, key: str, version: str) -> ObjectFacts:
        file = self._open_version(key, version)
        try:
            return ObjectFacts(read_attributes(file))
        finally:
            os.close(file)

    def _stat_each(self, keys: Sequence[str]) -> Sequence[StorageObject | StorageError]:
        with self._open() as root:
            return [stat_or_error(root, key) for key in keys]

    def _open_version(self, key: str, version: str) -> int:
        with self._open() as root:
            file = open_file(root, key)
        try:
            _require_version(key, version, file)
        except BaseException:
            os.close(file)
            raise
        return file

    def _find_in_use(self, keys: Sequence[str]) -> set[str]:
        with self._open() as root:
            return {key for key in keys if self._in_use(root, key)}

    def _in_use(self, root: int, key: str) -> bool:
        try:
            file = open_file(root, key)
        except (AccessDenied, ObjectNotFound):
            return False
        except StorageUnavailable as error:
            # Who holds a write lease has the file open for writing: it cannot be opened before the lease ends.
            if isinstance(error.__cause__, BlockingIOError):
                return True
            # Where the folder is well it is the file's own trouble, which its import reports.
            self._check(write=False)
            return False
        try:
            return has_writer(file) or is_unfilled(file, time.time())
        finally:
            os.close(file)

    def _write(self, key: str, source: Path) -> WriteResult:
        parent, _, name = check_key(key).rpartition("/")
        path = f"{self._root}/{key}"  # an export's name alone does not say which folder refused it
        with source.open("rb") as reader, self._open() as root:
            with translate_errors(path, missing=OutsideLocation):
                folder = make_folder(root, parent)
            try:
                with translate_errors(path, missing=StorageUnavailable):
                    size_bytes, sha256 = create_file(folder, name, reader)
            finally:
                os.close(folder)
        return WriteResult(self.uri(key), size_bytes, sha256, self._stat(key).version)

    def _replace(self, key: str, source: Path, version: str) -> WriteResult:
        with (
            source.open("rb") as reader,
            self._open() as root,
            open_parent(root, key) as (folder, name),
            translate_errors(key),
        ):
            require = partial(self._require_written, key, version)
            size_bytes, sha256 = replace_file(folder, name, reader, require)
        return WriteResult(self.uri(key), size_bytes, sha256, self._stat(key).version)

    def _require_written(self, key: str, version: str) -> None:
        if not is_same_version(self._stat(key).version, version):
            raise ObjectChanged(f"{key!r} is not what was written there", "it is left alone")

    def _delete(self, key: str, version: str) -> None:
        with suppress(ObjectNotFound), self._open() as root, open_parent(root, key) as (folder, name):
            self._require_written(key, version)
            with translate_errors(key):
                os.unlink(name, dir_fd=folder)

    def _check(self, write: bool) -> None:
        with self._open() as root, translate_errors(str(self._root)):
            with os.scandir(root) as entries:
                next(entries, None)
            os.stat(".", dir_fd=root)
            if write:
                name = f".{secrets.token_hex(8)}.part"
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=root))
                os.unlink(name, dir_fd=root)

    @contextmanager
    def _open(self) -> Iterator[int]:
        with self._translate_root_errors():
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with self._translate_root_errors():
                self._require_mounted(root)
            yield root
        finally:
            os.close(root)

    @contextmanager
    def _translate_root_errors(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise AccessDenied(
                f"the folder {str(self._root)!r} may not be read", access_hint("read and enter it")
            ) from error
        except NotADirectoryError as error:
            raise StorageUnavailable(
                f"{str(self._root)!r} is a file, not a folder", "put a folder in its place, or name another"
            ) from error
        except OSError as error:
            raise shortage_in(error) or StorageUnavailable(
                f"the folder {str(self._root)!r} is not there: {error.strerror}",
                "mount or create it; vvwatch continues once it is back",
            ) from error

    def _require_mounted(self, root: int) -> None:
        """Reject an empty file system in place of a filled one: an unmounted folder looks like that."""
        status = os.fstat(root)
        self._real = self._confined(_path_of(root))
        if status.st_dev == self._device:
            return
        with os.scandir(root) as entries:
            filled = next(entries, None) is not None
        if filled:
            self._device = status.st_dev
        elif self._device is not None:
            raise StorageUnavailable(
                f"the folder {str(self._root)!r} is empty and on another filesystem than before",
                "mount it again; when it is meant to be empty, restart vvwatch",
            )

    def _require_same_root(self, root: int) -> None:
        with self._translate_root_errors():
            before, now = os.fstat(root), self._root.stat()
        if (before.st_dev, before.st_ino) != (now.st_dev, now.st_ino):
            raise StorageUnavailable(
                f"the folder {str(self._root)!r} was replaced while it was listed",
                "it is listed again shortly",
            )

    def _confined(self, real: str) -> str:
        """Return `real` if it is at or below an allowed root."""
        if any(os.path.commonpath((real, allowed)) == allowed for allowed in self._allowed):
            return real
        raise OutsideLocation(
            f"the folder {str(self._root)!r} leads to {real!r}, which is below no allowed root",
            f"allowed: {', '.join(self._allowed) or 'none'}; add it to `roots` under [local] in the configuration",
        )


async def _iter_chunks(
    key: str, version: str, file: int, start: int, length: int | None
) -> AsyncIterator[bytes]:
    left = sys.maxsize if length is None else length
    while left and (chunk := await to_thread.run_sync(_read_chunk, key, version, file, start, left)):
        start, left = start + len(chunk), left - len(chunk)
        yield chunk


def _read_chunk(key: str, version: str, file: int, start: int, most: int) -> bytes:
    with translate_errors(key):
        chunk = os.pread(file, min(most, _CHUNK_BYTES), start)
    _require_version(key, version, file)
    return chunk


def _path_of(folder: int) -> str:
    """Return the path of the folder descriptor `folder`, with all links resolved."""
    if sys.platform == "darwin":
        return os.fsdecode(fcntl.fcntl(folder, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return str(Path(f"/proc/self/fd/{folder}").readlink())


def _require_version(key: str, version: str, file: int) -> None:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or not _is_version(status, version, file):
        raise ObjectChanged(
            f"{key!r} is not the requested version", "the new version is picked up automatically"
        )


def _is_version(status: os.stat_result, version: str, file: int) -> bool:
    """Compare versions; look at the file system only if the inode numbers alone differ."""
    if is_same_version(version_of(status), version):
        return True
    return not has_lasting_inodes(file) and is_same_version(version_of(status, lasting=False), version)
