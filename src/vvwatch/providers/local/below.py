"""Open and look at what is below a root folder: no key and no symbolic link leads outside."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from vvwatch.core.objects import StorageObject
from vvwatch.core.shortages import shortage_in
from vvwatch.errors import (
    AccessDenied,
    ObjectExists,
    ObjectNotFound,
    OutsideLocation,
    StorageError,
    StorageUnavailable,
)
from vvwatch.providers.local.filesystems import has_lasting_inodes
from vvwatch.providers.local.walk import object_of, open_folder

_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_READ_ONLY: Final = "remount it for writing; under systemd name it in ReadWritePaths= (10-local-folder.conf)"
_DENIED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LINKS: Final = "symbolic links are not followed; place the file itself in the folder"


def check_key(key: str) -> str:
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
def open_parent(root: int, key: str) -> Iterator[tuple[int, str]]:
    """Return a descriptor of the folder of `key`, and the name in it."""
    parent, _, name = check_key(key).rpartition("/")
    with translate_errors(key):
        folder = open_folder(root, parent)
    try:
        yield folder, name
    finally:
        os.close(folder)


def open_file(root: int, key: str) -> int:
    """Return a read-only descriptor; open nothing that could block or react to being opened."""
    with open_parent(root, key) as (folder, name), translate_errors(key):
        _stat_regular(key, name, folder)
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)


def stat_file(root: int, key: str) -> StorageObject:
    """Return the object at `key`. Raises ObjectNotFound, AccessDenied, StorageUnavailable."""
    with open_parent(root, key) as (folder, name), translate_errors(key):
        return object_of(key, _stat_regular(key, name, folder), lasting=has_lasting_inodes(folder))


def stat_or_error(root: int, key: str) -> StorageObject | StorageError:
    """Return the object at `key`, or the error that says why there is none. Raises StorageUnavailable."""
    try:
        return stat_file(root, key)
    except StorageUnavailable:
        raise
    except StorageError as error:
        return error


def _stat_regular(key: str, name: str, folder: int) -> os.stat_result:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise ObjectNotFound(f"{key!r} is not a regular file", _LINKS)
    return status


@contextmanager
def translate_errors(key: str, *, missing: type[StorageError] = ObjectNotFound) -> Iterator[None]:
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
        hint = access_hint("access it") if error.errno != errno.EROFS else _READ_ONLY
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


def access_hint(action: str) -> str:
    """Return what to do so that this process may `action`."""
    return f"let user id {os.geteuid()} {action}: chmod or setfacl the path and each folder above it"
