"""The process around an item: bounded from inside and outside, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from tests import samples
from tests.processors.conftest import Shelf, Technical, opened
from vvwatch.core.media import Probe
from vvwatch.errors import (
    MachineShortage,
    MediaLimit,
    MediaUnreadable,
    ProcessorCrashed,
    StorageUnavailable,
    VvwatchError,
)
from vvwatch.processors import kernel
from vvwatch.processors.kernel import Hindrance
from vvwatch.processors.media import asking, isolation
from vvwatch.processors.media.isolation import Cut, Ending, Limits, converse

pytestmark = pytest.mark.anyio

NO_MEDIA = Path(os.devnull)
PATIENT = Limits(silent_seconds=30, grace_seconds=0.5)


async def run(
    code: str, work_dir: Path, limits: Limits = PATIENT, request: bytes = b""
) -> tuple[Ending, list[bytes]]:
    lines: list[bytes] = []
    command = [sys.executable, "-I", "-c", code]
    with opened(NO_MEDIA) as fd:
        ending = await converse(command, request, lines.append, fd=fd, limits=limits, work_dir=work_dir)
    return ending, lines


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def limited(limit: str, value: Any) -> Limits:
    return replace(PATIENT, **{limit: value})


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


_of_others: set[psutil.Process] = set()


@pytest.fixture(autouse=True)
def others() -> None:
    """Servers that other tests wanted may be running already."""
    _of_others.clear()
    _of_others.update(psutil.Process().children(recursive=True))


def children() -> list[psutil.Process]:
    """All that the test started; a database server may have made a process of its own meanwhile."""
    found = set(psutil.Process().children(recursive=True)) - _of_others
    return [child for child in found if child.name() != "postgres"]


BEGUN = "print('{\"progress\": 0.0}', flush=True)\n"
"""What a child says just before it opens the file."""


def crashing(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(asking, "COMMAND", (sys.executable, "-I", "-c", BEGUN + code))


async def test_lines_come_as_they_are_written_and_the_rest_is_told(tmp_path: Path) -> None:
    code = "import sys; print(sys.stdin.read()); print('two'); print('alas', file=sys.stderr); sys.exit(3)"

    ending, lines = await run(code, tmp_path, request=b"one")

    assert lines == [b"one", b"two"]
    assert (ending.status, ending.cut, ending.stderr_tail) == (3, None, b"alas\n")


async def test_a_child_starts_with_nothing_of_ours(tmp_path: Path) -> None:
    code = (
        "import os; print(sorted(os.environ)); print(os.listdir()); print(os.getcwd()); print(os.getsid(0))"
    )

    _, (environment, files, folder, session) = await run(code, tmp_path)

    assert set(eval(environment)) <= {"LC_CTYPE"}  # Python sets this one itself
    assert (files, Path(folder.decode()).parent) == (b"[]", tmp_path)
    assert int(session) != os.getsid(0)
    assert left_in(tmp_path) == []


async def test_a_child_that_reads_nothing_does_not_block_us(tmp_path: Path) -> None:
    ending, _ = await run("print('done')", tmp_path, request=bytes(5_000_000))

    assert (ending.status, ending.cut) == (0, None)


async def test_the_tail_of_a_long_complaint_is_kept(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write('x' * 300000 + 'the end')"

    ending, _ = await run(code, tmp_path)

    assert len(ending.stderr_tail) == PATIENT.stderr_bytes
    assert ending.stderr_tail.endswith(b"the end")


async def test_endless_output_is_cut(tmp_path: Path) -> None:
    ending, _ = await run("while True: print('y' * 1000)", tmp_path, Limits(stdout_bytes=100_000))

    assert ending.cut is Cut.OUTPUT


async def test_endless_complaints_are_cut(tmp_path: Path) -> None:
    """Each of them takes the daemon's time."""
    code = "import sys\nwhile True: sys.stderr.write('y' * 1000)"

    ending, _ = await run(code, tmp_path, limited("stdout_bytes", 100_000))

    assert (ending.cut, len(ending.stderr_tail)) == (Cut.OUTPUT, PATIENT.stderr_bytes)


async def test_a_child_with_too_many_threads_is_ended(tmp_path: Path) -> None:
    """Of threads the machine, or the unit, has only so many for all."""
    code = (
        "import threading, time; threading.stack_size(65536)\n"
        "for _ in range(300): threading.Thread(target=time.sleep, args=[600], daemon=True).start()\n"
        "print('started', flush=True); time.sleep(600)"
    )

    ending, lines = await run(code, tmp_path)

    assert (ending.cut, lines) == (Cut.THREADS, [b"started"])
    with pytest.raises(ProcessorCrashed, match="more than 256 threads"):
        asking.check_ending(ending, PATIENT, is_answered=False)


@pytest.mark.parametrize(("cut", "limit"), [(Cut.SILENT, "silent_seconds"), (Cut.WALL, "wall_seconds")])
async def test_a_timeout_kills_the_group_even_when_it_ignores_the_request(
    tmp_path: Path, cut: Cut, limit: str
) -> None:
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(other.pid, flush=True); time.sleep(600)"
    )

    ending, (other,) = await run(code, tmp_path, limited(limit, 3))

    assert (ending.cut, ending.status) == (cut, -signal.SIGKILL)
    wait_until(lambda: is_gone(int(other)))


async def test_what_a_child_leaves_running_is_ended_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; quiet = subprocess.DEVNULL;"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], stdout=quiet, stderr=quiet);"
        "print(other.pid)"
    )

    ending, (other,) = await run(code, tmp_path)

    assert ending.status == 0
    wait_until(lambda: is_gone(int(other)))


async def test_a_command_that_cannot_be_started_is_the_machines_fault(tmp_path: Path) -> None:
    with (
        opened(NO_MEDIA) as fd,
        pytest.raises(MachineShortage, match=r"does not start .* '/no/such/program'"),
    ):
        await converse(["/no/such/program"], b"", print, fd=fd, limits=PATIENT, work_dir=tmp_path)

    assert left_in(tmp_path) == []


async def test_a_child_that_lingers_after_its_answer_is_ended(tmp_path: Path) -> None:
    code = "import os, time; os.write(1, b'done\\n'); os.close(1); time.sleep(600)"

    ending, lines = await run(code, tmp_path)

    assert (lines, ending.status) == ([b"done"], -signal.SIGTERM)


async def test_what_the_listener_raises_comes_out_and_nothing_is_left(tmp_path: Path) -> None:
    def refuse(line: bytes) -> None:
        raise LookupError(line)

    with opened(NO_MEDIA) as fd, pytest.raises(LookupError):
        await converse(
            [sys.executable, "-c", "import time; print('a', flush=True); time.sleep(600)"],
            b"",
            refuse,
            fd=fd,
            limits=PATIENT,
            work_dir=tmp_path,
        )

    assert (children(), left_in(tmp_path)) == ([], [])


async def test_cancelling_leaves_no_process(technical: Technical, shelf: Shelf) -> None:
    path = shelf.audio("longer.wav", seconds=30)

    with anyio.CancelScope() as scope:
        await technical.process(path, lambda _: scope.cancel())

    assert scope.cancelled_caught
    assert children() == []


async def test_a_child_is_confined_before_it_touches_media(technical: Technical, shelf: Shelf) -> None:
    seen: dict[str, Any] = {}

    def look(_: float) -> None:
        for child in children():
            seen["memory"] = child.rlimit(psutil.RLIMIT_AS)[0]
            seen["file size"] = child.rlimit(psutil.RLIMIT_FSIZE)[0]
            seen["files"] = child.rlimit(psutil.RLIMIT_NOFILE)[0]
            seen["core"] = child.rlimit(psutil.RLIMIT_CORE)[0]
            seen["cpu"] = max(seen.get("cpu", 0), child.rlimit(psutil.RLIMIT_CPU)[0])
            seen["nice"] = child.nice() - psutil.Process().nice()
            seen["leader"] = os.getsid(child.pid) == child.pid
            seen["first to go"] = Path(f"/proc/{child.pid}/oom_score_adj").read_text()

    # Long enough to be there still when it is looked at after it knew the length.
    path = shelf.audio("ten_minutes.wav", seconds=600)
    await technical.process(path, look)

    assert seen == {
        "memory": 1 << 30,
        "file size": 1 << 20,
        "files": 64,
        "core": 0,
        "cpu": 60 + 5 * 600,
        "nice": min(10, 19 - psutil.Process().nice()),
        "leader": True,
        "first to go": "1000\n",
    }


async def test_stricter_limits_of_the_system_stand(
    technical: Technical, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = ("/bin/sh", "-c", 'ulimit -n 40; ulimit -t 30; exec "$0" "$@"', *asking.COMMAND)
    monkeypatch.setattr(asking, "COMMAND", strict)
    seen = {}

    def look(_: float) -> None:
        (child,) = children()
        seen[psutil.RLIMIT_NOFILE] = child.rlimit(psutil.RLIMIT_NOFILE)
        seen[psutil.RLIMIT_CPU] = child.rlimit(psutil.RLIMIT_CPU)

    await technical.process(shelf.usual("mp4"), lambda done: look(done) if done < 1 else None)

    assert seen == {psutil.RLIMIT_NOFILE: (40, 40), psutil.RLIMIT_CPU: (30, 30)}


def test_a_child_dies_with_its_parent(shelf: Shelf, tmp_path: Path) -> None:
    path = shelf.audio("longer.wav", seconds=30)
    code = (
        "import anyio, os, pathlib, signal, sys, psutil\n"
        "from tests.processors.conftest import Technical\n"
        "from vvwatch.processors.technical.processor import Limits\n"
        "def stop(_):\n"
        "    child, = psutil.Process().children()\n"
        "    child.suspend()\n"
        "    print(child.pid, flush=True)\n"
        "technical = Technical(pathlib.Path(sys.argv[2]), Limits())\n"
        "anyio.run(technical.process, pathlib.Path(sys.argv[1]), stop)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code, path, tmp_path], cwd=root, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()

    wait_until(lambda: is_gone(child))


async def test_too_little_memory_is_a_limit_and_says_so(technical: Technical, tmp_path: Path) -> None:
    picture = samples.blank_png(tmp_path / "large.png", (9_000, 9_000))

    with pytest.raises(MediaLimit, match="more memory than the limit of 180 MiB") as refused:
        await technical.limited(memory_bytes=180 << 20).probe(picture)

    assert refused.value.hint


async def test_too_much_cpu_time_is_a_limit_and_says_so(
    technical: Technical, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing(
        monkeypatch, "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 5))\nwhile True: pass"
    )

    with pytest.raises(MediaLimit, match="CPU time"):
        await technical.process(shelf.usual("png"))

    with pytest.raises(MediaLimit, match="probing took longer than 60 s") as slow:
        await technical.probe(shelf.usual("png"))
    assert "probe_seconds" in slow.value.hint


async def test_a_hanging_decoder_is_a_crash_that_may_be_retried(
    technical: Technical, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    hindered_by(monkeypatch, None)
    crashing(monkeypatch, "import time; time.sleep(600)")

    with pytest.raises(ProcessorCrashed, match=r"no sign of progress for 3 s") as crashed:
        await technical.limited(silent_seconds=3).process(shelf.usual("png"))

    assert crashed.value.transient


def hindered_by(monkeypatch: pytest.MonkeyPatch, what: Hindrance | None) -> None:
    """Let the kernel say so of a child; how busy the machine of the tests is must not count."""
    monkeypatch.setattr(isolation, "find_hindrance", lambda *_: what)


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(600)",
        "while True: pass",
        f"import time\nwhile not time.sleep(0.1):\n {BEGUN}",
    ],
)
async def test_a_probe_that_is_silent_or_slow_is_final(
    technical: Technical, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    hindered_by(monkeypatch, None)
    crashing(monkeypatch, code)

    with pytest.raises(MediaLimit, match="probing took longer than 3 s") as slow:
        await technical.limited(probe_seconds=3).probe(shelf.usual("png"))

    assert not slow.value.transient
    assert "probe_seconds" in slow.value.hint


@pytest.mark.parametrize(
    ("what", "error"), [(Hindrance.PROCESSOR, MachineShortage), (Hindrance.STORAGE, StorageUnavailable)]
)
async def test_time_that_a_child_could_not_use_is_not_the_files_fault(
    technical: Technical,
    shelf: Shelf,
    monkeypatch: pytest.MonkeyPatch,
    what: Hindrance,
    error: type[VvwatchError],
) -> None:
    hindered_by(monkeypatch, what)
    crashing(monkeypatch, "import time; time.sleep(600)")

    with pytest.raises(error) as hindered:
        await technical.limited(probe_seconds=3).probe(shelf.usual("png"))
    assert hindered.value.transient

    with pytest.raises(error):
        await technical.limited(silent_seconds=3).process(shelf.usual("png"))


@pytest.mark.parametrize("code", ["import sys; sys.exit(1)", "", "import os; os.kill(os.getpid(), 11)"])
async def test_a_child_that_ends_before_it_opens_the_file_is_not_its_fault(
    technical: Technical, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(asking, "COMMAND", (sys.executable, "-I", "-c", code))

    with pytest.raises(MachineShortage, match="does not start the daemon's own processes"):
        await technical.probe(shelf.usual("png"))


async def test_a_child_that_does_not_begin_in_time_is_not_the_files_fault(
    technical: Technical, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "COMMAND", (sys.executable, "-I", "-c", "import time; time.sleep(600)"))

    with pytest.raises(MachineShortage, match="too busy: a process had not begun after 1 s"):
        await technical.limited(probe_seconds=1).probe(shelf.usual("png"))


async def test_a_child_that_the_kernel_ends_for_want_of_memory_is_told_from_one_that_somebody_kills(
    technical: Technical, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    kills = iter([3, 4, 4, 4])
    monkeypatch.setattr(isolation, "count_memory_kills", lambda: next(kills))

    with pytest.raises(MachineShortage, match="memory ran out") as killed:
        await technical.probe(shelf.usual("png"))
    assert killed.value.is_suspect

    with pytest.raises(ProcessorCrashed, match="SIGKILL, which neither vvwatch nor a lack of memory caused"):
        await technical.probe(shelf.usual("png"))


async def test_the_real_child_says_that_it_begins_before_it_opens_the_file(
    technical: Technical, shelf: Shelf
) -> None:
    fractions: list[float] = []

    with pytest.raises(MediaUnreadable):
        await technical.process(NO_MEDIA, fractions.append)

    assert fractions == [0.0]


def test_the_kernel_tells_of_a_thread_that_waits_to_run(tmp_path: Path) -> None:
    thread = tmp_path / "task" / "7"
    thread.mkdir(parents=True)
    (thread / "stat").write_text("7 (a) b) S 1 2")
    (thread / "schedstat").write_text("1000000000 6000000000 12\n")

    assert kernel.find_hindrance_in(tmp_path, 10.0) is Hindrance.PROCESSOR
    assert kernel.find_hindrance_in(tmp_path, 20.0) is None
    (thread / "stat").write_text("7 (a) b) D 1 2")
    assert kernel.find_hindrance_in(tmp_path, 20.0) is Hindrance.STORAGE
    assert kernel.find_hindrance_in(tmp_path / "gone", 1.0) is None


def test_threads_that_wait_for_each_other_are_not_a_busy_machine(tmp_path: Path) -> None:
    """Otherwise media that keeps many threads busy would be waited for without an end."""
    for number, times in enumerate(("3000000000 6000000000 9", "2500000000 6500000000 9")):
        thread = tmp_path / "task" / str(number)
        thread.mkdir(parents=True)
        (thread / "stat").write_text("7 (a) R 1 2")
        (thread / "schedstat").write_text(times)

    assert kernel.find_hindrance_in(tmp_path, 10.0) is None
    (thread / "schedstat").write_text("1500000000 6500000000 9")
    assert kernel.find_hindrance_in(tmp_path, 10.0) is Hindrance.PROCESSOR


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts them")
def test_the_kernels_own_figures_are_read() -> None:
    assert kernel.count_memory_kills() >= 0
    assert kernel.find_hindrance(os.getpid(), 1e9) in (None, Hindrance.STORAGE)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
async def test_a_decoder_that_dies_by_a_signal_is_a_crash(
    technical: Technical, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    crashing(monkeypatch, f"import os; os.write(2, b'why'); os.kill(os.getpid(), {int(number)})")

    with pytest.raises(ProcessorCrashed, match=f"died by {number.name}") as crashed:
        await technical.probe(shelf.usual("png"))

    assert (crashed.value.transient, crashed.value.__notes__) == (True, ["why"])


@pytest.mark.parametrize(
    "answer", ["", "print('not json')", "print('[1]')", 'print(\'{"probe": {"x": NaN}}\')', "print('{}')"]
)
async def test_an_answer_that_makes_no_sense_is_a_crash(
    technical: Technical, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    crashing(monkeypatch, answer)

    with pytest.raises(ProcessorCrashed):
        await technical.probe(shelf.usual("png"))


PROBE = {**asdict(Probe("video", "mp4", 4.0)), "damage": []}
RESULT = {"segments": [], "metadata": {}, "metadata_text": "", "damage": [], "warnings": []}


@pytest.mark.parametrize(
    "wrong",
    ['"duration_seconds": "long"', '"width": 1e999', '"container": "\\ud800"', '"media_type": "film"'],
)
async def test_what_the_container_says_is_believed_as_far_as_it_makes_sense(
    technical: Technical, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    crashing(monkeypatch, f"print({_with('probe', PROBE, wrong)!r})")

    with pytest.raises(ProcessorCrashed, match="unreadable"):
        await technical.probe(shelf.usual("png"))


@pytest.mark.parametrize(
    "wrong",
    [
        '"metadata": {"mean_luma": 1e999}',
        '"metadata_text": "\\ud800"',
        '"damage": "cut"',
        '"segments": [{"start_time": "0", "end_time": 1, "metadata": {}, "metadata_text": ""}]',
        '"segments": [{"start_time": 0, "end_time": 1, "metadata": [], "metadata_text": ""}]',
    ],
)
async def test_what_was_found_is_kept_as_far_as_it_makes_sense(
    technical: Technical, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    crashing(monkeypatch, f"print({_with('result', RESULT, wrong)!r})")

    with pytest.raises(ProcessorCrashed, match="unreadable"):
        await technical.process(shelf.usual("png"))


def _with(name: str, fields: dict[str, Any], wrong: str) -> str:
    """An answer with these fields, of which the last says something else."""
    return f'{{"{name}": {json.dumps(fields)[:-1]}, {wrong}}}}}'


async def test_results_too_large_are_a_limit(technical: Technical, shelf: Shelf) -> None:
    with pytest.raises(MediaLimit, match="results exceed"):
        await technical.limited(stdout_bytes=1000).process(shelf.usual("mp4"))


async def test_items_side_by_side_do_not_disturb_each_other(
    technical: Technical, shelf: Shelf, tmp_path: Path
) -> None:
    good, bad = shelf.usual("wav"), tmp_path / "bad.mp4"
    bad.write_bytes(b"nothing")
    durations: list[float | None] = []

    async def probe(path: Path) -> None:
        try:
            durations.append((await technical.probe(path)).duration_seconds)
        except MediaUnreadable:
            durations.append(None)

    async with anyio.create_task_group() as tasks:
        for path in (good, bad, good):
            tasks.start_soon(probe, path)

    assert sorted(durations, key=str) == [pytest.approx(4, abs=0.1)] * 2 + [None]


@pytest.mark.parametrize("mode", [None, 0o644])
async def test_a_program_that_may_not_be_executed_is_named(tmp_path: Path, mode: int | None) -> None:
    """Root, too, may execute nothing that has no such bit."""
    program = tmp_path / "decoder"
    if mode is not None:
        program.write_text("#!/bin/sh\n")
        program.chmod(mode)
    with opened(NO_MEDIA) as fd, pytest.raises(MachineShortage, match=str(program)) as failed:
        await converse([str(program)], b"", print, fd=fd, limits=PATIENT, work_dir=tmp_path / "work")
    assert "memory" not in failed.value.hint
