"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.fake_daemon import FakeDaemon, serving
from vvwatch.cli.root import vvwatch

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own daemons, terminal or home."""
    for name in (
        "CONFIGURATION_DIRECTORY",
        "STATE_DIRECTORY",
        "NO_COLOR",
        "FORCE_COLOR",
        "XDG_STATE_HOME",
        "COLUMNS",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in (
        "CONFIG",
        "STATE_DIR",
        "LISTEN",
        "URL",
        "API_KEY",
        "ADMIN_KEY",
        "ADMIN_KEY_FILE",
        "DATABASE_URL",
        "DATABASE_URL_FILE",
        "LOG_FORMAT",
        "LOG_LEVEL",
    ):
        monkeypatch.delenv(f"VVWATCH_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def run() -> Run:
    """Run a command line; its exit code, stdout and stderr."""

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(vvwatch, args, prog_name="vvwatch")

    return invoke


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """A daemon that the commands find by $VVWATCH_STATE_DIR."""
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    monkeypatch.setenv("VVWATCH_STATE_DIR", str(state_dir))
    with serving(state_dir) as daemon:
        yield daemon
