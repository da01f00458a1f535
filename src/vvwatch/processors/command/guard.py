"""A small process that survives a killed daemon for a moment to end the programs left running."""

from __future__ import annotations

from subprocess import DEVNULL, PIPE
from typing import Final

import anyio
from anyio.abc import Process

from vvwatch.core.shortages import start_failed
from vvwatch.processors.isolated import isolated_command
from vvwatch.processors.processes import start_process

_GRACE_SECONDS: Final = 10.0


class Guard:
    """Watches over the processes with `mark` in their environment, from the first `start` on."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._process: Process | None = None
        self._lock = anyio.Lock()

    async def start(self) -> None:
        """Start the process unless it runs. Raises MachineShortage when it cannot be started."""
        async with self._lock:
            if self._process is not None and self._process.returncode is None:
                return
            command = isolated_command("vvwatch.processors.command.leftovers", self._mark.decode())
            try:
                self._process = await start_process(
                    command, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, env={}
                )
            except OSError as error:
                raise start_failed(error, command[0]) from error

    async def aclose(self) -> None:
        """End it; before it exits, it ends whatever still runs."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with anyio.CancelScope(shield=True):
            await process.stdin.aclose()
            with anyio.move_on_after(_GRACE_SECONDS):
                await process.wait()
            if process.returncode is None:
                process.kill()
