"""The state directory belongs to the daemon alone: what others may enter is closed, what leads elsewhere is refused."""

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
    """What was closed to others, by its name; and why others may still enter the directory, or nothing."""

    closed: tuple[str, ...] = ()
    doubt: str = ""


def prepare_state_dir(path: Path) -> Prepared:
    """Make the directory, or close it and what lies in it to others; it may itself be a symbolic link.

    Raises VvwatchError when it cannot be written, holds a symbolic link, or is another's in which everybody may write.
    """
    try:
        private_files.make_folder(path)
        probe = path / ".writable"
        os.close(private_files.create_again(probe))
        probe.unlink()
        closed = [*_close_to_others(path, str(path)), *_close_entries(path)]
    except OSError as error:
        raise VvwatchError(
            f"cannot write to the state directory {path}: {error.strerror}",
            "choose another with --state-dir or state_dir, or give it to the daemon's user (chown)",
        ) from error
    return Prepared(tuple(closed), _why_open(path))


def _close_entries(path: Path) -> Iterator[str]:
    """What lies deeper is behind folders that are closed here."""
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_symlink():
                raise VvwatchError(
                    f"the state directory holds a symbolic link: {entry.path}",
                    "remove it: whoever planted it chooses which file vvwatch writes; for room on another disk, mount "
                    "that there, or choose another state_dir",
                )
            if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False):
                yield from _close_to_others(Path(entry.path), entry.name)


def _close_to_others(path: Path, name: str) -> Iterator[str]:
    """Take from others what they may do with what is ours; yields its name when there was anything."""
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
    """Why others may enter the directory, which is not ours to close.

    A platform's volume belongs to root and to a group that was made for it; in one with the sticky bit nobody removes
    what is another's.
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
