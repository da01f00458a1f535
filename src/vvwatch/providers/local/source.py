"""A local folder as a source: kernel notifications for speed, listings for correctness.

Every notification becomes a hint. Where one may be missing, a listing is requested: at the start, for each new
folder, after an overflow, when the root returns, and periodically.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from vvwatch.errors import StorageError
from vvwatch.ports import Clock, Hint, SourceHealth
from vvwatch.providers.local.limits import report_overflow, report_refused
from vvwatch.providers.local.mounts import remote_filesystem
from vvwatch.providers.local.notifier import Notifier
from vvwatch.providers.local.outbox import Outbox
from vvwatch.providers.local.watched_tree import WatchedTree
from vvwatch.providers.local.watchfiles_tree import WatchfilesTree

_BATCH_SECONDS: Final = 0.01
_PATROL_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 1.0
_LONGEST_RETRY_SECONDS: Final = 30.0
_CALM_SECONDS: Final = 60.0


class FolderSource:
    """Hints about the folder at `root`; keys are relative to it, and names that start with a dot are left out.

    Everything is listed again every `sweep_seconds`, and every `polling_seconds` while `health` is degraded:
    when the kernel's budgets do not suffice, or others change the folder over a network. Never ends but by
    cancellation; what `notify` raises passes through. `notifier` makes the one that tells of changes; by default
    it is `native_notifier()`.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock,
        sweep_seconds: float,
        polling_seconds: float = 30.0,
        notifier: Callable[[Path], Notifier] | None = None,
    ) -> None:
        self.health = SourceHealth("starting")
        self._root = root
        self._notifier = notifier or native_notifier()
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
        """Watch until changes were thrown away. Raises StorageError when the root goes, OSError."""
        tree = await to_thread.run_sync(self._notifier, self._root)
        try:
            while await self._sweep(tree, outbox):
                pass
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(tree.close)

    async def _sweep(self, tree: Notifier, outbox: Outbox) -> bool:
        """Watch the whole tree, have it listed, and follow it until the next sweep; False when it overflowed."""
        self._remote = await to_thread.run_sync(remote_filesystem, self._root)
        tree.revisit()
        await self._grow(tree)
        swept_at = listed_at = self._clock.monotonic()
        outbox.add(rescan=("",))
        while (now := self._clock.monotonic()) - swept_at < self._sweep_seconds:
            if self.health.state == "degraded" and now - listed_at >= self._polling_seconds:
                listed_at = now
                outbox.add(rescan=("",))
            await self._wait(tree)
            if not await self._follow(tree, outbox):
                return False
        return True

    async def _wait(self, tree: Notifier) -> None:
        with anyio.move_on_after(self._patrol_seconds):
            await anyio.wait_readable(tree)
            await self._clock.sleep(_BATCH_SECONDS)

    async def _follow(self, tree: Notifier, outbox: Outbox) -> bool:
        changes = await to_thread.run_sync(tree.read)
        if changes.rescan:
            await self._grow(tree)
        outbox.add(changes.keys, changes.rescan)
        if changes.overflowed:
            self.health = report_overflow()
        return not changes.overflowed

    async def _grow(self, tree: Notifier) -> None:
        while not await to_thread.run_sync(tree.grow):
            pass
        self.health = self._judge(tree)

    def _judge(self, tree: Notifier) -> SourceHealth:
        if (short := tree.shortfall()) is not None:
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


def native_notifier() -> Callable[[Path], Notifier]:
    """The one that tells most on this platform: inotify where the kernel has it, the watchfiles library elsewhere."""
    if sys.platform == "linux":
        return WatchedTree
    return WatchfilesTree
