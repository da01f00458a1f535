"""Package the files of an export with options for download: the only file as it is, several in one zip file."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
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


def package_files(
    export: Export, files: Iterator[BuiltFile | LeftOut], path: Path, most_bytes: int
) -> Package:
    """Write the file for download to `path`. Raises Conflict if it would have more than `most_bytes`. Blocks."""
    manifest = Manifest(path.with_suffix(".manifest.draft"), export)
    built: list[BuiltFile] = []
    draft, room = path.with_suffix(".draft"), most_bytes
    try:
        for found in files:
            if isinstance(found, LeftOut):
                manifest.leave_out(found)
                continue
            built.append(found)
            manifest.add(found.describe())
            room -= found.size_bytes + 4 * len(found.name.encode()) + _PER_NAME
            _require_room(room, most_bytes)
        if len(built) == 1 and not manifest.counts["left_out"]:
            built[0].path.replace(draft)
        else:
            _zip(built, manifest.end(), draft)
        size_bytes, digest = measure_file(draft)
        _require_room(most_bytes - size_bytes, most_bytes)
        _save(draft, path)
    finally:
        manifest.remove()
        draft.unlink(missing_ok=True)
        for each in built:
            each.path.unlink(missing_ok=True)
    return Package(WriteResult("", size_bytes, digest), manifest.files)


def _require_room(room: int, most_bytes: int) -> None:
    if room < 0:
        raise Conflict(
            f"the files of this export have more than the {most_bytes:,} bytes that can be downloaded",
            "export to a connector (destination_connector_id), or fewer prompt runs or formats",
        )


def _zip(built: list[BuiltFile], manifest: Path, draft: Path) -> None:
    pairs = [(each.name, each.path) for each in built]
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as package:
        for name, path in [*pairs, ("manifest.json", manifest)]:
            entry = zipfile.ZipInfo(name, _OLDEST)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            with package.open(entry, "w") as target, path.open("rb") as source:
                shutil.copyfileobj(source, target)


def _save(draft: Path, path: Path) -> None:
    """Give the complete file its name; it is on the disk then."""
    draft.chmod(0o600)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
