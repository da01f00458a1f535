"""ministack: S3, SQS, SNS and their events, in memory. It takes any credentials."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators.s3_server import S3Server, listening, running
from tests.fault_proxy import LOOPBACK, free_port

VERSION = "1.5.33"
ROOT = Path(__file__).parents[2] / ".emulators"


def interpreter(request: pytest.FixtureRequest) -> Path:
    """Return the Python of the environment that has ministack, which is made on first use.

    It has its own because ministack pins another botocore. Processes that come at once wait for the first. That
    does not count against the time of the test that happens to be first.
    """
    home = ROOT / f"ministack-{VERSION}"
    python = home / "bin" / "python"
    if not python.exists():
        request.config.hook.pytest_timeout_cancel_timer(item=request._pyfuncitem)
    ROOT.mkdir(exist_ok=True)
    with (ROOT / "ministack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not python.exists():
            _install(home)
    return python


def _install(home: Path) -> None:
    """Nothing stands at `home` before all of it does: only its scripts, which nobody calls, know the old name."""
    unfinished = home.with_name(f"{home.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    _run("venv", "--without-pip", str(unfinished))
    target = ["--python", str(unfinished / "bin" / "python")]
    _run("pip", *target, "install", "--no-input", "--no-compile", f"ministack=={VERSION}")
    unfinished.rename(home)


def _run(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


@pytest.fixture(scope="session")
def ministack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests of a run, each of which makes buckets of its own."""
    folder, port = tmp_path_factory.mktemp("ministack"), free_port()
    env = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": LOOPBACK,
        "MINISTACK_HOST": LOOPBACK,
        "S3_DATA_DIR": str(folder),
    }
    command = [str(interpreter(request)), "-m", "ministack"]
    with running(command, folder / "log", lambda: listening((LOOPBACK, port)), env):
        yield S3Server(f"http://{LOOPBACK}:{port}")
