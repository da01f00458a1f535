"""Check the host: space on its disks, open files, notifications of changes in folders."""

from __future__ import annotations

import os
import resource
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from vvwatch.core.filesystems import COMFORTABLE_SPOOL_BYTES, Keeping, kept_free_bytes, spool_room_bytes
from vvwatch.mounts import mount_at
from vvwatch.ports import Finding
from vvwatch.providers.local import limits

_LITTLE_ROOM_BYTES: Final = 2 << 30
_LITTLE_ROOM_FRACTION: Final = 0.02
_FULL_FRACTION: Final = 0.9
_HALF_FRACTION: Final = 0.5
_COUNTING_SECONDS: Final = 5.0


def check_host(state_dir: Path | None) -> list[Finding]:
    """Return findings about the file systems of state and spool, and about open files. Blocks."""
    return [*(_check_disks(state_dir) if state_dir else ()), _check_open_files()]


def _check_disks(state_dir: Path) -> Iterator[Finding]:
    spool = state_dir / "spool"
    yield _check_room("the state", state_dir)
    yield from _check_file_system(state_dir)
    if _lies_apart(spool, state_dir):
        yield _check_room("the spool", spool)
    if spool.is_dir():
        yield _check_spool(spool)


def check_watching(roots: Sequence[Path]) -> list[Finding]:
    """Return findings about watching those of `roots` that exist. Blocks.

    Counting folders stops after 5 seconds; then there are more than it reports.
    """
    there = [root for root in roots if root.is_dir()]
    found = limits.examine_limits(_count_folders(there), len(there)) if there else []
    return [*found, *_check_inodes(there)]


def _check_file_system(state_dir: Path) -> Iterator[Finding]:
    mount = mount_at(state_dir)
    if mount is None:
        return
    safe = mount.keeping is Keeping.SAFE
    detail = mount.kind if safe else f"{mount.kind}: not safe for SQLite, and slow for the spool"
    fix = "" if safe else "move the state to a local disk, and set state_dir"
    yield Finding("file system of the state", "ok" if safe else "warning", detail, fix)


def _check_inodes(roots: Sequence[Path]) -> Iterator[Finding]:
    """Yield how versions of files are distinguished without stable inode numbers, which detects fewer changes."""
    for root in roots:
        mount = mount_at(root)
        if mount is not None and not mount.has_lasting_inodes:
            detail = (
                f"{root} ({mount.kind}): by size and time alone, because inode numbers are not stable there"
            )
            yield Finding("versions of files", "ok", detail)


def _lies_apart(folder: Path, other: Path) -> bool:
    return folder.is_dir() and folder.stat().st_dev != other.stat().st_dev


def _count_folders(roots: Sequence[Path]) -> int:
    until = time.monotonic() + _COUNTING_SECONDS
    return sum(limits.survey_folders(str(root), lambda: time.monotonic() > until).count for root in roots)


def _check_room(name: str, path: Path) -> Finding:
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


def _check_spool(spool: Path) -> Finding:
    """Return whether the spool is writable, and the largest object it can hold."""
    if not os.access(spool, os.W_OK | os.X_OK):
        owner = spool.stat().st_uid
        fix = f"chown -R {os.geteuid()} {shlex.quote(str(spool))}"
        return Finding("spool", "problem", f"{spool} belongs to user {owner} and is not writable", fix)
    disk = os.statvfs(spool)
    largest = spool_room_bytes(disk.f_blocks * disk.f_frsize, max_bytes=sys.maxsize)
    state = "warning" if largest < COMFORTABLE_SPOOL_BYTES else "ok"
    fix = "" if state == "ok" else "put state_dir on a larger disk (in a container a volume, not tmpfs)"
    return Finding("spool", state, f"takes objects of up to {largest / 1e9:.1f} GB", fix)


def _state_of_room(free_bytes: int, whole_bytes: int, free_files: int | None) -> str:
    kept_bytes = kept_free_bytes(whole_bytes)
    if free_bytes < kept_bytes or free_files == 0:
        return "problem"
    little = min(_LITTLE_ROOM_BYTES, int(_LITTLE_ROOM_FRACTION * whole_bytes))
    return "warning" if free_bytes < max(little, 2 * kept_bytes) else "ok"


def _check_open_files() -> Finding:
    granted, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = sum(1 for _ in _list_descriptors())
    state, fix = "ok", ""
    if granted != resource.RLIM_INFINITY and used > _HALF_FRACTION * granted:
        state = "problem" if used > _FULL_FRACTION * granted else "warning"
        fix = f"sudo prlimit --pid {os.getpid()} --nofile={4 * granted}  # and LimitNOFILE in the service's unit"
    limit = "any number" if granted == resource.RLIM_INFINITY else str(granted)
    return Finding("open files", state, f"{used} in use, {limit} granted", fix)


def _list_descriptors() -> Iterator[str]:
    for folder in ("/proc/self/fd", "/dev/fd"):
        if os.path.isdir(folder):  # noqa: PTH112  # pseudo file systems, by name
            yield from os.listdir(folder)  # noqa: PTH208
            return
