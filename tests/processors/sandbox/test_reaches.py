"""Code in the place of a decoder that was taken over tries to reach what is not its own, and changes nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

import vvwatch
from tests.processors.conftest import Shelf, opened
from vvwatch.processors.media import asking, forking
from vvwatch.processors.media.forking import Template
from vvwatch.processors.media.isolation import Limits, converse

pytestmark = pytest.mark.anyio

ROOT: Final = str(Path(vvwatch.__file__).parents[1])
TASKS: Final = ("probe", "plan", "process", "extract")
MAY_FAIL: Final = {
    *("read the parent's memory", "io_uring"),  # the arguments are harmless, and wrong
    *("a terminal", "netlink", "IPv6"),  # not on every machine
    *(
        "trace the parent",
        "memory of the parent",
        "a capability of root",
        "a new name space",
        "limits of the parent",
    ),  # not for every user
}
"""What is not to be had on all machines without a sandbox either."""

STILL: Final = {"descriptors": 5, "thread": True, "media": 100}
"""What goes on. Open are three pipes and two readers of the media, with positions that the daemon does not share."""

ATTEMPTS: Final = r"""
import ctypes, errno, json, mmap, os, resource, signal, socket, subprocess, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)
PTRACE, PROCESS_VM_READV, UNSHARE, SECCOMP = {
    "x86_64": (101, 310, 272, 317), "aarch64": (117, 270, 97, 277),
}[os.uname().machine]

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def attempts(state, parent, port, media):
    def tcp():
        socket.create_connection(("127.0.0.1", port), 2)
    def local_socket():
        socket.socket(socket.AF_UNIX).connect(state + "/socket")
    def executable_memory():
        mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)
    def locked_memory():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x2000)  # MAP_LOCKED
    yield "read a file of the daemon", lambda: open(state + "/secret.key").read()
    yield "read a file of the system", lambda: open("/etc/passwd").read()
    yield "open the media by its path", lambda: open(media, "rb").read()
    yield "list a folder", lambda: os.listdir(state)
    yield "list the root", lambda: os.listdir("/")
    yield "memory of the parent", lambda: open("/proc/%d/mem" % parent, "r+b", 0)
    yield "environment of the parent", lambda: open("/proc/%d/environ" % parent).read()
    yield "its own memory as a file", lambda: open("/proc/self/mem", "r+b", 0)
    yield "create a file", lambda: open(state + "/x", "x")
    yield "write a file", lambda: open(state + "/secret.key", "a")
    yield "create a file beside", lambda: open("../x", "x")
    yield "remove a file", lambda: os.unlink(state + "/secret.key")
    yield "rename a file", lambda: os.rename(state + "/secret.key", state + "/y")
    yield "make a folder", lambda: os.mkdir(state + "/z")
    yield "make a link", lambda: os.symlink("/etc/passwd", "link")
    yield "a hard link", lambda: os.link(state + "/secret.key", "other")
    yield "truncate a file", lambda: os.truncate(state + "/secret.key", 0)
    yield "change a mode", lambda: os.chmod(state + "/secret.key", 0o644)
    yield "follow a link", lambda: os.readlink("/proc/self/exe")
    yield "TCP", tcp
    yield "UDP", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    yield "IPv6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    yield "a local socket", local_socket
    yield "a pair of sockets", socket.socketpair
    yield "netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
    yield "fork", lambda: os.fork() or os._exit(0)
    yield "start a program", lambda: subprocess.run(["/bin/true"])
    yield "become a program", lambda: os.execv("/bin/true", ["true"])
    yield "signal the parent", lambda: os.kill(parent, 0)
    yield "signal its group", lambda: os.killpg(0, 0)
    yield "signal a process by descriptor", lambda: os.pidfd_open(parent)
    yield "trace the parent", lambda: call(PTRACE, 0x4206, parent, 0, 0)
    yield "read the parent's memory", lambda: call(PROCESS_VM_READV, parent, 0, 0, 0, 0, 0)
    yield "limits of the parent", lambda: resource.prlimit(parent, resource.RLIMIT_CPU)
    yield "a capability of root", locked_memory
    yield "priority of the parent", lambda: os.getpriority(os.PRIO_PROCESS, parent)
    yield "executable memory", executable_memory
    yield "memory as a file", lambda: os.memfd_create("x")
    yield "a new name space", lambda: call(UNSHARE, 0x10000000)
    yield "a filter of its own", lambda: call(SECCOMP, 0, 0, 0)
    yield "io_uring", lambda: call(425, 1, 0)
    yield "a terminal", lambda: open("/dev/tty")
    yield "a device", lambda: open("/dev/zero", "rb")
    yield "a module", lambda: __import__("wsgiref")

def outcomes(*place):
    found = {}
    for name, attempt in attempts(*place):
        try:
            attempt()
            found[name] = "reached"
        except Exception as error:
            found[name] = "refused"
    return found
"""
TAKEN_OVER: Final = (
    "import sys; sys.path.insert(0, sys.argv[1])\n"
    + ATTEMPTS
    + r"""
import vvwatch.processors.media.child as child

def is_open(descriptor):
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True

def enter(folder=None):
    # Others would stay outside.
    assert len(os.listdir("/proc/self/task")) == 1
    return enter_sandbox(folder)

def taken_over(request):
    found = outcomes(request["state"], request["parent"], request["port"], request["media"])
    still = {"descriptors": len([each for each in range(64) if is_open(each)])}
    threading.Thread(target=lambda: still.update(thread=True)).start()
    still["media"] = len(os.pread(request["fd"], 100, 0))
    os.fstat(request["fd"])
    time.sleep(0)
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    resource.setrlimit(resource.RLIMIT_CPU, (50, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    try:
        open("0.wav", "xb").write(b"new")
        still["creates"] = True
        open("0.wav").read()
        still["reads what it created"] = True
    except OSError:
        pass
    return {"result": {"found": found, "still": still}}

enter_sandbox, child.sandbox.enter_sandbox = child.sandbox.enter_sandbox, enter
child._answer = taken_over
child.main()
"""
)


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "secret.key").write_text("secret")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
        server.listen()
        yield folder


def request_of(task: str, fd: int, state: Path, port: int, media: Path) -> bytes:
    place = {"task": task, "state": str(state), "port": port, "media": str(media)}
    return asking.build_request(place, fd, Limits())


def check_untouched(state: Path) -> None:
    assert {each.name for each in state.iterdir()} == {"secret.key", "socket"}
    assert (state / "secret.key").read_text() == "secret"


@pytest.mark.parametrize("start", ["on its own", "forked"])
@pytest.mark.parametrize("task", TASKS)
async def test_a_decoder_that_was_taken_over_reaches_nothing(
    shelf: Shelf,
    state: Path,
    port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    start: str,
) -> None:
    template = None
    if start == "forked":
        code = TAKEN_OVER.replace("child.main()", "import vvwatch.processors.media.template as t; t.main()")
        monkeypatch.setattr(forking, "COMMAND", (sys.executable, "-I", "-c", code, ROOT))
        template = Template(lambda *_, **fields: pytest.fail(str(fields)))
    found, still = await taken_over(
        task, shelf.usual("png"), state, port, tmp_path / "work", template=template
    )
    if template is not None:
        await template.aclose()

    assert {name for name, outcome in found.items() if outcome != "refused"} == set()
    assert len(found) > 40
    creates = {"creates": True} if task == "extract" else {}
    assert still == STILL | creates
    check_untouched(state)


@pytest.mark.skipif(os.geteuid() != 0, reason="the tests run as another user already")
async def test_a_user_without_any_privilege_is_confined_alike(
    shelf: Shelf, state: Path, port: int, tmp_path: Path
) -> None:
    become = (
        "for names in child._MODULES.values():\n"
        "    for name in names: child.import_module(name)\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    )
    await anyio.Path(state).chmod(0o777)
    found, still = await taken_over("probe", shelf.usual("png"), state, port, tmp_path / "work", become)

    assert {name for name, outcome in found.items() if outcome != "refused"} == set()
    assert still == STILL
    check_untouched(state)


async def taken_over(
    task: str,
    media: Path,
    state: Path,
    port: int,
    work_dir: Path,
    before: str = "",
    template: Template | None = None,
) -> tuple[dict[str, str], dict[str, Any]]:
    """Run the attempts in the place of the decoder; what each came to, and what was possible still."""
    lines: list[bytes] = []
    code = TAKEN_OVER.replace("child.main()", f"{before}child.main()")
    command = (sys.executable, "-I", "-c", code, ROOT)
    with opened(media) as fd:
        request = request_of(task, fd, state, port, media)
        how: dict[str, Any] = {"limits": Limits(), "work_dir": work_dir, "template": template}
        ending = await converse(command, request, lines.append, fd=fd, **how)

    assert (ending.status, ending.stderr_tail) == (0, b"")
    result = json.loads(lines[-1])["result"]
    return result["found"], result["still"]


def test_the_attempts_succeed_without_the_sandbox(
    shelf: Shelf, state: Path, port: int, tmp_path: Path
) -> None:
    """Otherwise their failing would prove nothing. Left out are those that end the process that tries them."""
    code = ATTEMPTS + (
        "import pathlib\n"
        "pathlib.Path('here').mkdir(); os.chdir('here')\n"
        "found = {}\n"
        "for name, attempt in attempts(*json.load(sys.stdin)):\n"
        "    pathlib.Path(sys.argv[1], 'secret.key').write_text('secret')\n"
        "    if name in ('become a program', 'fork', 'a filter of its own', 'signal its group'):\n"
        "        continue\n"
        "    try:\n"
        "        attempt()\n"
        "        found[name] = 'reached'\n"
        "    except Exception as error:\n"
        "        found[name] = repr(error)\n"
        "print(json.dumps(found))\n"
    )
    media = shelf.usual("png")
    given = json.dumps([str(state), os.getpid(), port, str(media)])
    with opened(media) as fd:
        done = subprocess.run(
            [sys.executable, "-c", code, state],
            input=given,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=True,
            pass_fds=[fd],
        )
    found = json.loads(done.stdout)

    assert {name for name, outcome in found.items() if outcome != "reached"} <= MAY_FAIL


@pytest.mark.parametrize(
    ("task", "open_still"), [("probe", set()), ("extract", {"create a file", "create a file beside"})]
)
async def test_without_landlock_nothing_but_new_files_is_open(
    shelf: Shelf, state: Path, port: int, tmp_path: Path, task: str, open_still: set[str]
) -> None:
    """An older kernel: the filter alone holds, and docs/operations.md says what it leaves."""
    lacking = "child.sandbox.landlock.landlock_version = lambda: 0\n"

    found, _ = await taken_over(task, shelf.usual("png"), state, port, tmp_path / "work", lacking)

    assert {name for name, outcome in found.items() if outcome != "refused"} == open_still
    assert (state / "secret.key").read_text() == "secret"
