"""Finds processes that a program left behind outside its group, by an inherited variable."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

FOLDER_VARIABLE: Final = "VVWATCH_WORKDIR"
_PROCESSES: Final = Path("/proc")
_ROUNDS: Final = 20


def environment_mark(folder: Path | str) -> bytes:
    """Return the first bytes of the environment of all processes started for a folder of this path."""
    return f"{FOLDER_VARIABLE}={folder}".encode()


def end_marked(mark: bytes, since: int = 0) -> None:
    """Kill all processes with `mark` in their environment that were started after the process `since`.

    Does nothing without /proc.
    """
    for _ in range(_ROUNDS):  # a killed process may have started another just before
        found = [pid for pid in _list_processes() if pid > since and _has_mark(pid, mark)]
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _list_processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir(_PROCESSES) if name.isdigit()]  # noqa: PTH208  # no Path for each
    except FileNotFoundError:
        return []


def _has_mark(pid: int, mark: bytes) -> bool:
    """Return whether the process has `mark`; a zombie has no environment."""
    try:
        environment = (_PROCESSES / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return any(variable.startswith(mark) for variable in environment.split(b"\0"))


def main() -> None:
    """Wait until the daemon, which holds the other end of stdin, is gone; then end what it left behind."""
    sys.stdin.buffer.read()
    end_marked(sys.argv[3].encode())
