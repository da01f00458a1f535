"""What Linux reports of a child: whether memory ran out, and what it waited for. Other kernels report nothing."""

from __future__ import annotations

import re
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Final

_VMSTAT: Final = Path("/proc/vmstat")
_OWN_GROUP: Final = Path("/proc/self/cgroup")
_GROUPS: Final = Path("/sys/fs/cgroup")
_KILLS: Final = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)
_THREADS: Final = "Threads:"
_NANO: Final = 1e-9
_STARVED_FRACTION: Final = 0.5


class Hindrance(StrEnum):
    """What kept a process from working."""

    PROCESSOR = "processor"
    STORAGE = "storage"


def count_memory_kills() -> int:
    """Return how many processes the kernel killed for lack of memory, in our control group and on this machine."""
    return _read_kills(_VMSTAT) + _read_kills(_group_events_path())


def find_hindrance(pid: int, seconds: float) -> Hindrance | None:
    """Return what kept a process that ran for `seconds` from working; None if nothing did or it is unknown.

    PROCESSOR: a thread was ready to run for half of the time while others ran; unless those were the process's own
    threads, with a processor for half of the time together. STORAGE: a thread waits for an uninterruptible read, as
    of a disk or network share that does not answer.
    """
    return find_hindrance_in(Path(f"/proc/{pid}"), seconds)


def find_hindrance_in(process: Path, seconds: float) -> Hindrance | None:
    """Return `find_hindrance` of the process with this folder in /proc."""
    with suppress(OSError, ValueError, IndexError):
        threads = list((process / "task").iterdir())
        if any(_read_state(thread) == "D" for thread in threads):
            return Hindrance.STORAGE
        times = [_ran_and_waited_seconds(thread) for thread in threads]
        ran, waited = sum(ran for ran, _ in times), max(waited for _, waited in times)
        if waited > _STARVED_FRACTION * seconds > ran:
            return Hindrance.PROCESSOR
    return None


def count_threads(pid: int) -> int:
    """Return the number of threads of a process; 0 if unknown."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        return int(next(line.removeprefix(_THREADS) for line in lines if line.startswith(_THREADS)))
    return 0


def _read_state(thread: Path) -> str:
    """Return the letter of the thread's state, which follows a name that may contain anything."""
    return (thread / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]


def _ran_and_waited_seconds(thread: Path) -> tuple[float, float]:
    ran, waited = (thread / "schedstat").read_text().split()[:2]
    return int(ran) * _NANO, int(waited) * _NANO


def _group_events_path() -> Path:
    with suppress(OSError):
        for line in _OWN_GROUP.read_text().splitlines():
            if line.startswith("0::/"):
                return _GROUPS / line.removeprefix("0::/") / "memory.events"
    return _GROUPS / "memory.events"


def _read_kills(path: Path) -> int:
    # Read for every item: the lines before it are many.
    with suppress(OSError):
        found = _KILLS.search(path.read_bytes())
        return int(found[1]) if found else 0
    return 0
