"""vvwatch under a booted systemd, and in its image: scripts that need root, which VVWATCH_FULL=1 runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import slices

TESTS = Path(__file__).parents[1]
MINUTES = 45
WANTED = {
    "systemd/boot.sh": ("systemd-nspawn", "mmdebstrap", "dpkg-deb"),
    "image/contract.sh": ("podman", "unshare", "nsenter", "setpriv"),
}
"""Each script with the programs that it needs."""


def what_is_missing(script: str) -> str | None:
    if not slices.FULL:
        return "it takes minutes: VVWATCH_FULL=1 runs it"
    if os.geteuid() != 0:
        return "it needs root"
    missing = [name for name in WANTED[script] if shutil.which(name) is None]
    return f"{', '.join(missing)} is missing" if missing else None


@pytest.mark.timeout(60 * MINUTES)
@pytest.mark.parametrize("script", WANTED)
def test_every_check_passes(script: str) -> None:
    if reason := what_is_missing(script):
        pytest.skip(f"NOT TESTED: tests/{script}, because {reason}")
    ran = subprocess.run(
        [TESTS / script], capture_output=True, text=True, check=False, timeout=60 * MINUTES - 10
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "FAILED" not in ran.stdout
    assert ran.stdout.count("\nok ") > 15
    assert ran.stdout.endswith("all checks passed\n")
