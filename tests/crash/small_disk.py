"""A file system of a few megabytes, to be filled to the last byte."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BALLAST = "ballast"


@contextmanager
def small_disk(megabytes: int, files: int = 0) -> Iterator[Path]:
    """A directory with room for so much, which any user can reach; `files` limits its files and folders.

    Root mounts it in the open, anybody else in a namespace of a process that holds it. RuntimeError, with the
    reason, where neither is allowed.
    """
    with tempfile.TemporaryDirectory(prefix="small-disk-") as place:
        Path(place).chmod(0o711)
        mount = [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            f"size={megabytes}m,mode=0711,nr_inodes={files}",
            "tmpfs",
            place,
        ]
        with (_mounted if os.geteuid() == 0 else _held)(mount, Path(place)) as disk:
            yield disk


@contextmanager
def _mounted(mount: list[str], place: Path) -> Iterator[Path]:
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"no small disk can be mounted: {done.stderr}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def _held(mount: list[str], place: Path) -> Iterator[Path]:
    """Mounted in a namespace that lasts as long as the process; the way there leads through /proc."""
    script = f"{shlex.join(mount)} && echo mounted && exec cat"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    with subprocess.Popen(  # it ends with its input
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as holder:
        assert holder.stdout is not None
        if (said := holder.stdout.readline()) != "mounted\n":
            raise RuntimeError(f"no small disk can be mounted: {said}")
        yield Path(f"/proc/{holder.pid}/root") / place.relative_to("/")


def fill(disk: Path) -> None:
    """Take all the room that is left."""
    with (disk / BALLAST).open("ab", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError:
                continue


def make_room(disk: Path) -> None:
    """Give back what `fill` took."""
    (disk / BALLAST).unlink()
