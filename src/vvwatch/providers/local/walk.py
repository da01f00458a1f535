"""Walk a folder without leaving it: each step opens below the last one, and links are not followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from vvwatch.core.housekeeping import is_housekeeping
from vvwatch.core.objects import StorageObject
from vvwatch.core.versions import file_version, loose_version
from vvwatch.errors import StorageError
from vvwatch.ports import Irregularity, Page

_PAGE_SIZE: Final = 1000
_PAGES_IN_GROUP: Final = 8
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

_Found = StorageObject | Irregularity | None


def version_of(status: os.stat_result, *, lasting: bool = True) -> str:
    """Return the version of a file's bytes: its inode if its number is `lasting`, its size and its modification time.

    The device number is left out: reboots and remounts change it, and would import everything again. The change time
    is left out: a chmod, a rename or a new hard link changes no byte.
    """
    if lasting:
        return file_version(status.st_ino, status.st_size, status.st_mtime_ns)
    return loose_version(status.st_size, status.st_mtime_ns)


def object_of(key: str, status: os.stat_result, *, lasting: bool = True) -> StorageObject:
    """Return the object that `status` describes."""
    modified_at = status.st_mtime
    changed_at = max(modified_at, status.st_ctime)
    return StorageObject(key, version_of(status, lasting=lasting), status.st_size, modified_at, changed_at)


def open_folder(root: int, folder: str) -> int:
    """Return a descriptor of `folder` below the directory `root`; '' is the root itself.

    Raises OSError if a step is missing, denied, not a directory, or a symbolic link.
    """
    current = os.open(".", _FOLDER, dir_fd=root)
    for name in folder.split("/") if folder else ():
        try:
            following = os.open(name, _FOLDER, dir_fd=current)
        finally:
            os.close(current)
        current = following
    return current


def group_pages(pages: Iterator[Page]) -> Iterator[Sequence[Page]]:
    """Yield the pages in groups; raise a failure after the pages before it."""
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


@dataclass
class Walk:
    """A walk below the directory `root`.

    `keeps_inodes` returns whether inode numbers last on the file system of a directory. Folders whose key `skips` are
    passed over, with all below them.
    """

    root: int
    keeps_inodes: Callable[[int], bool]
    skips: Callable[[str], bool] | None = None
    _failures: list[OSError] = field(default_factory=list)
    _pending: list[str] = field(default_factory=list)
    _lasting: dict[int, bool] = field(default_factory=dict)

    def pages(self, prefix: str, *, recursive: bool) -> Iterator[Page]:
        """Yield pages of the objects whose keys start with `prefix`.

        Names that start with a dot and housekeeping folders are skipped, with everything below them, unless the
        prefix names them. A page ends after 1,000 finds or visited folders, so that it comes soon even without finds.
        A folder that vanishes meanwhile is no failure. If the root or the file system fails, the first OSError is
        raised at the end, after everything else.
        """
        objects: list[StorageObject] = []
        irregular: list[Irregularity] = []
        for step, found in enumerate(self._below(prefix, recursive=recursive), start=1):
            if type(found) is StorageObject:
                objects.append(found)
            elif type(found) is Irregularity:
                irregular.append(found)
            if step % _PAGE_SIZE == 0:
                yield Page(objects, irregular)
                objects, irregular = [], []
        if objects or irregular:
            yield Page(objects, irregular)
        if self._failures:
            raise self._failures[0]

    def _below(self, prefix: str, *, recursive: bool) -> Iterator[_Found]:
        folder, _, stem = prefix.rpartition("/")
        if any(name.startswith(".") for name in prefix.split("/")):
            return
        self._pending.append(folder)
        while self._pending:
            folder = self._pending.pop()
            yield None
            try:
                yield from self._entries(folder, stem)
            except OSError as error:
                yield _report_unreadable(folder, error, self._failures)
            if not recursive:
                return
            stem = ""

    def _entries(self, folder: str, stem: str) -> Iterator[_Found]:
        base = f"{folder}/" if folder else ""
        denied = False
        descriptor = open_folder(self.root, folder)
        try:
            lasting = self._lasts(descriptor)
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    if entry.name[0] == "." or (stem and not entry.name.startswith(stem)):
                        continue
                    try:
                        yield self._examine(base, entry, lasting=lasting, spelled=bool(stem))
                    except PermissionError:
                        if not denied:
                            yield Irregularity(folder, "permission_denied", "its files cannot be examined")
                        denied = True
                    except OSError as error:
                        self._failures.append(error)
        finally:
            os.close(descriptor)

    def _lasts(self, descriptor: int) -> bool:
        device = os.fstat(descriptor).st_dev
        if device not in self._lasting:
            self._lasting[device] = self.keeps_inodes(descriptor)
        return self._lasting[device]

    def _examine(self, base: str, entry: os.DirEntry[str], *, lasting: bool, spelled: bool) -> _Found:
        """Examine an entry; `spelled`: the prefix spells out the start of its name."""
        name = entry.name
        if not name.isascii() and not _is_text(name):
            return _report_undecodable(escape_undecodable(base + name), entry)
        if entry.is_dir(follow_symlinks=False):
            self._enter(base + name, asked_for=spelled or not is_housekeeping(name))
            return None
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return Irregularity(base + name, "not_a_regular_file", _describe_type(status.st_mode))
        return object_of(base + name, status, lasting=lasting)

    def _enter(self, folder: str, *, asked_for: bool) -> None:
        if asked_for and not (self.skips is not None and self.skips(folder)):
            self._pending.append(folder)


def _report_undecodable(key: str, entry: os.DirEntry[str]) -> Irregularity:
    """Report a file, or a folder (its key ends with a slash), which is not entered."""
    if entry.is_dir(follow_symlinks=False):
        detail = "the name is not valid UTF-8, so nothing in the folder is seen"
        return Irregularity(f"{key}/", "undecodable_name", detail)
    return Irregularity(key, "undecodable_name", "the name is not valid UTF-8")


def _report_unreadable(folder: str, error: OSError, failures: list[OSError]) -> Irregularity | None:
    """Report an unreadable folder, or nothing if it is gone. Other errors join `failures`."""
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


def escape_undecodable(name: str) -> str:
    """Return `name` with bytes that are not UTF-8 as backslash escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _describe_type(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a symbolic link; links are not followed",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a block device",
        stat.S_IFCHR: "a character device",
    }
    return kinds.get(stat.S_IFMT(mode), "not a regular file")
