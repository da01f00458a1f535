"""Watches more folders than the budget of inotify watches allows; prints what it came to. Run by test_folder.py.

`starving.py FOLDER namespace` sets the budget of its own user namespace, `starving.py FOLDER here` refuses
watches by itself where namespaces are not to be had.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import anyio

from tests.providers.local.witness import Witness, until
from vvwatch.providers.local.inotify import Inotify

_BUDGET = 20


def refuse_beyond_budget() -> None:
    add = Inotify.add
    granted: set[str] = set()

    def adding(self: Inotify, directory: str, *, root: bool) -> int:
        if directory not in granted and len(granted) >= _BUDGET:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        granted.add(directory)
        return add(self, directory, root=root)

    Inotify.add = adding  # type: ignore[method-assign]


async def starve(root: Path) -> dict[str, object]:
    witness = Witness(root, polling_seconds=0.3)
    async with witness.watching():
        before = witness.source.health.state
        for number in range(40):
            (root / f"{number}").mkdir()
        await until(lambda: witness.source.health.state == "degraded")
        for number in range(40):
            (root / f"{number}" / "late.mp4").touch()
        await until(lambda: len(witness.seen) == 40)
        health = witness.source.health
    second = Witness(root)
    async with second.watching():
        at_start = second.source.health.state
    return {
        "before": before,
        "at_start": at_start,
        "reason": health.reason,
        "hint": health.hint,
        "hinted": len(witness.hinted),
    }


if __name__ == "__main__":
    if sys.argv[2] == "namespace":
        Path("/proc/sys/user/max_inotify_watches").write_text(f"{_BUDGET}")
    else:
        refuse_beyond_budget()
    print(json.dumps(anyio.run(starve, Path(sys.argv[1]))))
