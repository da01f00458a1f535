"""Files and folders that are their owner's alone, whatever the umask, and that no planted link diverts."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create_private(path: Path) -> int:
    """A descriptor that writes the new file at `path`. Raises FileExistsError for whatever is there, a link too."""
    return os.open(path, _NEW, FILE_MODE)


def recreate_private(path: Path) -> int:
    """As `create`, in place of what a dead process left there. Raises OSError when that is a folder."""
    path.unlink(missing_ok=True)
    return create_private(path)


def write_private(path: Path, data: bytes) -> None:
    """Make the file, in place of what a dead process left there; nothing waits for the disk."""
    with os.fdopen(recreate_private(path), "wb") as file:
        file.write(data)


def replace_private(path: Path, data: bytes) -> None:
    """Make or replace `path`, whole or not at all; it is on the disk when this returns.

    What root replaces stays its owner's, who has to read it.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        with os.fdopen(recreate_private(draft), "wb") as file:
            if os.geteuid() == 0 and (owner := _owner_of(path)):
                os.fchown(file.fileno(), *owner)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def _owner_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_uid, found.st_gid


def make_private_folder(path: Path) -> None:
    """Make the folder, and each that is missing above it, where there is none."""
    if not path.parent.exists():
        make_private_folder(path.parent)
    path.mkdir(mode=FOLDER_MODE, exist_ok=True)


def remove_anything(path: Path) -> None:
    """Remove the file or the folder with all its contents, as far as possible: what stays must not stop a start."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def sync_folder(path: Path) -> None:
    """Return when the names in the folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
