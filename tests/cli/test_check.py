"""`vvwatch check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run

WRONG = """\
listen = "nowhere"
colour = "blue"
[automations.a]
index = "missing"
connector = "missing"
"""


def test_all_problems_are_listed_with_file_line_and_key(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "vvwatch.toml"
    file.write_text(WRONG)
    done = run("check", "--config", str(file))
    assert done.exit_code == 78
    lines = done.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines[:-1]] == [
        f"{file}:1 listen",
        f"{file}:2 colour",
        f"{file}:4 automations.a.index",
        f"{file}:5 automations.a.connector",
    ]
    assert "(allowed: " in lines[0]
    assert lines[-1] == f"{file}: 4 problems"


def test_programs_get_every_part_of_a_problem(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "vvwatch.toml"
    file.write_text(WRONG)
    done = run("check", "--config", str(file), "--json")
    assert done.exit_code == 78
    document = json.loads(done.stdout)
    assert (document["file"], document["valid"], len(document["problems"])) == (str(file), False, 4)
    assert document["problems"][0].keys() == {"file", "line", "key", "what", "allowed", "hint"}


def test_warnings_do_not_make_a_configuration_unusable(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "vvwatch.toml"
    file.write_text('listen = "0.0.0.0:8787"\n')
    done = run("check", "--config", str(file))
    assert done.exit_code == 0
    assert done.stdout.startswith(f"warning: {file}:1 listen: other machines can reach this address")
    assert "good (0 automations, 0 connectors, 0 webhooks)" in done.stdout
    document = json.loads(run("check", "--config", str(file), "--json").stdout)
    assert document["valid"]
    assert len(document["warnings"]) == 1


def test_without_a_file_the_environment_is_checked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("check").exit_code == 0
    monkeypatch.setenv("VVWATCH_LISTEN", "nowhere")
    done = run("check")
    assert done.exit_code == 78
    assert done.stdout.startswith("environment VVWATCH_LISTEN: ")


def test_a_file_that_is_not_there_is_a_problem(run: Run, tmp_path: Path) -> None:
    done = run("check", "--config", str(tmp_path / "gone.toml"))
    assert done.exit_code == 78
    assert "No such file" in done.stdout
