"""`vvwatch run`: options to configuration, and what comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from vvwatch.config import Config
from vvwatch.errors import StoreLocked


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `serve` was called with; it says that it is ready and ends with exit code 75."""
    import vvwatch.daemon

    calls: list[Any] = []

    async def serve(config: Config, options: Any) -> int:
        calls.append((config, options))
        options.announce("vvwatch 0.1.0 ready on http://127.0.0.1:1")
        return 75

    monkeypatch.setattr(vvwatch.daemon, "serve", serve)
    return calls


def test_options_win_over_the_environment_and_the_file(
    run: Run, served: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "vvwatch.toml"
    file.write_text('listen = "127.0.0.1:1"\ndrain_seconds = 7\n[log]\nlevel = "error"\n')
    monkeypatch.setenv("VVWATCH_LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("VVWATCH_LOG_LEVEL", "debug")
    monkeypatch.chdir(tmp_path)
    done = run(
        "run", "--config", str(file), "--listen", "127.0.0.1:3", "--state-dir", "here", "--log-format", "json"
    )
    assert done.exit_code == 75
    config, _ = served[0]
    assert (config.listen, config.drain_seconds) == ("127.0.0.1:3", 7)
    assert (config.log.level, config.log.format) == ("debug", "json")
    assert config.state_dir == tmp_path / "here"


def test_a_reload_reads_the_file_anew_and_keeps_the_options(
    run: Run, served: list[Any], tmp_path: Path
) -> None:
    file = tmp_path / "vvwatch.toml"
    file.write_text("drain_seconds = 7\n")
    run("run", "--config", str(file), "--listen", "127.0.0.1:3")
    file.write_text("drain_seconds = 8\n")
    again = served[0][1].reload()
    assert (again.drain_seconds, again.listen) == (8, "127.0.0.1:3")


def test_readiness_is_one_line_on_stdout(run: Run, served: list[Any]) -> None:
    assert run("run").stdout == "vvwatch 0.1.0 ready on http://127.0.0.1:1\n"
    document = json.loads(run("run", "--json").stdout)
    assert document["event"] == "ready"
    assert document["address"] == "http://127.0.0.1:1"


def test_an_invalid_configuration_starts_nothing_and_exits_with_78(
    run: Run, served: list[Any], tmp_path: Path
) -> None:
    file = tmp_path / "vvwatch.toml"
    file.write_text('lisen = "x"\n')
    done = run("run", "--config", str(file), "--log-level", "loud")
    assert done.exit_code == 78
    assert f"  where: {file}:1 lisen: is not a known key" in done.stderr
    assert "  where: flags log.level: " in done.stderr
    assert served == []


def test_a_wrong_option_alone_is_a_usage_error(run: Run, served: list[Any]) -> None:
    done = run("run", "--listen", "nope")
    assert done.exit_code == 2
    assert "  where: flags listen: 'nope' is no address" in done.stderr
    assert "  try: the same command with --help" in done.stderr
    assert served == []


def test_a_daemon_that_cannot_start_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import vvwatch.daemon

    async def serve(*_: object) -> int:
        raise ExceptionGroup("tasks", [StoreLocked("another process owns the database", "stop it")])

    monkeypatch.setattr(vvwatch.daemon, "serve", serve)
    done = run("run")
    assert done.exit_code == 1
    assert done.stderr == "error: another process owns the database\n  try: stop it\n"
