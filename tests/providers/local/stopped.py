"""Watches a folder until so many files are seen: `stopped.py FOLDER COUNT`. Run and stopped by test_source.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio

from tests.providers.local.witness import Witness, until


async def watch(root: Path, count: int) -> None:
    witness = Witness(root)
    async with witness.watching():
        print("watching", flush=True)
        await until(lambda: len(witness.seen) >= count)
        health = witness.source.health
    print(json.dumps({"seen": len(witness.seen), "hinted": len(witness.hinted), "state": health.state}))


if __name__ == "__main__":
    anyio.run(watch, Path(sys.argv[1]), int(sys.argv[2]))
