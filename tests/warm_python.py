"""Python processes that start in no time, for tests that start hundreds: forked where the daemon is imported already.

They are processes of their own all the same: same code, real signals, nothing shared with the test.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from subprocess import TimeoutExpired
from typing import TextIO

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "vvwatch.cli.run",
        "vvwatch.daemon.lifecycle",
        "vvwatch.api.app",
        "vvwatch.store.db.sqlite_engine",
        "vvwatch.store.db.postgres_engine",
        "vvwatch.providers.s3.storage",
        "vvwatch.providers.gcs.storage",
        "vvwatch.providers.azure.storage",
        "asyncpg",
        "sqlalchemy.dialects.sqlite",
        "sqlalchemy.dialects.postgresql.asyncpg",
        "sqlalchemy.ext.asyncio",
    ]
)


class WarmPython:
    """What `subprocess.Popen([sys.executable, *command], stdout=PIPE, stderr=log, text=True)` gives, sooner."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        reader, writer = _context.Pipe(duplex=False)
        self._process = _context.Process(target=_run, args=(command, dict(environ), log, writer), daemon=True)
        self._process.start()
        writer.close()
        self.stdout: TextIO = os.fdopen(os.dup(reader.fileno()))
        reader.close()
        self.pid = self._process.pid or 0

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Its exit code, minus the signal's number when one ended it. Raises TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutExpired("python", timeout)
        return self._process.exitcode


def _run(command: Sequence[str], environ: Mapping[str, str], log: Path, out: Connection) -> None:
    os.environ.clear()
    os.environ.update(environ)
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), 2)
    os.dup2(out.fileno(), 1)
    out.close()
    if command[0] == "-m":
        sys.argv = list(command[1:])
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(command)
        runpy.run_path(command[0], run_name="__main__")
