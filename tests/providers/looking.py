"""What a storage lists, in the forms that tests compare."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from vvwatch.core.objects import StorageObject
from vvwatch.ports import Irregularity, Page
from vvwatch.providers.local.storage import LocalStorage


async def look(
    storage: LocalStorage, prefix: str = ""
) -> tuple[dict[str, StorageObject], list[Irregularity]]:
    pages = [page async for page in storage.list(prefix, recursive=True)]
    return {obj.key: obj for page in pages for obj in page.objects}, [
        found for page in pages for found in page.irregular
    ]


async def exhaust(listing: AsyncIterator[Page]) -> None:
    async for _ in listing:
        pass


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def keys(storage: LocalStorage, prefix: str = "") -> set[str]:
    return set((await look(storage, prefix))[0])
