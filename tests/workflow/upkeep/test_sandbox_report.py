"""What `doctor` and the log say of the sandbox that decoders have on this machine."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from vvwatch.processors import isolated, sandbox
from vvwatch.processors.sandbox import Sandbox, landlock, seccomp, trial
from vvwatch.workflow.upkeep import sandbox_report

ROOT = isolated.ROOT
LACKING = (
    "import sys; sys.path.insert(0, sys.argv[1])\n"
    "from vvwatch.processors.sandbox import landlock, seccomp, trial\n"
    "{}\n"
    "trial.main()\n"
)
NO_LANDLOCK = "landlock.landlock_version = lambda: 0"
NO_SECCOMP = "seccomp.is_available = lambda: False"


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def emit(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))


def lacking(monkeypatch: pytest.MonkeyPatch, *what: str) -> None:
    """The process that tries the sandbox runs on a kernel that lacks a part of it."""
    code = LACKING.format("\n".join(what))
    monkeypatch.setattr(trial, "COMMAND", (sys.executable, "-I", "-c", code, ROOT))


def test_a_kernel_with_everything_is_said_to_hold_it() -> None:
    assert landlock.landlock_version() > 0, (
        "the tests of the sandbox need a kernel with Landlock: lsm=landlock"
    )

    (found,) = sandbox_report.check_sandbox()

    assert (found.subject, found.state, found.fix) == ("sandbox of decoders", "ok", "")
    assert found.detail.startswith("no files, no network, no other processes (Landlock ")


def test_without_landlock_system_calls_are_filtered_still(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, NO_LANDLOCK)

    assert trial.try_sandbox() == trial.Trial(Sandbox(0, seccomp=True), ())
    (found,) = sandbox_report.check_sandbox()
    assert found.state == "warning"
    assert "no Landlock" in found.detail
    assert "filter" not in found.detail
    assert "lsm=" in found.fix


def test_without_seccomp_files_are_out_of_reach_still(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, NO_SECCOMP)

    found = trial.try_sandbox()
    assert not found.sandbox.seccomp
    assert "files" not in found.reached
    (finding,) = sandbox_report.check_sandbox()
    assert (finding.state, "no filter of system calls" in finding.detail) == ("warning", True)


def test_where_nothing_holds_both_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, NO_LANDLOCK, NO_SECCOMP)

    assert trial.try_sandbox().reached == ("files", "network", "processes")
    (found,) = sandbox_report.check_sandbox()
    assert found.state == "warning"
    assert "no Landlock" in found.detail
    assert "no filter" in found.detail


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise OSError(12, 'landlock_restrict_self: no memory')", "landlock_restrict_self"),
        ("print('nonsense')", "Expecting value"),
        ("raise SystemExit(3)", "exit status 3"),
    ],
)
def test_a_sandbox_that_cannot_be_entered_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    monkeypatch.setattr(trial, "COMMAND", (sys.executable, "-I", "-c", code))

    (found,) = sandbox_report.check_sandbox()

    assert (found.state, said in found.detail) == ("problem", True)


def test_what_a_process_reached_although_all_is_there_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "try_sandbox", lambda: trial.Trial(Sandbox(7, seccomp=True), ("network",)))

    (found,) = sandbox_report.check_sandbox()

    assert (found.state, "reached network" in found.detail) == ("problem", True)


def test_the_log_tells_once_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    log: Any = Log()
    sandbox_report.report_sandbox(log)
    monkeypatch.setattr(landlock, "landlock_version", lambda: 0)
    sandbox_report.report_sandbox(log)

    assert log.events == [
        ("sandbox.incomplete", {"lacks": Sandbox(0, seccomp=True).lacks, "hint": sandbox.HINT})
    ]


def test_a_system_that_is_not_linux_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    assert sandbox.probe_sandbox() == Sandbox(0, seccomp=False)
    assert not seccomp.is_available()
