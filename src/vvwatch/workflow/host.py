"""What this machine grants the daemon: room on its disks, open files, notices of changes in folders."""

from __future__ import annotations

import os
import resource
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from vvwatch.ports import Finding
from vvwatch.sources import budgets

_NO_ROOM_BYTES: Final = 256 << 20
_LITTLE_ROOM_BYTES: Final = 2 << 30
_LITTLE_ROOM_FRACTION: Final = 0.02
_FULL_FRACTION: Final = 0.9
_HALF_FRACTION: Final = 0.5
_COUNTING_SECONDS: Final = 5.0


def examined(state_dir: Path | None) -> list[Finding]:
    """Findings about the file systems of the state and the spool, and about open files. Blocks."""
    found = [] if state_dir is None else [_room("the state", state_dir)]
    if state_dir is not None and _lies_apart(state_dir / "spool", state_dir):
        found.append(_room("the spool", state_dir / "spool"))
    return [*found, _open_files()]


def watching(roots: Sequence[Path]) -> list[Finding]:
    """Findings about watching `roots`, of those that are there. Blocks.

    Counting what is to be watched ends after 5 seconds; then there is more than is told.
    """
    there = [root for root in roots if root.is_dir()]
    return budgets.examined(_folders(there), len(there)) if there else []


def _lies_apart(folder: Path, other: Path) -> bool:
    return folder.is_dir() and folder.stat().st_dev != other.stat().st_dev


def _folders(roots: Sequence[Path]) -> int:
    until = time.monotonic() + _COUNTING_SECONDS
    return sum(budgets.folders_below(root, lambda: time.monotonic() > until) for root in roots)


def _room(name: str, path: Path) -> Finding:
    subject = f"room for {name}"
    try:
        there = os.statvfs(path)
    except OSError as error:
        return Finding(subject, "problem", f"{path}: {error.strerror}", f"ls -ld {shlex.quote(str(path))}")
    free, whole = there.f_bavail * there.f_frsize, there.f_blocks * there.f_frsize
    files = f", {there.f_favail} files" if there.f_files else ""
    state = _state_of_room(free, whole, there.f_favail if there.f_files else None)
    fix = "" if state == "ok" else f"du -xhd1 {shlex.quote(str(path))} | sort -h"
    return Finding(subject, state, f"{free / 1e9:.1f} GB{files} free at {path}", fix)


def _state_of_room(free_bytes: int, whole_bytes: int, free_files: int | None) -> str:
    if free_bytes < _NO_ROOM_BYTES or free_files == 0:
        return "problem"
    little = min(_LITTLE_ROOM_BYTES, int(_LITTLE_ROOM_FRACTION * whole_bytes))
    return "warning" if free_bytes < max(little, 2 * _NO_ROOM_BYTES) else "ok"


def _open_files() -> Finding:
    granted, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = sum(1 for _ in _descriptors())
    state, fix = "ok", ""
    if granted != resource.RLIM_INFINITY and used > _HALF_FRACTION * granted:
        state = "problem" if used > _FULL_FRACTION * granted else "warning"
        fix = f"sudo prlimit --pid {os.getpid()} --nofile={4 * granted}  # and LimitNOFILE in the service's unit"
    limit = "any number" if granted == resource.RLIM_INFINITY else str(granted)
    return Finding("open files", state, f"{used} in use, {limit} granted", fix)


def _descriptors() -> Iterator[str]:
    for folder in ("/proc/self/fd", "/dev/fd"):
        if os.path.isdir(folder):  # noqa: PTH112  # pseudo file systems, by name
            yield from os.listdir(folder)  # noqa: PTH208
            return
