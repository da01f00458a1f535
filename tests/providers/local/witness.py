"""Follows a folder source as a workflow would: looks at touched keys, lists prefixes. Used by tests and bench."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from vvwatch.clock import SystemClock
from vvwatch.errors import StorageUnavailable
from vvwatch.ports import Hint, Irregularity
from vvwatch.providers.local.source import FolderSource
from vvwatch.providers.local.storage import LocalStorage


class Witness:
    """Remembers every key that a hint named or that a listing it asked for found, and when it first did."""

    def __init__(
        self,
        root: Path,
        *,
        sweep_seconds: float = 300.0,
        polling_seconds: float = 300.0,
    ) -> None:
        self.source = FolderSource(
            root,
            clock=SystemClock(),
            sweep_seconds=sweep_seconds,
            polling_seconds=polling_seconds,
        )
        self.seen: dict[str, float] = {}
        self.hinted: set[str] = set()
        self.irregular: list[Irregularity] = []
        self.rescans: list[str] = []
        self.states: list[str] = []
        self._storage = LocalStorage(root, allowed_roots=[root])

    async def notice(self, hint: Hint) -> None:
        self.states.append(self.source.health.state)
        self.hinted.update(hint.keys)
        for key in hint.keys:
            self.seen.setdefault(key, time.monotonic())
        for prefix in hint.rescan:
            self.rescans.append(prefix)
            await self._list(prefix)

    async def _list(self, prefix: str) -> None:
        try:
            async for page in self._storage.list(prefix, recursive=True):
                self.irregular.extend(page.irregular)
                for obj in page.objects:
                    self.seen.setdefault(obj.key, time.monotonic())
        except StorageUnavailable:
            pass

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch for the life of the block, from when the source has said that it does."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.source.run, self.notice)
            await until(lambda: bool(self.rescans) or self.source.health.state == "failed")
            yield
            tasks.cancel_scope.cancel()


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return as soon as `condition` holds; TimeoutError after `seconds`."""
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - the kernel sets no event
            await anyio.sleep(0.01)
