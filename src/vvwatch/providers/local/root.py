"""The watched root folder: whether it is still the same, and the error if not."""

from __future__ import annotations

import os
from pathlib import Path

from vvwatch.errors import AccessDenied, StorageError, StorageUnavailable
from vvwatch.notify import is_systemd_service


class Root:
    """The folder at `path` now. Raises StorageUnavailable if there is none, AccessDenied."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity = self._identify()

    @property
    def inode(self) -> int:
        """Return the folder's inode number."""
        return self._identity[1]

    def require_same(self) -> None:
        """Raises StorageUnavailable if the folder is gone or replaced, AccessDenied."""
        if self._identify() != self._identity:
            raise self.lost("another folder is in its place")

    def unusable(self, error: OSError) -> StorageError:
        """Return the error for `error` at the root itself."""
        if isinstance(error, PermissionError):
            return AccessDenied(
                f"the folder {str(self.path)!r} may not be watched: {error.strerror}",
                f"let user id {os.geteuid()} read and enter it: chmod or setfacl it and each folder above it",
            )
        if isinstance(error, NotADirectoryError):
            return StorageUnavailable(
                f"{str(self.path)!r} is a file, not a folder", "put a folder in its place, or name another"
            )
        return self.lost(str(error.strerror))

    def lost(self, why: str) -> StorageUnavailable:
        """Return the error for a missing folder."""
        return StorageUnavailable(
            f"the folder {str(self.path)!r} is not there: {why}",
            _hint_for_missing(),
        )

    def _identify(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except OSError as error:
            raise self.unusable(error) from error
        return status.st_dev, status.st_ino


def _hint_for_missing() -> str:
    hint = "mount or create it; vvwatch looks for it every second"
    if is_systemd_service(os.environ):
        hint += (
            "; if it is there for others, it came after the service: `systemctl restart vvwatch` shows it to the"
            " daemon (see 10-local-folder.conf)"
        )
    return hint
