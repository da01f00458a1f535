"""Watches more folders than the budget of inotify watches allows; prints what it came to. Run by test_source.py.

`starving.py FOLDER namespace` sets the budget of its own user namespace, `starving.py FOLDER here` only counts no
more watches than that where namespaces are not to be had.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio

from tests.providers.local.witness import Witness, until
from vvwatch.providers.local import limits, watchfiles_tree

_BUDGET = 20


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
        counted = limits.count_watches
        setattr(watchfiles_tree, "count_watches", lambda inode: min(_BUDGET, counted(inode) or 0))  # noqa: B010
    print(json.dumps(anyio.run(starve, Path(sys.argv[1]))))
