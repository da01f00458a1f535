"""Tests the sandbox on this machine: a process enters it, tries to get out, and reports what it reached."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from vvwatch.processors.isolated import isolated_command
from vvwatch.processors.sandbox import Sandbox, enter_sandbox

COMMAND: Final = isolated_command("vvwatch.processors.sandbox.trial")
_SECONDS: Final = 8.0
_LAST_WORDS: Final = 300


@dataclass(frozen=True, slots=True)
class Trial:
    """The confinement of a process, and which attempts `reached` something: `files`, `network`, `processes`."""

    sandbox: Sandbox
    reached: tuple[str, ...]


def try_sandbox() -> Trial:
    """Return what the sandbox achieves here. Blocks. Raises OSError, with a reason, if it cannot be entered."""
    try:
        done = subprocess.run(COMMAND, capture_output=True, timeout=_SECONDS, check=True, env={})  # noqa: S603
        said = json.loads(done.stdout)
        return Trial(Sandbox(said["landlock"], seccomp=said["seccomp"]), tuple(said["reached"]))
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip()[-_LAST_WORDS:]
        raise OSError(words or f"exit status {error.returncode}") from error
    except (subprocess.TimeoutExpired, ValueError, KeyError) as error:
        raise OSError(str(error)) from error


def main() -> None:
    """Enter, try, and write the outcome as JSON to stdout."""
    sandbox = enter_sandbox()
    attempts: dict[str, Callable[[], object]] = {
        "files": lambda: os.open(os.devnull, os.O_RDONLY),
        "network": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "processes": lambda: os.kill(os.getppid(), 0),
    }
    reached = []
    for name, attempt in attempts.items():
        with suppress(OSError):
            attempt()
            reached.append(name)
    print(json.dumps({"landlock": sandbox.landlock, "seccomp": sandbox.seccomp, "reached": reached}))  # noqa: T201
