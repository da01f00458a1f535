"""The unit and its drop-ins, as systemd itself judges them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vvwatch.config import Settings
from vvwatch.options.fields import split_listen
from vvwatch.processors.sandbox.system_calls import ALLOWED, CREATES_FILES

UNITS = Path(__file__).parents[2] / "systemd"
SERVICE = (UNITS / "vvwatch.service").read_text(encoding="utf-8")
DROP_INS = sorted(UNITS.glob("*.conf"))
EXPOSURE_TIMES_TEN = 11


@pytest.fixture
def analyze() -> str:
    program = shutil.which("systemd-analyze")
    if program is None and os.environ.get("CI"):
        pytest.fail("systemd-analyze is needed to judge the unit: install the package systemd")
    if program is None:
        pytest.skip("NOT TESTED: the systemd unit, because systemd-analyze is missing (package systemd)")
    return program


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """A copy of the unit whose programs exist on any machine."""
    path = tmp_path / "vvwatch.service"
    path.write_text(re.sub(r"^(Exec\w+=)\S+", r"\1/bin/true", SERVICE, flags=re.MULTILINE))
    return path


def with_drop_in(unit: Path, text: str) -> None:
    folder = unit.with_name("vvwatch.service.d")
    folder.mkdir(exist_ok=True)
    (folder / "50-test.conf").write_text(text)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def complaints(analyze: str, unit: Path) -> str:
    """All that verification says: it ends well even when it has met an unknown key."""
    result = run(analyze, "verify", "--man=no", unit)
    return result.stdout + result.stderr + f"exit status {result.returncode}" * (result.returncode != 0)


def exposure(analyze: str, unit: Path, most: int = EXPOSURE_TIMES_TEN) -> subprocess.CompletedProcess[str]:
    return run(analyze, "security", "--no-pager", "--offline=true", f"--threshold={most}", unit)


def test_the_unit_gives_no_cause_for_complaint(analyze: str, unit: Path) -> None:
    assert complaints(analyze, unit) == ""


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.name)
def test_a_drop_in_gives_no_cause_for_complaint(analyze: str, unit: Path, drop_in: Path) -> None:
    with_drop_in(unit, drop_in.read_text(encoding="utf-8"))

    assert complaints(analyze, unit) == ""


def test_a_mistake_in_the_unit_or_a_drop_in_would_be_noticed(analyze: str, unit: Path) -> None:
    with_drop_in(unit, "[Service]\nProtectEverything=yes\n")

    assert "ProtectEverything" in complaints(analyze, unit)


def test_the_unit_is_hardly_exposed(analyze: str, unit: Path) -> None:
    result = exposure(analyze, unit)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.name)
def test_a_drop_in_exposes_hardly_more(analyze: str, unit: Path, drop_in: Path) -> None:
    with_drop_in(unit, drop_in.read_text(encoding="utf-8"))

    result = exposure(analyze, unit, EXPOSURE_TIMES_TEN + 1)

    assert result.returncode == 0, result.stdout + result.stderr


def test_an_open_unit_would_be_noticed(analyze: str, unit: Path) -> None:
    unit.write_text(unit.read_text().replace("CapabilityBoundingSet=\n", ""))

    assert exposure(analyze, unit).returncode != 0


def allowed_calls(analyze: str) -> set[str]:
    """The system calls that the unit allows."""
    filters = [line.split("=")[1] for line in SERVICE.splitlines() if line.startswith("SystemCallFilter=")]
    allowed: set[str] = set()
    for words in filters:
        calls = {call for word in words.lstrip("~").split() for call in _calls(analyze, word)}
        allowed = allowed - calls if words.startswith("~") else allowed | calls

    return allowed | _calls(analyze, "@default")


def test_a_decoding_child_may_lower_its_limits(analyze: str) -> None:
    allowed = allowed_calls(analyze)

    assert {"prlimit64", "prctl", "setsid", "execve"} <= allowed
    assert (
        not {"mount", "ptrace", "bpf", "setuid", "sched_setscheduler", "ioprio_set", "setpriority"} & allowed
    )


def test_a_drop_in_lets_it_lower_its_priority() -> None:
    lines = (UNITS / "50-low-priority.conf").read_text(encoding="utf-8").splitlines()

    assert lines[-1] == "SystemCallFilter=setpriority"


def test_a_decoding_child_may_enter_its_sandbox_and_use_what_is_left(analyze: str) -> None:
    landlock = {f"landlock_{call}" for call in ("create_ruleset", "add_rule", "restrict_self")}

    assert {"prctl", *landlock, *ALLOWED, *CREATES_FILES} <= allowed_calls(analyze)


def test_the_unit_says_what_the_configuration_says() -> None:
    port = split_listen(Settings().listen)[1]

    assert f"SocketBindAllow=tcp:{port}\n" in SERVICE
    stop = re.search(r"^TimeoutStopSec=(\d+)$", SERVICE, re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > Settings().drain_seconds


def test_a_stop_that_keeps_work_for_later_is_no_failure() -> None:
    """Exit code 75: see `daemon.drain_expired`. 78, a wrong configuration, is the only one that is not restarted."""
    assert "SuccessExitStatus=75\n" in SERVICE
    assert "RestartForceExitStatus=75\n" in SERVICE
    assert "RestartPreventExitStatus=78\n" in SERVICE


def test_no_memory_is_left_of_a_crash() -> None:
    assert "LimitCORE=0\n" in SERVICE


def test_nothing_delays_or_refuses_a_start() -> None:
    assert "network-online.target" not in SERVICE
    assert "StartLimitIntervalSec=0\n" in SERVICE
    assert "StartLimitBurst" not in SERVICE


def test_each_group_of_settings_has_a_reason() -> None:
    service = SERVICE.split("[Service]")[1].split("[Install]")[0]
    groups = [group for group in service.strip().split("\n\n") if group]

    assert all(group.startswith("# ") for group in groups)


def _calls(analyze: str, word: str) -> set[str]:
    """The system calls of a group, or the one call that is named."""
    if not word.startswith("@"):
        return {word}
    lines = run(analyze, "syscall-filter", word).stdout.splitlines()[1:]
    words = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return {call for each in words for call in _calls(analyze, each)}
