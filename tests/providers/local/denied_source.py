"""Watches a folder as somebody who may not read all of it; prints what it came to. Run by test_source.py.

Root may read everything, so root becomes nobody first.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio

from tests.providers.local.witness import Witness, until

_NOBODY = 65534


async def watch(root: Path) -> dict[str, Any]:
    for name in ("closed", "lost+found", "open"):
        (root / name).mkdir()
        (root / name / "before.mp4").touch()
    (root / "closed").chmod(0)
    (root / "lost+found").chmod(0)
    witness = Witness(root)
    async with witness.watching():
        (root / "open" / "after.mp4").touch()
        await until(lambda: "open/after.mp4" in witness.hinted)
        (root / "new").mkdir()
        await until(lambda: witness.rescans.count("new/") == 2)
        (root / "new" / "late.mp4").touch()
        await until(lambda: "new/late.mp4" in witness.hinted)
        health, irregular = witness.source.health, sorted({found.key for found in witness.irregular})
        (root / "closed").chmod(0o755)
        await until(lambda: "closed/before.mp4" in witness.seen)
        (root / "closed" / "after.mp4").touch()
        await until(lambda: "closed/after.mp4" in witness.seen)
        (root / "closed" / "late.mp4").touch()
        await until(lambda: "closed/late.mp4" in witness.hinted)
    (root / "lost+found").chmod(0o755)
    return {"state": health.state, "irregular": irregular, "seen": sorted(witness.seen)}


async def nothing() -> None:
    """Has everything imported while it may be read."""


if __name__ == "__main__":
    anyio.run(nothing)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    print(json.dumps(anyio.run(watch, Path(sys.argv[1]))))
