"""Processes that a container's process 1 inherits: it must wait for those whose parent has ended."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio

_LOOK_SECONDS: Final = 30.0


class Adopted:
    """Waits for ended processes that nobody else waits for.

    Those who start a process of ours wait for it all the time. One that has ended and is still there at the next look
    was inherited: the child of a program that was killed, or of a command that was run in the container.
    """

    def __init__(self) -> None:
        self._seen: frozenset[int] = frozenset()

    def look(self) -> None:
        """Wait for the ended children that were there at the last look, too. Never blocks and never raises."""
        ended = _ended_children()
        for pid in ended & self._seen:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._seen = ended - self._seen


async def wait_for_adopted() -> None:
    """Look for them until cancelled, if this is process 1; else return: then another process inherits them."""
    if os.getpid() != 1:
        return
    adopted = Adopted()
    while True:
        await anyio.sleep(_LOOK_SECONDS)
        adopted.look()


def _ended_children() -> frozenset[int]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            # "PID (NAME) STATE PARENT …": the name may hold anything.
            state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state == "Z" and int(parent) == os.getpid():
                found.add(int(folder.name))
    return frozenset(found)
