"""Closes the state directory to other users, and rejects symbolic links in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vvwatch import private_files
from vvwatch.errors import VvwatchError

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_NO_LINK: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Prepared:
    """The names that were closed to others, and why others may still enter the directory, or nothing."""

    closed: tuple[str, ...] = ()
    doubt: str = ""


def prepare_state_dir(path: Path) -> Prepared:
    """Create the directory, or close it and its content to others; it may be a symbolic link itself.

    Raises VvwatchError if it is not writable, contains a symbolic link, or belongs to another user and everybody may
    write to it.
    """
    try:
        private_files.make_private_folder(path)
        probe = path / ".writable"
        os.close(private_files.recreate_private(probe))
        probe.unlink()
        closed = [*_close_to_others(path, str(path)), *_close_entries(path)]
    except OSError as error:
        raise VvwatchError(
            f"cannot write to the state directory {path}: {error.strerror}",
            "choose another with --state-dir or state_dir, or give it to the daemon's user (chown)",
        ) from error
    return Prepared(tuple(closed), _why_open(path))


def _close_entries(path: Path) -> Iterator[str]:
    """Close the top level; deeper levels are behind closed folders."""
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_symlink():
                raise VvwatchError(
                    f"the state directory holds a symbolic link: {entry.path}",
                    "remove it: its owner decides which file vvwatch writes; for room on another disk, mount "
                    "that there, or choose another state_dir",
                )
            if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False):
                yield from _close_to_others(Path(entry.path), entry.name)


def _close_to_others(path: Path, name: str) -> Iterator[str]:
    """Remove other users' permissions from our file; yield its name if it had any."""
    found = path.stat()
    if found.st_uid != os.geteuid() or not found.st_mode & _OTHERS:
        return
    descriptor = os.open(path.resolve(), _NO_LINK)
    try:
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~_OTHERS)
        if not os.fstat(descriptor).st_mode & _OTHERS:
            yield name
    finally:
        os.close(descriptor)


def _why_open(path: Path) -> str:
    """Return why other users may enter a directory that we cannot close.

    A platform's volume belongs to root and to a group created for it; in a directory with the sticky bit nobody
    removes another user's files.
    """
    found = path.stat()
    if not found.st_mode & _OTHERS:
        return ""
    is_platforms = found.st_uid == 0 and found.st_mode & stat.S_ISGID and found.st_gid in os.getgroups()
    if found.st_mode & stat.S_IWOTH and not is_platforms and not found.st_mode & stat.S_ISVTX:
        raise VvwatchError(
            f"everybody may write into the state directory {path}, and replace the keys and the database in it",
            f"give it to the daemon's user: chown {os.geteuid()} {path} && chmod 700 {path}",
        )
    who = f"user {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}"
    return f"it belongs to {who}: others may enter it; the files in it are for the daemon's user alone"
