"""Package the files of an export with options for download: the only file as it is, several in one zip file.

Clients accept no download of more than 64 MiB. So what is larger is compressed; then its bytes depend on the library
too, and a node with another one could not build them again.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vvwatch.errors import Conflict
from vvwatch.ports import WriteResult
from vvwatch.store.models.delivery import Export
from vvwatch.workflow.pipeline.export_files import BuiltFile, LeftOut, measure_file
from vvwatch.workflow.pipeline.publishing import Manifest

_OLDEST: Final = (1980, 1, 1, 0, 0, 0)
"""The date of all that is in a zip file, so that its bytes depend on the content alone."""

_PER_NAME: Final = 512
"""So many bytes a zip file needs at most for one name besides the content."""


@dataclass(frozen=True, slots=True)
class Package:
    """A file for download, and the first files that it holds."""

    written: WriteResult
    files: list[dict[str, Any]]


@dataclass
class _Draft:
    """The file for download under way: files wait beside it until they are too large to be stored as they are."""

    path: Path
    most_bytes: int
    waiting: list[BuiltFile] = field(default_factory=list)
    waiting_bytes: int = 0
    compressed: zipfile.ZipFile | None = None

    def add(self, built: BuiltFile) -> None:
        """Take a file over. Raises Conflict if it does not fit."""
        self.waiting.append(built)
        self.waiting_bytes += built.size_bytes + 4 * len(built.name.encode()) + _PER_NAME
        if self.compressed is None and self.waiting_bytes > self.most_bytes:
            self.compressed = _open_zip(self.path, zipfile.ZIP_DEFLATED)
        if self.compressed is not None:
            self._move_waiting(self.compressed)
            _require_room(self.most_bytes - self.path.stat().st_size, self.most_bytes)

    def end(self, manifest: Path, *, is_single: bool) -> None:
        """Complete the file; `is_single`: the only file is all of it."""
        if is_single and self.compressed is None:
            self.waiting.pop().path.replace(self.path)
            return
        with self.compressed or _open_zip(self.path, zipfile.ZIP_STORED) as package:
            self._move_waiting(package)
            _add(package, "manifest.json", manifest)

    def remove(self) -> None:
        """Delete the local files that are left."""
        if self.compressed is not None:
            with suppress(OSError):  # such as of a full disk: the file is deleted
                self.compressed.close()
        self.path.unlink(missing_ok=True)
        for each in self.waiting:
            each.path.unlink(missing_ok=True)

    def _move_waiting(self, package: zipfile.ZipFile) -> None:
        while self.waiting:
            _add(package, self.waiting[0].name, self.waiting[0].path)
            self.waiting.pop(0).path.unlink()


def package_files(
    export: Export, files: Iterator[BuiltFile | LeftOut], path: Path, most_bytes: int
) -> Package:
    """Write the file for download to `path`. Raises Conflict if it would have more than `most_bytes`. Blocks."""
    manifest = Manifest(path.with_suffix(".manifest.draft"), export)
    draft = _Draft(path.with_suffix(".draft"), most_bytes)
    try:
        for found in files:
            if isinstance(found, LeftOut):
                manifest.leave_out(found)
            else:
                manifest.add(found.describe())
                draft.add(found)
        is_single = manifest.counts == {"files": 1, "left_out": 0}
        draft.end(manifest.end(), is_single=is_single)
        size_bytes, digest = measure_file(draft.path)
        _require_room(most_bytes - size_bytes, most_bytes)
        _save(draft.path, path)
    finally:
        manifest.remove()
        draft.remove()
    return Package(WriteResult("", size_bytes, digest), manifest.files)


def _require_room(room: int, most_bytes: int) -> None:
    if room < 0:
        raise Conflict(
            f"the files of this export have more than the {most_bytes:,} bytes that can be downloaded, also compressed",
            "export to a connector (destination_connector_id), or fewer prompt runs or formats",
        )


def _open_zip(path: Path, method: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path, "w", method)


def _add(package: zipfile.ZipFile, name: str, path: Path) -> None:
    entry = zipfile.ZipInfo(name, _OLDEST)
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    entry.compress_type, entry.file_size = package.compression, path.stat().st_size
    with package.open(entry, "w") as target, path.open("rb") as source:
        shutil.copyfileobj(source, target)


def _save(draft: Path, path: Path) -> None:
    """Give the complete file its name; it is on the disk then."""
    draft.chmod(0o600)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
