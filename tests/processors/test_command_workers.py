"""Programs that live on: lines of JSON in, lines of JSON out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import psutil
import pytest

from tests.processing import MemoryJournal
from tests.processors.commanding import Bench
from vvwatch.core.media import ProcessingResult
from vvwatch.errors import (
    ProcessorCrashed,
    ProcessorPaused,
    ProcessorRefused,
    ProcessorUnavailable,
    VvwatchError,
)
from vvwatch.ports.processing import Processor

pytestmark = pytest.mark.anyio

WORKER = """
count = 0
def answer(said, words):
    print(json.dumps({"id": said["id"], "metadata": {"words": words}}), flush=True)
for line in sys.stdin:
    said = json.loads(line)
    count += 1
    kind = said["item"]["title"]
    %s
    answer(said, [str(os.getpid()), str(count)])
open(sys.argv[0] + ".ended", "a").write("gracefully ")
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class Tries:
    """Asks one processor again and again, each time about another item."""

    def __init__(self, bench: Bench, code: str = "pass", **options: Any) -> None:
        self.bench = bench
        command = bench.python(WORKER % code)
        given = {"mode": "worker", "concurrency": 1, "kill_grace_seconds": 2, **options}
        self.processor: Processor = bench.processor(command, **given)

    async def ask(self, title: str = "") -> list[str]:
        self.bench.journal = MemoryJournal()
        result: ProcessingResult = await self.processor.process(self.bench.item(title=title))
        words: list[str] = result.segments[0].metadata["words"]
        warning = result.segments[0].warning
        return words if warning is None else [*words, warning]

    async def failure(self, title: str) -> VvwatchError:
        with pytest.raises(VvwatchError) as failed:
            await self.ask(title)
        return failed.value

    async def end(self) -> None:
        await self.processor.aclose()
        assert self.bench.left() == []


async def test_one_process_answers_many_requests_and_ends_when_its_stdin_does(bench: Bench) -> None:
    tries = Tries(bench)

    first, second = await tries.ask(), await tries.ask()
    await tries.end()

    assert (first[1], second) == ("1", [first[0], "2"])
    assert (bench.folder / "program.py.ended").read_text() == "gracefully "


async def test_there_are_as_many_processes_as_requests_at_once(bench: Bench) -> None:
    tries = Tries(bench, "time.sleep(0.5)", concurrency=2)
    pids: list[str] = []

    async def ask() -> None:
        pids.append((await tries.ask())[0])

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(ask)
    await tries.end()

    assert len(set(pids)) == 2


async def test_a_worker_that_dies_fails_what_it_held_and_is_replaced_after_growing_pauses(
    bench: Bench,
) -> None:
    tries = Tries(bench, "kind == 'die' and (sys.stderr.write('alas'), sys.stderr.flush(), os.abort())")
    (first, _) = await tries.ask()

    failures = [await tries.failure("die") for _ in range(3)]
    replaced = await tries.ask()
    await tries.end()

    assert [type(failure) for failure in failures] == [ProcessorCrashed] * 3
    assert str(failures[0]).startswith("the program died by SIGABRT: alas")
    assert [slept for slept in bench.clock.slept if slept] == [1.0, 2.0, 4.0]
    assert replaced[0] != first
    assert replaced[1] == "1"


@pytest.mark.parametrize(
    ("code", "error", "reason"),
    [
        ("sys.exit(0)", ProcessorCrashed, "the program ended before it answered"),
        ("sys.exit(78)", ProcessorPaused, "cannot run .exit status 78."),
        ("time.sleep(600)", ProcessorCrashed, "not finished within 1 s"),
        ("print('y' * 2_000_000, flush=True)", ProcessorRefused, "it wrote more than 1,000,000 bytes"),
        ("[print('y') for _ in iter(int, 1)]", ProcessorRefused, "it wrote more than 1,000,000 bytes"),
        ("os.close(1); time.sleep(600)", ProcessorCrashed, "the program died by SIGTERM"),
    ],
)
async def test_a_worker_that_misbehaves_is_ended_and_the_next_one_is_asked(
    bench: Bench, code: str, error: type[VvwatchError], reason: str
) -> None:
    tries = Tries(bench, f"kind == 'bad' and ({code})", timeout_seconds=1, stdout_bytes=1_000_000)
    if ";" in code:
        tries = Tries(bench, f"if kind == 'bad': {code}", timeout_seconds=5)

    failure = await tries.failure("bad")
    good = await tries.ask()
    await tries.end()

    assert type(failure) is error
    assert re.search(reason, failure.message)
    assert good[1] == "1"


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (65, ProcessorRefused, "the program refuses this (exit status 65): why"),
        (75, ProcessorUnavailable, "cannot answer now (exit status 75): why"),
        (78, ProcessorPaused, "cannot run (exit status 78): why"),
        (3, ProcessorCrashed, "the program ended with status 3: why"),
        ('"x"', ProcessorRefused, "its `code` is not a number from 0 to 255"),
    ],
)
async def test_a_worker_answers_by_code_what_a_program_says_by_its_exit_status(
    bench: Bench, code: object, error: type[VvwatchError], message: str
) -> None:
    reply = f'{{"id": said["id"], "code": {code}, "message": "why", "retry_after": 7}}'
    tries = Tries(bench, f"if kind == 'bad': print(json.dumps({reply}), flush=True); continue")

    failure = await tries.failure("bad")
    good = await tries.ask()
    await tries.end()

    assert type(failure) is error
    assert message in failure.message
    assert good[1] == "2"  # the same process
    assert bench.limiter.held_back == ([7.0] if code == 75 else [])


async def test_lines_that_answer_nothing_are_counted_and_left_out(bench: Bench) -> None:
    strays = (
        "print('loading'); print(json.dumps({'id': said['id'] - 1, 'metadata': {'words': ['old']}}));"
        "print('{\"id\": 99, \"metadata\": {\"words\": []}}'); print('[1]'); print('{\"id\": true}'); print('')"
    )
    tries = Tries(bench, f"if kind == 'noisy': {strays}")

    noisy, good = await tries.ask("noisy"), await tries.ask()
    await tries.end()

    assert noisy[1:] == ["1", "5 lines of the program answered nothing that was asked"]
    assert good[1:] == ["2"]


async def test_an_answer_that_comes_twice_counts_once(bench: Bench) -> None:
    tries = Tries(bench, "if kind == 'twice': answer(said, ['first'])")

    twice, after = await tries.ask("twice"), await tries.ask()
    await tries.end()

    assert twice == ["first"]
    assert after[1:] == ["2", "1 lines of the program answered nothing that was asked"]


async def test_a_worker_that_died_meanwhile_is_replaced_and_nobody_notices(bench: Bench) -> None:
    tries = Tries(bench)
    (pid, _) = await tries.ask()
    os.kill(int(pid), signal.SIGKILL)
    with anyio.fail_after(30):
        while psutil.pid_exists(int(pid)):  # noqa: ASYNC110  # another process ends
            await anyio.sleep(0.01)
    await anyio.lowlevel.checkpoint()

    assert (await tries.ask())[1] == "1"
    await tries.end()


async def test_a_worker_that_ignores_the_end_is_killed(bench: Bench) -> None:
    tries = Tries(bench, "signal.signal(signal.SIGTERM, signal.SIG_IGN)", kill_grace_seconds=0.3)
    code = WORKER % "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    bench.python(code + "\nsubprocess.Popen(['sleep', '600']); time.sleep(600)")

    await tries.ask()

    await tries.end()


async def test_a_request_that_is_cancelled_ends_its_worker(bench: Bench) -> None:
    tries = Tries(bench, "if kind == 'slow': time.sleep(600)")
    (first, _) = await tries.ask()

    with anyio.move_on_after(0.5):
        await tries.ask("slow")
    (second, count) = await tries.ask()
    await tries.end()

    assert first != second
    assert count == "1"


@pytest.mark.parametrize("mode", ["once", "worker"])
def test_a_daemon_that_is_killed_leaves_no_program_running(tmp_path: Path, mode: str) -> None:
    code = (
        "import sys, anyio\n"
        "from pathlib import Path\n"
        "from tests.processors.commanding import Bench\n"
        "bench = Bench(Path(sys.argv[1]))\n"
        "program = (\"subprocess.Popen(['setsid', 'sleep', '600']); subprocess.Popen(['sleep', '600']);\"\n"
        "  \"open(sys.argv[0] + '.started', 'w'); time.sleep(600)\")\n"
        "processor = bench.processor(bench.python(program), mode=sys.argv[2])\n"
        "anyio.run(processor.process, bench.item())\n"
    )
    bench = Bench(tmp_path)
    daemon = subprocess.Popen([sys.executable, "-c", code, tmp_path, mode], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 60
    while not (tmp_path / "program.py.started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)

    daemon.kill()
    daemon.wait()

    assert [left for left in bench.left() if "psutil" in left] == []
