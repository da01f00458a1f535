"""A local folder as a source: kernel notifications for speed, listings for correctness.

Every notification becomes a hint. Where one may be missing, a listing is requested: at the start, for each new
folder, after a burst, when the root returns, and periodically.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from vvwatch.errors import StorageError
from vvwatch.ports import Clock, Hint, SourceHealth
from vvwatch.providers.local.filesystems import remote_filesystem
from vvwatch.providers.local.limits import report_refused
from vvwatch.providers.local.outbox import Outbox
from vvwatch.providers.local.watchfiles_tree import WatchfilesTree

_PATROL_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 1.0
_LONGEST_RETRY_SECONDS: Final = 30.0
_CALM_SECONDS: Final = 60.0
_SHORT_SECONDS: Final = 60.0


class FolderSource:
    """Hints about the folder at `root`; keys are relative to it, and names that start with a dot are left out.

    Everything is listed again every `sweep_seconds`, and every `polling_seconds` while `health` is degraded:
    when the kernel's limits do not suffice, or others change the folder over a network. Never ends but by
    cancellation; what `notify` raises passes through.
    """

    def __init__(
        self, root: Path, *, clock: Clock, sweep_seconds: float, polling_seconds: float = 30.0
    ) -> None:
        self.health = SourceHealth("starting")
        self._root = root
        self._clock = clock
        self._sweep_seconds = sweep_seconds
        self._polling_seconds = min(polling_seconds, sweep_seconds)
        self._patrol_seconds = min(_PATROL_SECONDS, self._polling_seconds)
        self._remote: str | None = None

    async def run(self, notify: Callable[[Hint], Awaitable[None]]) -> None:
        """As `Source.run`: one listing of everything is hinted at once, when nothing more can be missed."""
        outbox = Outbox()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outbox.deliver, notify)
            await self._keep_watching(outbox)

    async def _keep_watching(self, outbox: Outbox) -> None:
        pause = _RETRY_SECONDS
        while True:
            began = self._clock.monotonic()
            try:
                await self._watch(outbox)
            except StorageError as error:
                self.health = SourceHealth("failed", error.message, error.hint)
                pause = _RETRY_SECONDS
            except OSError as error:
                self.health = report_refused(error)
                outbox.add(rescan=("",))
            if self._clock.monotonic() - began > _CALM_SECONDS:
                pause = _RETRY_SECONDS
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)

    async def _watch(self, outbox: Outbox) -> None:
        """Watch until some folders are not watched. Raises StorageError when the root goes, OSError."""
        tree = await to_thread.run_sync(WatchfilesTree, self._root)
        try:
            while await self._follow_tree(tree, outbox) and await to_thread.run_sync(tree.is_complete):
                pass
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(tree.close)

    async def _follow_tree(self, tree: WatchfilesTree, outbox: Outbox) -> bool:
        """Have everything listed, and follow the tree until the next full scan; False when it must be replaced."""
        self._remote = await to_thread.run_sync(remote_filesystem, self._root)
        self.health = self._judge(tree)
        swept_at = listed_at = self._clock.monotonic()
        outbox.add(rescan=("",))
        lasts = self._sweep_seconds if tree.shortfall is None else min(self._sweep_seconds, _SHORT_SECONDS)
        while (now := self._clock.monotonic()) - swept_at < lasts:
            if self.health.state == "degraded" and now - listed_at >= self._polling_seconds:
                listed_at = now
                outbox.add(rescan=("",))
            await self._wait(tree)
            changes = await to_thread.run_sync(tree.read)
            outbox.add(changes.keys, changes.rescan)
            if changes.incomplete:
                return False
        return True

    async def _wait(self, tree: WatchfilesTree) -> None:
        waits = tree.wait_seconds()
        with anyio.move_on_after(self._patrol_seconds if waits is None else min(waits, self._patrol_seconds)):
            await anyio.wait_readable(tree)

    def _judge(self, tree: WatchfilesTree) -> SourceHealth:
        if (short := tree.shortfall) is not None:
            return replace(
                short, reason=f"{short.reason}; changes there are seen every {self._polling_seconds:g} s"
            )
        if self._remote:
            return SourceHealth(
                "degraded",
                f"others change a folder on {self._remote} unseen; it is listed every {self._polling_seconds:g} s",
                "watch it on the machine that stores it, or accept the delay",
            )
        return SourceHealth("healthy")
