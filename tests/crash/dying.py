"""A daemon's life that ends at one commit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from subprocess import TimeoutExpired

from tests.daemon_process import Daemon


def die_at(daemon: Daemon, moment: str, name: str, seconds: float = 40) -> None:
    """Let a life of `daemon` end right `before` or `after` the next commit called `name` (module.function)."""
    program = Path(__file__).with_name("dying_daemon.py")
    dying = replace(daemon, command=(str(program), moment, name)).spawn()
    assert dying.process is not None
    try:
        code = dying.process.wait(seconds)
    except TimeoutExpired:
        code = 0
    finally:
        dying.kill()
    assert code == -9, f"never {moment} {name}: {daemon.log.read_text()[-2000:]}"
