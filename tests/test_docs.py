"""The README and docs/ are true: their commands run, their examples work, and they leave nothing out."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from click import Command, Context, Group

from tests import samples
from tests.daemon_process import ADMIN_KEY
from tests.providers.gcs.gcs_places import service_account
from vvwatch.cli.root import vvwatch as cli
from vvwatch.config import load
from vvwatch.config.connectors import CloudConnector
from vvwatch.core.deliveries import sign_body

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
TRIED_ELSEWHERE = {
    "processors.md": "test_processors_docs.py",
    "start.md": "test_docs_start.py",
}
"""Pages whose commands another test runs."""
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
ALL = "\n".join([README, *(text for name, text in PAGES.items() if name not in TRIED_ELSEWHERE)])


def blocks(language: str, text: str = ALL) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line]


SETUP = [line for line in commands() if line.startswith("python3 -m venv")]
BESIDE_A_DAEMON = [
    line
    for line in commands()
    if line not in SETUP
    and " run " not in line
    and not line.startswith(". .venv")  # the tests' own is active
]


def shell(command: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env={**os.environ, "PATH": path, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def fresh_clone(folder: Path) -> Path:
    """What a newcomer gets: the files under version control, and nothing else."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.mark.timeout(400)
def test_a_newcomers_first_command_ends_with_an_export(tmp_path: Path) -> None:
    clone = fresh_clone(tmp_path / "clone")
    ended = shell(SETUP[0], clone, XDG_STATE_HOME=str(tmp_path / "state"), PYTHONPATH="")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "3 files imported, 1 failed, 0 skipped" in ended.stdout
    assert len(list((clone / "vvwatch-demo-exports").glob("*.manifest.json"))) == 1


def test_ci_runs_the_readmes_test_command_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    work = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]
    assert work == [SETUP[1]]


@pytest.mark.timeout(400)
def test_every_other_command_runs(tmp_path: Path) -> None:
    (tmp_path / "vvwatch.toml").write_text(example(tmp_path))
    incoming = tmp_path / "media" / "incoming"
    (tmp_path / "incoming").symlink_to(incoming)
    place_demo(tmp_path)
    samples.image(incoming / "clip.png").rename(incoming / "clip.mp4")
    environ = {"VVWATCH_STATE_DIR": str(tmp_path / "state"), "VVWATCH_LISTEN": "127.0.0.1:0"}
    environ |= {"VVWATCH_ADMIN_KEY": ADMIN_KEY, "VVWATCH_API_KEY": ADMIN_KEY}
    [run] = [line for line in commands() if line.startswith("vvwatch run ")]
    daemon = subprocess.Popen(
        [sys.executable, "-m", *run.split()],
        cwd=tmp_path,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert daemon.stdout is not None
        assert "ready on" in daemon.stdout.readline()
        for command in BESIDE_A_DAEMON:
            if command.startswith("vvwatch dev"):
                continue  # it has a folder of its own: the next test
            ended = shell(command, tmp_path, **environ)
            assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    finally:
        daemon.terminate()
        daemon.communicate(timeout=30)


@pytest.mark.timeout(60)
def test_dev_on_a_folder_of_ones_own(tmp_path: Path) -> None:
    place_demo(tmp_path)
    for command in BESIDE_A_DAEMON:
        if command.startswith(("mkdir", "vvwatch dev")):
            ended = shell(command, tmp_path, XDG_STATE_HOME=str(tmp_path / "state"))
            assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"


def place_demo(folder: Path) -> None:
    """What the demo, the command before, has left."""
    (folder / "vvwatch-demo").mkdir()
    samples.image(folder / "vvwatch-demo" / "picture.png").rename(folder / "vvwatch-demo" / "picture.jpg")


def example(folder: Path) -> str:
    """The configuration of docs/running.md, over folders that exist."""
    text = blocks("toml", PAGES["running.md"])[0]
    for name in ("incoming", "results"):
        (folder / "media" / name).mkdir(parents=True)
    return text.replace("/srv/media", str(folder / "media"))


def test_the_example_configuration_is_good(tmp_path: Path) -> None:
    path = tmp_path / "vvwatch.toml"
    path.write_text(example(tmp_path))
    config = load(path, {"VVWATCH_STATE_DIR": str(tmp_path / "state")})
    assert config.warnings == ()
    assert config.automations["dailies"].export is not None


CONNECTORS = [text for text in blocks("toml", PAGES["storage.md"]) if "type =" in text]
EVENTS = [text for text in blocks("toml", PAGES["storage.md"]) if ".events]" in text]


@pytest.mark.parametrize(
    "text", [*CONNECTORS, CONNECTORS[0] + EVENTS[0]], ids=lambda text: text.splitlines()[0]
)
def test_the_example_of_each_connector_is_good_and_short(tmp_path: Path, text: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text(service_account() if "gcs" in text else "a-secret-of-a-test\n")
    secret.chmod(0o600)
    path = tmp_path / "vvwatch.toml"
    path.write_text(re.sub(r'"/etc/vvwatch/[\w.-]+"', f'"{secret}"', text))
    [connector] = load(path, {"VVWATCH_STATE_DIR": str(tmp_path / "state")}).connectors.values()
    assert isinstance(connector, CloudConnector)
    assert len(text.splitlines()) < 10
    assert (connector.events is not None) == (".events]" in text)


def test_the_signature_example_agrees_with_ours() -> None:
    [text] = blocks("python", PAGES["webhooks.md"])
    names: dict[str, object] = {}
    exec(text, names)
    is_ours = names["is_ours"]
    assert callable(is_ours)
    assert is_ours("whsec_x", b"{}", sign_body("whsec_x", b"{}"))
    assert not is_ours("whsec_y", b"{}", sign_body("whsec_x", b"{}"))


def test_every_command_is_documented() -> None:
    missing = [name for name in cli.list_commands(Context(cli)) if f"vvwatch {name}" not in ALL]
    assert missing == []


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{name}" for name in PAGES)])
def test_every_command_that_is_named_exists(page: str) -> None:
    for command in re.findall(r"`(vvwatch [a-z][^`\n]*)`", (ROOT / page).read_text()):
        found: Command | None = cli
        words = command.split()[1:]
        while isinstance(found, Group) and words:
            found = found.get_command(Context(found), words.pop(0))
        assert found is not None, command
        options = {name for each in found.params for name in each.opts}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= options, command


def test_every_benchmark_is_documented_and_there() -> None:
    told = set(re.findall(r"python (bench/\w+\.py)", PAGES["figures.md"]))
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "bench").glob("*.py")}
    # bench/listing.py starts the first, the others are sections of bench/processors.py.
    assert told == there - {"bench/list_server.py", "bench/model_calls.py", "bench/program_runs.py"}


def test_the_map_is_that_of_the_imports() -> None:
    """After a change of rooms: `make map`."""
    drawn = subprocess.run(
        [sys.executable, "docs/map.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert blocks("mermaid", PAGES["architecture.md"]) == [drawn.stdout]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(f"docs/{name}" for name in PAGES)])
def test_every_link_leads_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def defined(path: Path) -> set[str]:
    """The names that a module defines, methods as `Class.method`."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            names |= {f"{node.name}.{each.name}" for each in inner}
    return names


def test_the_life_of_an_object_names_functions_that_exist() -> None:
    source = ROOT / "src" / "vvwatch"
    named = re.findall(r"`([\w/]+\.py):([\w.]+)`", PAGES["architecture.md"])
    assert len(named) > 20
    assert [f"{path}:{name}" for path, name in named if name not in defined(source / path)] == []


def test_the_files_that_contributors_are_sent_to_exist() -> None:
    named = set(re.findall(r"`((?:src|tests|docs|config|bench)/[\w./-]+)`", GUIDE))
    later = {name for name in named if "/swift" in name or "/echo" in name}
    assert len(named) > 30
    assert [name for name in sorted(named - later) if not (ROOT / name).exists()] == []
    for text in blocks("python", textwrap.dedent(re.sub(r"(?m)^   ", "", GUIDE))):
        ast.parse(text if not text.startswith('"') else f"{{{text}}}")


def test_the_jobs_of_the_makefile_are_documented() -> None:
    jobs = set(re.findall(r"(?m)^([a-z-]+): ##", (ROOT / "Makefile").read_text())) - {"help"}
    assert jobs == set(re.findall(r"`make ([\w-]+)` \|", GUIDE))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "command",
    [
        "bench/ledger.py 3000",
        "bench/compare.py . . --rounds 1 --only ledger",
        "bench/engine.py --jobs 300 --future 100 --rounds 1 --latencies 5 --idle-seconds 1",
        "bench/replicas.py --clips 1 --seconds 20 --rounds 1 --kills 1 --idle-seconds 1",
        "bench/daemon.py --idle-seconds 1 --files 2",
        "bench/folder.py --files 2000 --burst 4000",
        "bench/listing.py --keys 5000 --rounds 1",
        "bench/reconcile.py --keys 2000 --rounds 1",
        "bench/events.py --objects 300 --seconds 2",
        "bench/restart.py --rows 1000 --rounds 1",
        "bench/idle.py --automations 5 --seconds 1",
        "bench/status.py --automations 5 --requests 1",
        "bench/soak.py --minutes 0.2 --kill-every 6",
        "bench/webhooks.py --deliveries 20 --dead 20 --seconds 10",
        "bench/processor.py {clip}",
        "bench/pictures.py {clip}",
        "bench/processors.py extraction --clip {clip}",
        "bench/processors.py command",
        "bench/formats.py --segments 2000 --rounds 1",
        "bench/search.py 5 4",
    ],
)
def test_every_benchmark_runs(command: str, tmp_path: Path) -> None:
    """To the end: whether a bar is met is for the benchmark on a quiet machine, not for a test."""
    clip = samples.video(tmp_path / "clip.mp4", seconds=2)
    ended = shell(f"python {command.format(clip=clip)}", ROOT)
    assert ended.stdout
    assert "Traceback" not in ended.stderr, ended.stderr
