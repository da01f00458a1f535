"""What the sandbox of decoders is worth on this machine, and who hears of it when it lacks something."""

from __future__ import annotations

from typing import Final

from vvwatch.ports import Finding
from vvwatch.processors import sandbox
from vvwatch.processors.sandbox import trial
from vvwatch.telemetry import Telemetry

_SUBJECT: Final = "sandbox of decoders"


def report_sandbox(telemetry: Telemetry) -> None:
    """Report once, at the start, what this machine lacks: media is processed all the same."""
    found = sandbox.probe_sandbox()
    if found.lacks:
        telemetry.emit("sandbox.incomplete", lacks=found.lacks, hint=sandbox.HINT)


def check_sandbox() -> list[Finding]:
    """Try the sandbox and return what it is worth. Blocks."""
    try:
        found = trial.try_sandbox()
    except OSError as error:
        return [
            Finding(_SUBJECT, "problem", f"cannot be entered, so no media is read: {error}", sandbox.HINT)
        ]
    if found.sandbox.lacks:
        return [Finding(_SUBJECT, "warning", found.sandbox.lacks, sandbox.HINT)]
    if found.reached:
        return [
            Finding(_SUBJECT, "problem", f"a process in it reached {', '.join(found.reached)}", sandbox.HINT)
        ]
    detail = f"no files, no network, no other processes (Landlock {found.sandbox.landlock}, seccomp)"
    return [Finding(_SUBJECT, "ok", detail)]
