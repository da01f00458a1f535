"""`vvwatch init`: a commented configuration that is good as it is."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import Run
from vvwatch.cli.init import list_stores, write_starter
from vvwatch.config import load
from vvwatch.providers.registry import PROVIDERS

STORES = tuple(list_stores())


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_provider_has_a_starter() -> None:
    assert {store.partition("-")[0] for store in STORES} == PROVIDERS.keys()
    assert "s3-compatible" in STORES


@pytest.mark.parametrize("store", STORES)
def test_what_it_writes_is_good(run: Run, store: str) -> None:
    done = run("init", store)
    assert done.exit_code == 0, done.stderr
    for name in ("incoming", "results"):
        Path(name).mkdir()
    assert run("check", "--config", "vvwatch.toml").exit_code == 0
    config = load(Path("vvwatch.toml"), dict(os.environ))
    assert config.warnings == ()
    assert config.automations["media"].export is not None
    for command in ("check", "plan", "run"):
        assert f"  vvwatch {command} --config vvwatch.toml\n" in done.stdout


@pytest.mark.parametrize("store", STORES)
def test_each_choice_that_it_offers_is_known(store: str) -> None:
    """A line that begins with # and a key may be taken over, one at a time or in place of another."""
    text = write_starter(store, "place", Path("x.toml"))
    offered = [line[1:] for line in text.splitlines() if line.startswith("#") and not line.startswith("# ")]
    assert len(offered) >= 8
    assert all(tomllib.loads(line) for line in offered if line.strip())


def test_a_file_that_is_there_is_never_replaced_without_force(run: Run) -> None:
    Path("vvwatch.toml").write_text("mine")
    done = run("init", "local", "--json")
    assert (done.exit_code, json.loads(done.stderr)["where"]) == (1, "vvwatch.toml")
    assert Path("vvwatch.toml").read_text() == "mine"
    Path("link.toml").symlink_to("nowhere")
    assert run("init", "--output", "link.toml").exit_code == 1
    assert run("init", "--force").exit_code == 0
    assert "[automations.media]" in Path("vvwatch.toml").read_text()


def test_without_a_terminal_it_asks_nothing(run: Run) -> None:
    found = json.loads(run("init", "--json").stdout)
    assert found["store"] == "local"
    assert found["next"][0] == f"mkdir -p {Path.cwd()}/incoming {Path.cwd()}/results"
    assert [path.name for path in Path().iterdir()] == ["vvwatch.toml"]


def test_the_location_is_put_in(run: Run) -> None:
    assert run("init", "s3", "--location", "studio", "--output", "a.toml").exit_code == 0
    assert tomllib.loads(Path("a.toml").read_text())["connectors"]["incoming"]["bucket"] == "studio"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20))
def test_any_folder_can_be_named(name: str) -> None:
    text = write_starter("local", f"/srv/{name}", Path("x.toml"))
    path = tomllib.loads(text)["connectors"]["incoming"]["path"]
    assert path.replace("$$", "$") == f"/srv/{name}/incoming"


def test_an_unknown_store_and_an_unwritable_place(run: Run) -> None:
    assert "one of local, azure" in run("init", "floppy").stderr
    done = run("init", "--output", "nowhere/x.toml")
    assert (done.exit_code, "cannot write it" in done.stderr) == (1, True)


def test_on_a_terminal_it_asks_what_is_not_given(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    asked = subprocess.Popen(
        [sys.executable, "-m", "vvwatch", "init"], stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    os.write(leader, b"s3\nstudio\n")
    assert asked.wait(60) == 0
    os.close(leader)
    assert 'bucket = "studio"' in (tmp_path / "vvwatch.toml").read_text()
