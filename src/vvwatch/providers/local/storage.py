"""A local folder as a storage."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
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
    ObjectExists,
    ObjectNotFound,
    OutsideLocation,
    StorageError,
    StorageUnavailable,
)
from vvwatch.ports import Capabilities, Excerpt, Page, WriteResult
from vvwatch.providers.local.creation import create_file, make_folder
from vvwatch.providers.local.filesystems import has_lasting_inodes
from vvwatch.providers.local.leases import has_writer
from vvwatch.providers.local.unfilled import is_unfilled
from vvwatch.providers.local.walk import Walk, group_pages, object_of, open_folder, version_of

_CHUNK_BYTES: Final = 256 << 10
_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_READ_ONLY: Final = "remount it for writing; under systemd name it in ReadWritePaths= (10-local-folder.conf)"
_DENIED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LINKS: Final = "symbolic links are not followed; place the file itself in the folder"


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
        return "file://" + quote(f"{self._real.rstrip('/')}/{_check_key(key)}")

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
            _check_key(prefix.removesuffix("/"))
        # Not closed by hand: after a hard cancellation a worker thread may still be running in it.
        # Several pages a turn: each turn waits for a thread, which costs more than a page on a busy machine.
        groups = group_pages(self._pages(prefix, skips, recursive=recursive))
        while (pages := await to_thread.run_sync(next, groups, None)) is not None:
            for page in pages:
                yield page

    async def stat(self, key: str) -> StorageObject:
        """As `Storage.stat`; a link, a pipe or a folder is no object."""
        return await to_thread.run_sync(self._stat, key)

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

    async def delete(self, key: str, version: str) -> None:
        """As `Storage.delete`."""
        await to_thread.run_sync(self._delete, key, version)

    async def check(self, *, read: bool, write_below: str | None) -> None:  # noqa: ARG002  # who lists may read
        """As `Storage.check`; writes to the folder itself."""
        await to_thread.run_sync(self._check, write_below is not None)

    async def aclose(self) -> None:
        """As `Storage.aclose`."""

    def _pages(self, prefix: str, skips: Callable[[str], bool] | None, *, recursive: bool) -> Iterator[Page]:
        with self._open() as root, _translate_errors(prefix):
            yield from Walk(root, has_lasting_inodes, skips).pages(prefix, recursive=recursive)
            self._require_same_root(root)

    def _stat(self, key: str) -> StorageObject:
        with self._open() as root, _parent_below(root, key) as (folder, name), _translate_errors(key):
            status = _stat_regular(key, name, folder)
            return object_of(key, status, lasting=has_lasting_inodes(folder))

    def _open_version(self, key: str, version: str) -> int:
        with self._open() as root:
            file = _open_below(root, key)
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
            file = _open_below(root, key)
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
        parent, _, name = _check_key(key).rpartition("/")
        with source.open("rb") as reader, self._open() as root:
            with _translate_errors(key, missing=OutsideLocation):
                folder = make_folder(root, parent)
            try:
                with _translate_errors(key, missing=StorageUnavailable):
                    size_bytes, sha256 = create_file(folder, name, reader)
            finally:
                os.close(folder)
        return WriteResult(self.uri(key), size_bytes, sha256, self._stat(key).version)

    def _delete(self, key: str, version: str) -> None:
        with suppress(ObjectNotFound), self._open() as root, _parent_below(root, key) as (folder, name):
            if not is_same_version(self._stat(key).version, version):
                raise ObjectChanged(f"{key!r} is not what was written there", "it is left alone")
            with _translate_errors(key):
                os.unlink(name, dir_fd=folder)

    def _check(self, write: bool) -> None:
        with self._open() as root, _translate_errors(str(self._root)):
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
                f"the folder {str(self._root)!r} may not be read", _access_hint("read and enter it")
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
    with _translate_errors(key):
        chunk = os.pread(file, min(most, _CHUNK_BYTES), start)
    _require_version(key, version, file)
    return chunk


def _path_of(folder: int) -> str:
    """Return the path of the folder descriptor `folder`, with all links resolved."""
    if sys.platform == "darwin":
        return os.fsdecode(fcntl.fcntl(folder, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return str(Path(f"/proc/self/fd/{folder}").readlink())


def _check_key(key: str) -> str:
    """Return `key` if it is a plain relative path. Raises OutsideLocation."""
    if any(name in ("", ".", "..") for name in key.split("/")) or "\0" in key:
        raise OutsideLocation(
            f"{key!r} is not a plain path below the folder", "no '..', no '.', no empty names, no leading '/'"
        )
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise OutsideLocation(f"{key!r} is not valid text", "keys are UTF-8") from error
    return key


@contextmanager
def _parent_below(root: int, key: str) -> Iterator[tuple[int, str]]:
    """Return a descriptor of the folder of `key`, and the name in it."""
    parent, _, name = _check_key(key).rpartition("/")
    with _translate_errors(key):
        folder = open_folder(root, parent)
    try:
        yield folder, name
    finally:
        os.close(folder)


def _open_below(root: int, key: str) -> int:
    """Return a read-only descriptor; open nothing that could block or react to being opened."""
    with _parent_below(root, key) as (folder, name), _translate_errors(key):
        _stat_regular(key, name, folder)
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)


def _stat_regular(key: str, name: str, folder: int) -> os.stat_result:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise ObjectNotFound(f"{key!r} is not a regular file", _LINKS)
    return status


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


@contextmanager
def _translate_errors(key: str, *, missing: type[StorageError] = ObjectNotFound) -> Iterator[None]:
    """Translate operating system errors for `key`; raise `missing` if a step does not exist."""
    try:
        yield
    except OSError as error:
        raise shortage_in(error) or _translate(key, error, missing) from error


def _translate(key: str, error: OSError, missing: type[StorageError]) -> StorageError:
    if error.errno == errno.ENAMETOOLONG and missing is not ObjectNotFound:
        return StorageError(f"{key!r} is too long a name for the filesystem", "shorten it")
    if error.errno in _NOT_THERE:
        return missing(f"{key!r} cannot be reached: {error.strerror}", _LINKS)
    if error.errno in _DENIED:
        hint = _access_hint("access it") if error.errno != errno.EROFS else _READ_ONLY
        return AccessDenied(f"{key!r} is denied: {error.strerror}", hint)
    if error.errno == errno.EEXIST:
        return ObjectExists(f"other content exists at {key!r}", "choose another name or remove that file")
    if error.errno in _FULL:
        return StorageUnavailable(
            f"no room for {key!r}: {error.strerror}", "free space; it is tried again automatically"
        )
    return StorageUnavailable(
        f"{key!r} failed: {error.strerror}", "the filesystem may be failing; see the kernel's log"
    )


def _access_hint(action: str) -> str:
    return f"let user id {os.geteuid()} {action}: chmod or setfacl the path and each folder above it"
