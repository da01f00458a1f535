"""A process that hides its memory, looked at by another of the same user."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

import vvwatch

ROOT = str(Path(vvwatch.__file__).parents[1])
LOOKS = """
import ctypes, os, resource, sys
sys.path.insert(0, sys.argv[1])
from vvwatch.processors.sandbox import hide_memory
from pathlib import Path
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable, as a program is that was started by this user
if sys.argv[2] == "hidden":
    hide_memory()
here = os.getpid()
if (other := os.fork()) == 0:
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
    found = []
    for name in ("environ", "mem", "maps"):
        try:
            open(f"/proc/{here}/{name}", "rb").close()
            found.append(name)
        except PermissionError:
            pass
    print("others see", *found, flush=True)
    os._exit(0)
os.waitpid(other, 0)
# What the daemon itself looks at goes on.
reader, writer = os.pipe()
assert len(os.listdir("/proc/self/fd")) > 3
Path("/proc/self/mountinfo").read_text()
with open(sys.argv[3]) as file:
    os.readlink(f"/proc/self/fd/{file.fileno()}")
    with open(f"/proc/self/fd/{file.fileno()}") as again:
        again.read()
print("core", resource.getrlimit(resource.RLIMIT_CORE)[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such thing elsewhere")
@pytest.mark.parametrize(("how", "seen"), [("hidden", ""), ("open", " environ mem maps")])
def test_other_processes_of_the_user_see_nothing(how: str, seen: str) -> None:
    command = [sys.executable, "-c", LOOKS, ROOT, how, os.devnull]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stderr == ""
    others, core = done.stdout.splitlines()
    assert others == f"others see{seen}"
    assert core == "core 0" or how == "open"


@pytest.mark.parametrize("name", ["run", "dev"])
def test_the_daemon_hides_its_memory_before_it_reads_a_secret(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Before it reads anything at all: there is no such file."""
    command = import_module(f"vvwatch.cli.{name}")

    def hide_memory() -> None:
        raise SystemExit(42)

    monkeypatch.setattr(command, "hide_memory", hide_memory)
    arguments = ["--config", "/no/such/file"] if name == "run" else ["/no/such/folder"]

    assert CliRunner().invoke(getattr(command, name), arguments).exit_code == 42
