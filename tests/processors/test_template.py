"""Children that are forked from a warm process: confined as those that start on their own, and never left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import anyio
import psutil
import pytest

from tests.processors.conftest import Shelf, Technical
from tests.processors.test_isolation import is_gone, wait_until
from vvwatch.errors import MachineShortage, MediaUnreadable, ProcessorCrashed
from vvwatch.processors.media import forking
from vvwatch.processors.media.cutting import Cutter, ExtractSettings
from vvwatch.processors.media.forking import Template

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each process starts on its own"),
]

Told = list[tuple[str, dict[str, Any]]]
TEMPLATE: Final = "vvwatch.processors.media.template"
PATCHED: Final = """
import sys; sys.path.insert(0, sys.argv[1])
import os
import vvwatch.processors.media.child as child
import vvwatch.processors.media.template as template
"""


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
async def warm(technical: Technical, told: Told) -> AsyncIterator[Technical]:
    """A processor with a template; nothing is expected to go wrong with that unless a test says so."""
    template = Template(lambda name, **fields: told.append((name, fields)))
    yield replace(technical, template=template)
    await template.aclose()


def templates() -> list[psutil.Process]:
    """Those that are idle: a child looks alike, and leads its own session as a template does."""
    return [each for each in psutil.Process().children() if TEMPLATE in each.cmdline()]


def patched(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the template do this before it begins."""
    command = (sys.executable, "-I", "-c", f"{PATCHED}{code}\ntemplate.main()", *forking.COMMAND[4:])
    monkeypatch.setattr(forking, "COMMAND", command)


@pytest.mark.parametrize("extension", ["jpg", "png", "mp4", "wav"])
async def test_a_forked_child_finds_what_another_finds(
    technical: Technical, warm: Technical, told: Told, shelf: Shelf, extension: str
) -> None:
    path = shelf.usual(extension)

    assert await warm.probe(path) == await technical.probe(path)
    assert await warm.process(path) == await technical.process(path)
    assert (len(templates()), told) == (1, [])


async def test_what_no_decoder_reads_is_told_alike(warm: Technical) -> None:
    with pytest.raises(MediaUnreadable):
        await warm.probe(Path(os.devnull))


async def test_many_items_leave_nothing_open_and_no_zombie(warm: Technical, shelf: Shelf) -> None:
    path = shelf.usual("jpg")
    await warm.probe(path)
    (template,) = templates()
    counts = template.num_fds(), psutil.Process().num_fds()

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(warm.probe, path)

    assert (template.num_fds(), psutil.Process().num_fds()) == counts
    assert psutil.Process().children(recursive=True).count(template) == 1
    assert templates() == [template]


async def test_a_forked_child_is_confined_before_it_touches_media(warm: Technical, shelf: Shelf) -> None:
    """As tests/processors/test_isolation.py says of one that starts on its own."""
    await warm.probe(shelf.usual("jpg"))
    (template,) = templates()
    seen: dict[str, Any] = {}

    def look(_: float) -> None:
        for child in templates():
            if child != template:
                seen["memory"] = child.rlimit(psutil.RLIMIT_AS)[0]
                seen["file size"] = child.rlimit(psutil.RLIMIT_FSIZE)[0]
                seen["files"] = child.rlimit(psutil.RLIMIT_NOFILE)[0]
                seen["core"] = child.rlimit(psutil.RLIMIT_CORE)[0]
                seen["cpu"] = max(seen.get("cpu", 0), child.rlimit(psutil.RLIMIT_CPU)[0])
                seen["nice"] = child.nice() - psutil.Process().nice()
                seen["leader"] = os.getsid(child.pid) == child.pid
                seen["first to go"] = Path(f"/proc/{child.pid}/oom_score_adj").read_text()
                seen["filters"] = _read_status(child.pid, "Seccomp:")

    await warm.process(shelf.audio("ten_minutes.wav", seconds=600), look)

    assert seen == {
        "memory": 1 << 30,
        "file size": 1 << 20,
        "files": 64,
        "core": 0,
        "cpu": 60 + 5 * 600,
        "nice": min(10, 19 - psutil.Process().nice()),
        "leader": True,
        "first to go": "1000\n",
        "filters": "2",
    }


def _look_into(pid: int) -> tuple[list[str], bytes]:
    """What the process has open, and its environment."""
    place = Path(f"/proc/{pid}")
    return [str(each.readlink()) for each in (place / "fd").iterdir()], (place / "environ").read_bytes()


def _read_status(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.removeprefix(name).strip() for line in lines if line.startswith(name))


async def test_the_template_has_no_privilege_no_environment_and_no_media(
    warm: Technical, shelf: Shelf
) -> None:
    await warm.probe(shelf.usual("jpg"))
    (template,) = templates()

    links, environment = _look_into(template.pid)
    others = [link for link in links if not link.startswith(("socket:", "pipe:", "/dev/null"))]
    assert others == [f"/proc/{template.pid}/statm"], "it reads how much memory it takes itself"
    assert environment in (b"", b"LC_CTYPE=C.UTF-8\0")
    assert _read_status(template.pid, "NoNewPrivs:") == "1"
    assert len(template.threads()) == 1


async def test_pictures_are_extracted_into_the_folder_of_the_child(warm: Technical, shelf: Shelf) -> None:
    cutter = Cutter(limits=warm.limits, work_dir=warm.work_dir, template=warm.template)
    found = []
    with shelf.usual("mp4").open("rb") as media:
        async with cutter.extract(
            media.fileno(), {0: (0.0, 2.0)}, ExtractSettings(2, 320, sound=True)
        ) as all_:
            async for extract in all_:
                found += [path.read_bytes()[:3] for path in extract.files]
                await all_.release(extract)

    assert found == [b"\xff\xd8\xff", b"\xff\xd8\xff", b"RIF"]


async def test_cancelling_leaves_no_child(warm: Technical, shelf: Shelf) -> None:
    path = shelf.audio("longer.wav", seconds=30)

    with anyio.CancelScope() as scope:
        await warm.process(path, lambda _: scope.cancel())

    assert scope.cancelled_caught
    assert len(templates()) == 1


@pytest.mark.parametrize(("bound", "most"), [("most_forks", 2), ("most_kib", 1)])
async def test_a_template_that_ages_or_grows_is_replaced(
    technical: Technical, told: Told, shelf: Shelf, bound: str, most: int
) -> None:
    template = Template(lambda *event, **_: told.append((event[0], {})), **{bound: most})
    warm, seen = replace(technical, template=template), []
    for _ in range(4):
        await warm.probe(shelf.usual("jpg"))
        seen.append(templates()[0].pid)

    assert len(set(seen)) == (2 if bound == "most_forks" else 4)
    assert told == []
    await template.aclose()
    assert templates() == []


async def test_a_template_is_kept_however_much_memory_the_daemon_takes(warm: Technical, shelf: Shelf) -> None:
    ballast = b"x" * (forking.MOST_KIB << 10)
    pids: set[int] = set()
    for _ in range(3):
        await warm.probe(shelf.usual("jpg"))
        pids.update(each.pid for each in templates())
    assert len(pids) == 1, len(ballast)


async def test_items_survive_a_template_that_is_killed_and_the_next_has_another(
    warm: Technical, told: Told, shelf: Shelf
) -> None:
    await warm.probe(shelf.usual("jpg"))
    (template,) = templates()

    def kill(_: float) -> None:
        if not is_gone(template.pid):
            template.kill()

    result = await warm.process(shelf.audio("longer.wav", seconds=30), kill)
    wait_until(lambda: is_gone(template.pid))
    await warm.probe(shelf.usual("jpg"))

    assert (len(result.segments) > 0, len(templates())) == (True, 1)
    assert [name for name, _ in told] == ["decoder.template_failed"]
    await warm.probe(shelf.usual("jpg"))
    assert len(told) == 1


async def test_a_template_that_does_not_start_is_reported_and_items_go_on(
    warm: Technical, told: Told, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched(monkeypatch, "raise SystemExit('alas')")

    for _ in range(2):
        assert (await warm.probe(shelf.usual("jpg"))).width == 160

    assert told == [("decoder.template_failed", {"reason": "it does not start: alas"})]
    assert templates() == []


async def test_a_template_that_does_not_answer_is_ended_and_items_go_on(
    warm: Technical, told: Told, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking, "_FORK_SECONDS", 0.5)
    patched(monkeypatch, "import time\ntemplate._fork = lambda *_: time.sleep(600)")

    assert (await warm.probe(shelf.usual("jpg"))).width == 160

    assert told[0][1]["reason"].startswith("it does not answer")
    assert templates() == []


async def test_a_fork_that_the_system_refuses_is_a_shortage(
    warm: Technical, told: Told, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched(monkeypatch, f"def refuse(): raise OSError({errno.EAGAIN}, 'no')\ntemplate.fork_sibling = refuse")

    with pytest.raises(MachineShortage, match="no further process"):
        await warm.probe(shelf.usual("jpg"))

    assert told == []


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("os.abort()", "died by SIGABRT"),
        ("child.ctypes.string_at(0)", "died by SIGSEGV"),
        ("raise LookupError('alas')", "ended with status 1"),
    ],
)
async def test_a_forked_child_that_crashes_is_told_with_its_last_words(
    warm: Technical, told: Told, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, code: str, match: str
) -> None:
    patched(
        monkeypatch,
        f"def answer(_):\n    child.write_line({{'progress': 0.0}})\n    {code}\nchild._answer = answer",
    )

    with pytest.raises(ProcessorCrashed, match=match) as crashed:
        await warm.probe(shelf.usual("jpg"))

    assert ("alas" in code) == any("LookupError: alas" in note for note in crashed.value.__notes__)
    before = templates()
    assert (len(before), told) == (1, [])
    with pytest.raises(ProcessorCrashed):
        await warm.probe(shelf.usual("jpg"))
    assert (templates() == before) == ("alas" in code), "after a crash, the next memory layout is another"


def test_neither_the_template_nor_a_child_outlives_the_daemon(shelf: Shelf, tmp_path: Path) -> None:
    code = (
        "import anyio, pathlib, sys, psutil\n"
        "from tests.processors.conftest import Technical\n"
        "from vvwatch.processors.media.forking import Template\n"
        "from vvwatch.processors.technical.processor import Limits\n"
        "def stop(_):\n"
        "    children = psutil.Process().children(recursive=True)\n"
        "    for child in children: child.suspend()\n"
        "    print(*(child.pid for child in children), flush=True)\n"
        "technical = Technical(pathlib.Path(sys.argv[2]), Limits(), Template(print))\n"
        "anyio.run(technical.process, pathlib.Path(sys.argv[1]), stop)\n"
    )
    command = [sys.executable, "-c", code, str(shelf.audio("longer.wav", seconds=30)), str(tmp_path)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        children = [int(pid) for pid in daemon.stdout.readline().split()]
        daemon.send_signal(signal.SIGKILL)

    assert len(children) == 2
    wait_until(lambda: all(is_gone(pid) for pid in children))
