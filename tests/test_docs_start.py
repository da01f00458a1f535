"""docs/start.md is true: its commands, one after the other in one shell, lead to what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.fault_proxy import free_port

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
INSTALL, *STEPS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
PATIENCE = 120
ENDED = f"timeout {PATIENCE} sh -c 'until grep -q export.ready events.log; do sleep 0.2; done'"
STARTED = (
    f"timeout {PATIENCE} sh -c 'until curl -sf http://127.0.0.1:8787/readyz; do sleep 0.2; done' && sleep 3"
)


def test_it_installs_what_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert re.findall(r"'(.+?)'", INSTALL) == [".[s3]", "moto[server]"]
    assert "s3" in project
    assert any(each.startswith("moto[server]") for each in project["test"])


def script() -> str:
    """All steps as a newcomer types them, with the waits of one who reads."""
    steps = list(STEPS)
    first, second = (place for place, text in enumerate(steps) if text.startswith("vvwatch status"))
    steps[first] = f"{ENDED}\n{steps[first]}"
    steps[second] = f"{STARTED}\n{steps[second]}"
    return "set -m -e\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n" + "".join(
        f"echo '== {number}'\n{text}" for number, text in enumerate(steps)
    )


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each step prints."""
    text = script()
    folder = tmp_path_factory.mktemp("start")
    for port in (9000, 9001, 8787):
        text = text.replace(str(port), str(free := free_port()))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("VVWATCH_")}
    environ |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"}
    environ |= {"XDG_STATE_HOME": str(folder / "home"), "VVWATCH_LISTEN": f"127.0.0.1:{free}"}
    out = folder / "out"  # not a pipe: what runs in the background would keep it open
    with out.open("w") as output:
        ended = subprocess.run(
            ["bash", "-c", text],
            cwd=folder,
            env=environ,
            stdout=output,
            stderr=output,
            check=False,
            timeout=360,
        )
    assert ended.returncode == 0, out.read_text()
    assert not (folder / "vvwatch-trial").exists()
    return re.split(r"(?m)^== \d+\n", out.read_text())[1:]


def step(said: list[str], command: str) -> str:
    """What the first step with a command prints."""
    return next(output for text, output in zip(STEPS, said, strict=True) if command in text)


@pytest.mark.timeout(400)
def test_the_configuration_is_good_and_planned(said: list[str]) -> None:
    assert "good (1 automation, 2 connectors, 1 webhook)" in step(said, "vvwatch check")
    assert "dailies" in step(said, "vvwatch plan")


@pytest.mark.timeout(400)
def test_three_clips_are_processed_and_the_fourth_is_explained(said: list[str]) -> None:
    shown = step(said, "vvwatch explain")
    assert re.search(r"needs you\n  .*day1/cut-short\.mp4: truncated: mp4 box 'mdat' ends at byte", shown)
    assert shown.count(".manifest.json") == 1
    events = ["import_job.partial_completed", "prompt_run.completed", "export.ready"]
    assert shown.splitlines()[-3:] == events


@pytest.mark.timeout(400)
def test_the_dashboard_asks_for_the_key(said: list[str]) -> None:
    title, key = step(said, "admin.key").split("\n", 1)
    assert "Log in" in title
    assert key.startswith("sk_live_")


@pytest.mark.timeout(400)
def test_nothing_is_done_twice(said: list[str]) -> None:
    after = step(said, "vvwatch reconciles")
    assert after.count(".manifest.json") == 1
    assert "4 listed, 0 new" in after
