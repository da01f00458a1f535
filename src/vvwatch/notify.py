"""Notify the service manager: the protocol of systemd, without a library."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress


def is_systemd_service(environ: Mapping[str, str]) -> bool:
    """Whether a unit of systemd runs this process: the unit decides what it may see and write.

    $INVOCATION_ID is no sign of that: a terminal of a desktop hands its own on.
    """
    return "NOTIFY_SOCKET" in environ


class Notifier:
    """Sends messages to the service manager that started us; does nothing without one.

    Never raises: when the manager's socket is gone, there is nobody left to tell.
    """

    def __init__(self, environ: Mapping[str, str], process_id: int | None = None) -> None:
        """`process_id` is compared with $WATCHDOG_PID, so that only the process that is watched reports."""
        path = environ.get("NOTIFY_SOCKET", "")
        # An address that begins with @ is a name in the kernel's own space, written with a zero byte.
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self.watchdog_seconds = _watchdog_seconds(environ, process_id)
        """How long the manager waits for `watchdog()` before it kills us; None when it does not watch."""

    def ready(self, status: str) -> None:
        """Everything is up, or a reload is over (however it went)."""
        self._send("READY=1", _status_text(status))

    def reloading(self) -> None:
        """The configuration is being read again; `ready` follows."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str) -> None:
        """No new work is begun."""
        self._send("STOPPING=1", _status_text(status))

    def status(self, text: str) -> None:
        """What `systemctl status` shows."""
        self._send(_status_text(text))

    def watchdog(self) -> None:
        """Work goes on."""
        self._send("WATCHDOG=1")

    def extend_timeout(self, seconds: float) -> None:
        """Starting, reloading or stopping takes `seconds` from now; say so again before they are over."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with (
            suppress(OSError, ValueError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            # A manager that does not read must not hold up the work.
            channel.setblocking(False)
            channel.sendto("\n".join(lines).encode("utf-8", "backslashreplace"), self._address)


def _status_text(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"


def _watchdog_seconds(environ: Mapping[str, str], process_id: int | None) -> float | None:
    watched = environ.get("WATCHDOG_PID")
    if watched and process_id is not None and watched != str(process_id):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1_000_000 if microseconds.isdecimal() and int(microseconds) else None
