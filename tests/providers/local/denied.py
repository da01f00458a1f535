"""Lists a folder as somebody who may not read all of it; prints what was found. Run by test_local.py.

Root may read everything, so root becomes nobody first.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio

from vvwatch.errors import StorageError
from vvwatch.providers.local.storage import LocalStorage

_NOBODY = 65534


async def look(root: Path) -> dict[str, Any]:
    storage = LocalStorage(root, allowed_roots=[root])
    pages = [page async for page in storage.list("", recursive=True)]
    return {
        "keys": sorted(obj.key for page in pages for obj in page.objects),
        "irregular": sorted([found.key, found.reason] for page in pages for found in page.irregular),
        "errors": {
            "descriptor": await refusal(storage, "locked.mp4"),
            "write": await written(storage, root / "plain.mp4"),
            "closed": await listed(LocalStorage(root / "closed", allowed_roots=[root])),
        },
    }


async def refusal(storage: LocalStorage, key: str) -> list[str]:
    obj = await storage.stat(key)
    assert await storage.in_use([key]) == set()
    try:
        async with storage.descriptor(key, obj.version):
            return []
    except StorageError as error:
        return [type(error).__name__, error.hint]


async def written(storage: LocalStorage, source: Path) -> list[str]:
    try:
        await storage.write("out.json", source, content_type="x/y")
    except StorageError as error:
        return [type(error).__name__, error.hint]
    return []


async def listed(storage: LocalStorage) -> list[str]:
    try:
        return [str(page) async for page in storage.list("", recursive=True)]
    except StorageError as error:
        return [type(error).__name__, error.hint]


async def nothing() -> None:
    """Has everything imported while it may be read."""


if __name__ == "__main__":
    anyio.run(nothing)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    print(json.dumps(anyio.run(look, Path(sys.argv[1]))))
