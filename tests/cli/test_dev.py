"""`vvwatch dev` for real: the whole way on a terminal and in a pipe, and what a second start remembers."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import samples
from tests.cli.conftest import Run
from tests.cli.fake_daemon import FakeDaemon
from tests.model_server import ModelServer
from vvwatch.cli.dev_config import state_of
from vvwatch.errors import StoreLocked

COMMAND = (sys.executable, "-m", "vvwatch", "dev")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VVWATCH_")}
    return kept | {
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "TERM": "xterm",
        "COLUMNS": "120",
        "LINES": "40",
    }


def on_a_terminal(args: tuple[str, ...], folder: Path, environ: dict[str, str]) -> tuple[int, str]:
    """Exit code and everything written, with stdout and stderr on a pseudo-terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        (*COMMAND, *args), cwd=folder, env=environ, stdout=follower, stderr=follower
    ) as process:
        os.close(follower)
        written = b""
        while select.select([leader], [], [], 100)[0]:
            try:
                written += os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
        os.close(leader)
        return process.wait(10), written.decode()


@pytest.mark.timeout(240)
def test_the_demo_shows_the_whole_way_and_a_second_start_remembers_it(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    code, screen = on_a_terminal(("--demo", "--once", "--debounce", "1s"), tmp_path, environ)
    assert code == 0, screen
    assert [
        words
        for words in ("at the latest in", "imported", "3 of 3", "delivered", "cut-short.mp4")
        if words not in screen
    ] == []
    assert "3 files imported, 1 failed, 0 skipped" in screen
    assert '"event"' not in screen, "the log stays out of the view"
    export, _ = sorted((tmp_path / "vvwatch-demo-exports").iterdir())
    assert len(json.loads(export.read_bytes())["media"]) == 3

    again = subprocess.run(
        (*COMMAND, "--demo", "--once"),
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = again.stdout.splitlines()
    assert lines[0] == f"watching  {tmp_path}/vvwatch-demo"
    assert lines[-1].startswith("nothing new: all that is here was done before")
    assert any(" ready on http://127.0.0.1:" in line for line in lines)
    assert "\x1b" not in again.stdout
    assert again.stderr == ""
    assert len(list((tmp_path / "vvwatch-demo-exports").iterdir())) == 2


@pytest.mark.timeout(120)
def test_programs_get_one_object_an_event(tmp_path: Path, environ: dict[str, str]) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "page.mp4").write_text("<html>")
    done = subprocess.run(
        (*COMMAND, "clips", "--once", "--debounce", "1s", "--json"),
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, "a file failed"
    events = [json.loads(line) for line in done.stdout.splitlines()]
    names = [event["event"] for event in events]
    assert names[0] == "dev.started"
    assert {"dev.ready", "window.closed", "import.finished"} <= set(names)
    assert (names[-1], events[-1]["imported"], events[-1]["failed"]) == ("dev.finished", 0, 1)
    assert [each["subject"] for each in events[-1]["troubles"]] == ["page.mp4"]
    assert all(event["at"].endswith("Z") for event in events)


@pytest.mark.timeout(240)
def test_a_fresh_start_does_again_what_was_done(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "clips").mkdir()
    samples.image(tmp_path / "clips" / "a.png")
    said = []
    for flags in ((), (), ("--fresh",)):
        done = subprocess.run(
            (*COMMAND, "clips", "--once", "--debounce", "1s", *flags),
            cwd=tmp_path,
            env={**environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(done.stdout.splitlines()[-1].partition(":")[0])
        assert ("fresh     forgot what was done here" in done.stdout) == bool(flags)
        assert not list((tmp_path / "state").rglob("address")), "nothing answers there any more"
    assert said == [
        "1 file imported, 0 failed, 0 skipped",
        "nothing new",
        "1 file imported, 0 failed, 0 skipped",
    ]
    assert len(list((tmp_path / "clips-exports").glob("*.manifest.json"))) == 2


def test_what_runs_is_not_forgotten(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, daemon: FakeDaemon
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    state = state_of(folder, os.environ)
    state.mkdir(parents=True)
    (state / "address").write_text(daemon.url + "\n")
    done = run("dev", str(folder), "--fresh")
    assert done.exit_code == 1
    assert "error: another vvwatch dev watches this folder\n" in done.stderr
    assert state.exists()


@pytest.mark.timeout(240)
def test_commands_find_the_session_that_runs(
    run: Run, tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an option, from any folder, by the path of a file, its address, or a link to its folder."""
    (tmp_path / "clips").mkdir()
    file = samples.image(tmp_path / "clips" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "clips")
    monkeypatch.setenv("XDG_STATE_HOME", environ["XDG_STATE_HOME"])
    with subprocess.Popen(
        (*COMMAND, "clips", "--debounce", "1s"), cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("export ") for line in process.stdout)
        for words in (("status",), ("windows",), ("jobs",)):
            assert "idx_dev" in run(*words).stdout, words
        for name in (str(file), file.as_uri(), str(tmp_path / "link" / "a.png")):
            assert "it is processed" in run("explain", name).stdout, name
        process.send_signal(signal.SIGHUP)
        assert process.stdout.read()
        assert process.wait(30) == 0


@pytest.mark.timeout(120)
def test_closing_the_terminal_ends_it_and_keeps_its_state(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "clips").mkdir()
    with subprocess.Popen(
        (*COMMAND, "clips"), cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(" ready on " in line for line in process.stdout)
        process.send_signal(signal.SIGHUP)
        assert "there is nothing here yet\n" in list(process.stdout)
        assert process.wait(30) == 0


def test_state_that_cannot_be_kept_is_said(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    done = run("dev", str(tmp_path / "clips"))
    assert done.exit_code == 1
    assert "error: cannot keep state: Not a directory\n  where: " in done.stderr


def test_a_second_trial_on_a_folder_is_told_of_the_first(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vvwatch.daemon

    async def serve(*_: object) -> int:
        raise ExceptionGroup("tasks", [StoreLocked("another process owns the database", "stop it")])

    (tmp_path / "clips").mkdir()
    monkeypatch.setattr(vvwatch.daemon, "serve", serve)
    done = run("dev", str(tmp_path / "clips"))
    assert done.exit_code == 1
    assert "error: another vvwatch dev watches this folder\n" in done.stderr
    assert "  try: vvwatch status --state-dir " in done.stderr


def test_a_reader_that_leaves_does_not_disturb_the_work(tmp_path: Path, environ: dict[str, str]) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    samples.image(folder / "a.png")
    command = (*COMMAND, "clips", "--once", "--debounce", "1s")
    with subprocess.Popen(
        command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_the_demo_needs_a_folder_it_can_make(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("dev", str(tmp_path / "file" / "below"), "--demo")
    assert done.exit_code == 2
    assert "error: cannot make the folder" in done.stderr


def test_without_a_folder_the_demo_is_offered(run: Run) -> None:
    done = run("dev")
    assert done.exit_code == 2
    assert done.stderr == "error: which folder?\n  try: vvwatch dev FOLDER, or vvwatch dev --demo\n"


def test_a_folder_that_is_not_there_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    done = run("dev", str(tmp_path / "gone"))
    assert done.exit_code == 2
    assert "there is no folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(240)
def test_a_refused_key_ends_a_trial_and_the_next_one_goes_on(tmp_path: Path, environ: dict[str, str]) -> None:
    """The same words with a key that is right by now: what was paused for the wrong one is done."""
    (tmp_path / "clips").mkdir()
    samples.image(tmp_path / "clips" / "a.png")
    key = tmp_path / "model.key"
    key.write_text("sk-mended\n")
    key.chmod(0o600)
    codes, said = [], []
    with ModelServer() as server:
        words = ("--model", "stub-vision", "--model-url", server.url, "--model-key-file", str(key))
        for server.key in ("sk-other", "sk-mended"):
            done = subprocess.run(
                (*COMMAND, "clips", "--once", "--debounce", "1s", *words),
                cwd=tmp_path,
                env={**environ, "NO_COLOR": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            codes.append(done.returncode)
            said.append(done.stdout)
        assert codes == [1, 0], said
        assert "no such key" in said[0]
        assert "description: a boat" in said[1]
        assert len(server.charged) == 1
