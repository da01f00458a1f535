"""Report how well this machine can sandbox decoders."""

from __future__ import annotations

from typing import Final

from vvwatch.ports import Finding
from vvwatch.processors import sandbox
from vvwatch.processors.sandbox import trial
from vvwatch.telemetry import Telemetry

_SUBJECT: Final = "sandbox of decoders"


def report_sandbox(telemetry: Telemetry) -> None:
    """Report once, at the start, what the sandbox lacks here; media is processed anyway."""
    found = sandbox.probe_sandbox()
    if found.lacks:
        telemetry.emit("sandbox.incomplete", lacks=found.lacks, hint=sandbox.HINT)


def check_sandbox() -> list[Finding]:
    """Try the sandbox and return findings about it. Blocks."""
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
