"""Walk a folder without leaving it: every step is opened below the one before, and no link is followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final

from vvwatch.core.objects import StorageObject
from vvwatch.errors import StorageError
from vvwatch.ports import Irregularity, Page

_PAGE_SIZE: Final = 1000
_PAGES_IN_GROUP: Final = 8
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

_Found = StorageObject | Irregularity | None


def version_of(status: os.stat_result) -> str:
    """The version of a file's bytes: its inode, size and modification time.

    The device number is left out: it changes with reboots and remounts, and each would import everything
    again. The change time is left out: a chmod, a rename or a new hard link changes no byte.
    """
    return "%x-%x-%x" % (status.st_ino, status.st_size, status.st_mtime_ns)  # noqa: UP031 - half the time of an f-string


def object_of(key: str, status: os.stat_result) -> StorageObject:
    """The object that `status` describes."""
    modified_at = status.st_mtime
    changed_at = max(modified_at, status.st_ctime)
    return StorageObject(key, version_of(status), status.st_size, modified_at, changed_at)


def open_folder(root: int, folder: str) -> int:
    """A descriptor of `folder` below the directory `root`; '' is the root itself.

    Raises OSError when a step is missing, denied, not a directory, or a symbolic link.
    """
    current = os.open(".", _FOLDER, dir_fd=root)
    for name in folder.split("/") if folder else ():
        try:
            following = os.open(name, _FOLDER, dir_fd=current)
        finally:
            os.close(current)
        current = following
    return current


def grouped(pages: Iterator[Page]) -> Iterator[Sequence[Page]]:
    """The pages, some at a time; those before a failure come before it is raised."""
    group: list[Page] = []
    failure: StorageError | None = None
    try:
        for page in pages:
            group.append(page)
            if len(group) == _PAGES_IN_GROUP:
                yield group
                group = []
    except StorageError as error:
        failure = error
    if group:
        yield group
    if failure:
        raise failure


def walk(root: int, prefix: str, *, recursive: bool) -> Iterator[Page]:
    """Pages of what stands below the directory `root` under keys that start with `prefix`.

    Names that start with a dot are passed over, and so is everything below them. A page ends after 1,000
    finds or visited folders, so that it comes soon even where there is nothing to find. A folder that vanishes
    meanwhile is no failure. Where the root or the filesystem fails, the first OSError is raised at the end,
    when everything else has been listed.
    """
    objects: list[StorageObject] = []
    irregular: list[Irregularity] = []
    failures: list[OSError] = []
    for step, found in enumerate(_below(root, prefix, failures, recursive=recursive), start=1):
        if type(found) is StorageObject:
            objects.append(found)
        elif type(found) is Irregularity:
            irregular.append(found)
        if step % _PAGE_SIZE == 0:
            yield Page(objects, irregular)
            objects, irregular = [], []
    if objects or irregular:
        yield Page(objects, irregular)
    if failures:
        raise failures[0]


def _below(root: int, prefix: str, failures: list[OSError], *, recursive: bool) -> Iterator[_Found]:
    folder, _, stem = prefix.rpartition("/")
    if any(name.startswith(".") for name in prefix.split("/")):
        return
    pending = [folder]
    while pending:
        folder = pending.pop()
        yield None
        try:
            yield from _entries(root, folder, stem, pending, failures)
        except OSError as error:
            yield _unreadable(folder, error, failures)
        if not recursive:
            return
        stem = ""


def _entries(
    root: int, folder: str, stem: str, pending: list[str], failures: list[OSError]
) -> Iterator[_Found]:
    base = f"{folder}/" if folder else ""
    denied = False
    descriptor = open_folder(root, folder)
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.name[0] == "." or (stem and not entry.name.startswith(stem)):
                    continue
                try:
                    yield _examine(base, entry, pending)
                except PermissionError:
                    if not denied:
                        yield Irregularity(folder, "permission_denied", "its files cannot be examined")
                    denied = True
                except OSError as error:
                    failures.append(error)
    finally:
        os.close(descriptor)


def _examine(base: str, entry: os.DirEntry[str], pending: list[str]) -> _Found:
    name = entry.name
    if not name.isascii() and not _is_text(name):
        return _undecodable(printable(base + name), entry)
    if entry.is_dir(follow_symlinks=False):
        pending.append(base + name)
        return None
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return Irregularity(base + name, "not_a_regular_file", _what_it_is(status.st_mode))
    return object_of(base + name, status)


def _undecodable(key: str, entry: os.DirEntry[str]) -> Irregularity:
    """A file, or a folder, whose key ends with a slash: it is not looked into."""
    if entry.is_dir(follow_symlinks=False):
        detail = "the name is not valid UTF-8, so nothing in the folder is seen"
        return Irregularity(f"{key}/", "undecodable_name", detail)
    return Irregularity(key, "undecodable_name", "the name is not valid UTF-8")


def _unreadable(folder: str, error: OSError, failures: list[OSError]) -> Irregularity | None:
    """What to say of a folder that could not be read; nothing when it has gone. The rest joins `failures`."""
    if isinstance(error, FileNotFoundError):
        return None
    if isinstance(error, PermissionError) and folder:
        return Irregularity(folder, "permission_denied", "the folder cannot be read")
    if error.errno in (errno.ENOTDIR, errno.ELOOP) and folder:
        return Irregularity(folder, "not_a_regular_file", "not a folder; symbolic links are not followed")
    failures.append(error)
    return None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(name: str) -> str:
    """`name` with the bytes that are no UTF-8 written as backslash escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _what_it_is(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a symbolic link; links are not followed",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a block device",
        stat.S_IFCHR: "a character device",
    }
    return kinds.get(stat.S_IFMT(mode), "not a regular file")
