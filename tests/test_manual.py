"""The man pages and shell completions in share/ are those of the commands and of the configuration."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest

from vvwatch.cli.client import _VARIABLES
from vvwatch.cli.completion import SHELLS
from vvwatch.cli.root import vvwatch

ROOT = Path(__file__).parents[1]
SHARE = ROOT / "share"
COMMANDS, CONFIGURATION = SHARE / "man/man1/vvwatch.1", SHARE / "man/man5/vvwatch.toml.5"
BASH = SHARE / "bash-completion/completions/vvwatch"


def test_they_are_up_to_date() -> None:
    """After a change of commands, exit codes or options: `make man`."""
    done = subprocess.run(
        [sys.executable, "docs/manual.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0), "make man"


def plain(page: Path) -> str:
    return page.read_text().replace("\\-", "-").replace("\\(aq", "'")


def test_every_command_and_every_variable_is_in_the_manual() -> None:
    page = plain(COMMANDS)
    context = click.Context(vvwatch, info_name="vvwatch")
    for name in vvwatch.list_commands(context):
        command = vvwatch.get_command(context, name)
        assert f".SS vvwatch {name} " in page
        subcommands = command.commands if isinstance(command, click.Group) else {}
        assert all(f".SS vvwatch {name} {each} " in page for each in subcommands)
    assert all(name in page for name in _VARIABLES)


def test_every_key_of_the_configuration_is_in_its_manual() -> None:
    page = plain(CONFIGURATION)
    keys = set(re.findall(r"^#?([a-z_0-9]+) = ", (ROOT / "config/vvwatch.toml").read_text(), re.MULTILINE))
    assert len(keys) > 100
    assert [key for key in sorted(keys) if f"\\fB{key}\\fR = " not in page] == []


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("page", [COMMANDS, CONFIGURATION], ids=lambda page: page.name)
def test_roff_has_nothing_to_warn_of(page: Path) -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", str(page)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("vvwatch", "exp"), ["explain", "exports"]),
        (("vvwatch", "jobs", ""), ["list", "show"]),
        (("vvwatch", "jobs", "--st"), ["--status", "--state-dir"]),
        (("vvwatch", "completion", ""), list(SHELLS)),
        (("vvwatch", "init", "s3"), ["s3", "s3-compatible"]),
        (("vvwatch", "status", "--w"), ["--watch"]),
    ],
)
def test_bash_completes(words: tuple[str, ...], wanted: list[str]) -> None:
    quoted = " ".join(f"'{word}'" for word in words)
    script = (
        f"source {BASH}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
        '_vvwatch_completion vvwatch; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == wanted


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_what_is_shipped(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vvwatch", "completion", shell], capture_output=True, text=True, check=True
    )
    assert done.stdout in [path.read_text() for path in SHARE.rglob("*vvwatch*") if path.is_file()]


def test_completing_a_command_imports_none() -> None:
    program = (
        "import sys\n"
        "from vvwatch.cli.root import vvwatch\n"
        "import click\n"
        "found = vvwatch.shell_complete(click.Context(vvwatch), '')\n"
        "print(len(found), [name for name in ('sqlalchemy', 'pydantic', 'fastapi') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1)[1].strip() == "[]"


def test_the_wheel_installs_them_where_systems_look(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition(".data/data/")[2] for name in archive.namelist()}
        inside = set(archive.namelist())
    shared = {path.relative_to(ROOT).as_posix() for path in SHARE.rglob("*") if path.is_file()}
    assert shared <= names
    assert "vvwatch/cli/starter.toml" in inside
