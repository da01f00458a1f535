"""Create a file whole or not at all, and never over another one than the caller names."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final

from vvwatch.errors import ObjectChanged

_CHUNK_BYTES: Final = 1 << 20
_NO_HARD_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
_NAMELESS: Final = getattr(os, "O_TMPFILE", 0)
_NO_NAMELESS_FILES: Final = (*_NO_HARD_LINKS, errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def make_folder(root: int, folder: str) -> int:
    """Return a descriptor of `folder` below the directory `root`; create missing parents.

    Raises OSError as `open_folder` does if a step is no directory or cannot be created.
    """
    current = os.open(".", _FOLDER, dir_fd=root)
    for name in folder.split("/") if folder else ():
        try:
            following = _make_step(current, name)
        finally:
            os.close(current)
        current = following
    return current


def _make_step(parent: int, name: str) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=parent)
        os.fsync(parent)
    return os.open(name, _FOLDER, dir_fd=parent)


def create_file(folder: int, name: str, source: BinaryIO) -> tuple[int, str]:
    """Create `name` in the directory `folder` with the bytes of `source`; return their count and SHA-256 in hex.

    The bytes reach the disk before the name, and the name before this returns. Equal bytes under the name count as
    done; raises FileExistsError for anything else there.
    """
    try:
        written = _create_nameless(folder, name, source)
    except OSError as error:
        if error.errno not in _NO_NAMELESS_FILES:
            raise
        source.seek(0)
        written = _create_named(folder, name, source)
    os.fsync(folder)
    return written


def _create_nameless(folder: int, name: str, source: BinaryIO) -> tuple[int, str]:
    """Write an unnamed file first: a killed process leaves nothing behind."""
    if not _NAMELESS:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    with os.fdopen(os.open(".", os.O_WRONLY | _NAMELESS, 0o666, dir_fd=folder), "wb") as writer:
        written = _copy_bytes(source, writer)
        with _require_equal(folder, name, written):
            os.link(f"/proc/self/fd/{writer.fileno()}", name, dst_dir_fd=folder, follow_symlinks=True)
        return written


def _create_named(folder: int, name: str, source: BinaryIO) -> tuple[int, str]:
    scratch = f".{name[:40]}.{secrets.token_hex(8)}.part"
    mode = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(scratch, mode, 0o666, dir_fd=folder), "wb") as writer:
            written = _copy_bytes(source, writer)
        with _require_equal(folder, name, written):
            _link_name(folder, scratch, name)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(scratch, dir_fd=folder)
    return written


def replace_file(folder: int, name: str, source: BinaryIO, require: Callable[[], None]) -> tuple[int, str]:
    """Put the bytes of `source` in the place of the file `name`, by a rename; return their count and SHA-256 in hex.

    `require` raises ObjectChanged if the file is not the one to replace; one with equal bytes counts as done. A killed
    process leaves a hidden file, which the next one with this name removes.
    """
    scratch = f".{name[:40]}.{hashlib.sha256(name.encode()).hexdigest()[:16]}.part"
    mode = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(OSError):  # not everywhere: some network shares
        fcntl.flock(folder, fcntl.LOCK_EX)  # until the descriptor is closed
    try:
        with suppress(FileNotFoundError):
            os.unlink(scratch, dir_fd=folder)
        with os.fdopen(os.open(scratch, mode, 0o666, dir_fd=folder), "wb") as writer:
            written = _copy_bytes(source, writer)
        try:
            require()
        except ObjectChanged:
            if _read_content(folder, name) != written:
                raise
        else:
            os.rename(scratch, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(scratch, dir_fd=folder)
    os.fsync(folder)
    return written


def _copy_bytes(source: BinaryIO, writer: BinaryIO) -> tuple[int, str]:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        writer.write(chunk)
    writer.flush()
    os.fsync(writer.fileno())
    return writer.tell(), digest.hexdigest()


@contextmanager
def _require_equal(folder: int, name: str, written: tuple[int, str]) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        if _read_content(folder, name) != written:
            raise


def _link_name(folder: int, scratch: str, name: str) -> None:
    try:
        os.link(scratch, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _rename_file(folder, scratch, name)


def _rename_file(folder: int, scratch: str, name: str) -> None:
    """Check, then rename, on file systems without hard links (FAT, some network shares)."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(scratch, name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)


def _read_content(folder: int, name: str) -> tuple[int, str] | None:
    """Return count and SHA-256 of the file at `name`; None if it is not a regular file."""
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return None
    with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder), "rb") as reader:
        digest = hashlib.file_digest(reader, "sha256")
        return reader.tell(), digest.hexdigest()
