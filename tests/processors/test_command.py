"""A program for each item: what it is told, what its answer means, and how it may misbehave."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from tests.processing import MemoryJournal
from tests.processors.commanding import PROMPT, WORDS, Bench
from vvwatch.core.media import Segment
from vvwatch.core.money import CallStatus, Usage, Workload
from vvwatch.errors import (
    InvalidInput,
    ProcessorCrashed,
    ProcessorPaused,
    ProcessorRefused,
    ProcessorUnavailable,
    VvwatchError,
)
from vvwatch.ports.processing import Prompt

pytestmark = pytest.mark.anyio

GOOD = "print(json.dumps({'metadata': {'words': ['one']}}))"
VIDEO = Prompt("Words?", WORDS, {"instructions_text": "All?", "json_schema": WORDS})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_program_is_told_its_task_as_json_and_answers_as_json(bench: Bench) -> None:
    code = (
        "said = json.load(sys.stdin)\n"
        "said['content'] = open(said['item']['path']).read()\n"
        "json.dump(said, open(sys.argv[0] + '.json', 'w'))\n"
        "print(json.dumps({'metadata': {'words': ['a', 'b']}}))"
    )

    result = await bench.process(code, item={"duration_seconds": 4.0})

    assert result.segments == (Segment(0.0, 4.0, {"words": ["a", "b"]}, "a; b"),)
    told = json.loads((bench.folder / "program.py.json").read_text())
    assert told["protocol"] == "exec/1"
    assert (told["level"], told["content"]) == ("item", "some media")
    assert told["prompt"] == {
        "prompt_text": "Which words are there?",
        "json_schema": WORDS,
        "video_level": None,
    }
    assert Path(told["item"]["path"]).name == "media.mp4"
    assert told["item"]["title"] == "Clip One.MP4"
    assert told["idempotency_key"] == "-1:command:0:"
    assert bench.left() == []


async def test_a_program_has_a_small_environment_and_a_folder_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCR_KEY", "key-of-the-user")
    monkeypatch.setenv("ANOTHER_KEY", "not for the program")
    code = (
        "folder = os.getcwd()\n"
        "open('note.txt', 'w').write('x')\n"
        "mode = oct(os.stat('note.txt').st_mode & 0o777)\n"
        "said = [mode, folder == os.environ['VVWATCH_WORKDIR'], os.getsid(0) == os.getpid(), *sorted(os.environ)]\n"
        "own = [name for name in sorted(os.environ) if name.startswith('VVWATCH_') and 'DIR' not in name]\n"
        "said += [os.environ[name] for name in own]\n"
        "print(json.dumps({'metadata': {'words': list(map(str, said)) + [os.environ['OCR_KEY']]}}))"
    )

    result = await bench.process(code, pass_env=("OCR_KEY", "NOT_SET"))

    words = [word for word in result.segments[0].metadata["words"] if word != "LC_CTYPE"]
    assert words == [
        "0o600",
        "True",
        "True",
        "HOME",
        "LANG",
        "OCR_KEY",
        "PATH",
        "TMPDIR",
        "VVWATCH_ATTEMPT",
        "VVWATCH_CALL_KEY",
        "VVWATCH_DEADLINE",
        "VVWATCH_ITEM_ID",
        "VVWATCH_PROTOCOL",
        "VVWATCH_RUN_ID",
        "VVWATCH_SEGMENT_INDEX",
        "VVWATCH_WORKDIR",
        "1",
        "-1:command:0:",
        "1790000600.000",
        "vid_1",
        "exec/1",
        "run_1",
        "",
        "key-of-the-user",
    ]
    assert bench.left() == []


async def test_what_a_program_starts_can_read_the_item_too(bench: Bench) -> None:
    code = (
        "path = json.load(sys.stdin)['item']['path']\n"
        "words = subprocess.run(['cat', path], capture_output=True, text=True).stdout.split()\n"
        "print(json.dumps({'metadata': {'words': words}}))"
    )

    result = await bench.process(code)

    assert result.segments[0].metadata == {"words": ["some", "media"]}


async def test_a_program_may_cut_the_item_itself(bench: Bench) -> None:
    parts = [
        {"start_time": 0, "end_time": 1.5, "metadata": {"words": ["a"]}, "metadata_text": "An A."},
        {"start_time": 1.5, "end_time": 4, "metadata": {"words": []}, "warnings": ["dark"]},
    ]
    answer = {"segments": parts, "metadata": {"words": ["whole"]}, "warnings": ["slow disk"]}

    result = await bench.process(f"print(json.dumps({answer!r}))", VIDEO)

    assert result.segments == (
        Segment(0, 1.5, {"words": ["a"]}, "An A."),
        Segment(1.5, 4, {"words": []}, "", warning="dark"),
    )
    assert (result.metadata, result.metadata_text) == ({"words": ["whole"]}, "whole")
    assert result.warnings == ("slow disk",)


async def test_segments_are_put_in_order_and_what_lies_beyond_the_end_is_said(bench: Bench) -> None:
    times = [(3, 4), (0, 2), (1, 2.5), (0, 1), (7, 8)]
    parts = [{"start_time": start, "end_time": end, "metadata": {"words": []}} for start, end in times]

    result = await bench.process(
        f"print(json.dumps({{'segments': {parts!r}}}))", item={"duration_seconds": 6.5}
    )

    assert [(each.start_time, each.end_time) for each in result.segments] == sorted(times)
    assert [each.warning for each in result.segments] == [None] * 4 + [
        "it ends at 8 s, after the end of the media (6.5 s)"
    ]


async def test_metadata_of_the_whole_without_a_video_level_is_left_out_and_said(bench: Bench) -> None:
    result = await bench.process("print(json.dumps({'segments': [], 'metadata': {'mood': 'calm'}}))")

    assert result.metadata == {}
    assert result.warnings == ("metadata of the whole is left out: the prompt has no video level",)


async def test_what_a_program_says_that_it_used_goes_to_the_ledger(bench: Bench) -> None:
    usage = {"input_tokens": 900, "output_tokens": 30, "cost_usd": 0.02, "model": "tiny"}

    await bench.process(f"print(json.dumps({{'metadata': {{'words': []}}, 'usage': {usage!r}}}))")

    assert bench.journal.ended == [("-1:command:0:", CallStatus.COMPLETED, Usage(900, 30, 0.02))]


@pytest.mark.parametrize(
    ("usage", "price", "cost"),
    [
        ({}, None, 0.0),
        ({"input_tokens": 2_000_000}, None, None),
        ({}, {"usd_per_call": 0.5}, 0.5),
        ({"output_tokens": 2_000_000}, {"output_usd_per_million": 3}, 6.0),
    ],
)
async def test_what_an_answer_costs_is_told_by_its_price_else_unknown_where_tokens_were_used(
    bench: Bench, usage: dict[str, int], price: dict[str, float] | None, cost: float | None
) -> None:
    prices = {"words": price} if price else {}
    code = f"print(json.dumps({{'metadata': {{'words': []}}, 'usage': {usage!r}}}))"

    await bench.process(code, prices=prices)

    assert bench.journal.ended[0][2].cost_usd == cost


async def test_an_answer_that_was_recorded_is_not_asked_for_again(bench: Bench) -> None:
    code = "open(sys.argv[0] + '.runs', 'a').write('x')\n" + GOOD

    first = await bench.process(code)
    again = await bench.process(code)

    assert first == again
    assert (bench.folder / "program.py.runs").read_text() == "x"
    assert len(bench.journal.ended) == 1


async def test_a_skipped_item_is_no_failure_and_says_why(bench: Bench) -> None:
    result = await bench.process("print('no sound in it', file=sys.stderr); sys.exit(77)")

    assert (result.segments, result.warnings) == ((), ("skipped by the program: no sound in it",))
    assert bench.journal.ended[0][1] is CallStatus.COMPLETED
    assert (await bench.process("sys.exit(1)")).warnings == result.warnings  # it is recorded


async def test_a_program_may_say_in_its_answer_that_it_skips(bench: Bench) -> None:
    result = await bench.process("print(json.dumps({'skipped': 'too dark'}))")

    assert result.warnings == ("skipped by the program: too dark",)


async def test_a_program_that_asks_for_patience_is_waited_for(bench: Bench) -> None:
    with pytest.raises(ProcessorUnavailable, match="model is loading") as refused:
        await bench.process(
            "print(json.dumps({'retry_after': 12.5})); sys.stderr.write('model is loading'); sys.exit(75)"
        )

    assert refused.value.retry_after_seconds == 12.5
    assert bench.limiter.held_back == [12.5]
    assert bench.journal.ended == [("-1:command:0:", CallStatus.FAILED, Usage(cost_usd=0.0))]


@pytest.mark.parametrize("said", ["", "later", '{"retry_after": -1}', '{"retry_after": "soon"}', "[]"])
async def test_patience_without_a_time_is_asked_for_as_well(bench: Bench, said: str) -> None:
    with pytest.raises(ProcessorUnavailable) as refused:
        await bench.process(f"print({said!r}); sys.exit(75)")

    assert (refused.value.retry_after_seconds, bench.limiter.held_back) == (None, [])


@pytest.mark.parametrize("status", [78, 126, 127])
async def test_a_program_that_lacks_its_configuration_pauses_the_processor(bench: Bench, status: int) -> None:
    with pytest.raises(ProcessorPaused, match=f"exit status {status}.: no licence file") as paused:
        await bench.process(f"sys.stderr.write('no licence file'); sys.exit({status})")

    assert bench.limiter.paused == [paused.value]
    assert "[processors.words]" in paused.value.hint
    assert bench.journal.ended[0][1] is CallStatus.FAILED


async def test_an_item_that_a_program_refuses_has_failed_for_good(bench: Bench) -> None:
    with pytest.raises(ProcessorRefused, match=r"refuses this .exit status 65.: not a film") as refused:
        await bench.process("sys.stderr.write('not a film'); sys.exit(65)")

    assert not refused.value.transient


def not_executable(path: Path) -> None:
    path.write_text("#!/bin/sh\n")


def without_a_first_line(path: Path) -> None:
    path.write_text("echo {}\n")
    path.chmod(0o755)


def with_a_lost_interpreter(path: Path) -> None:
    path.write_text("#!/no/such/shell\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("make", "status", "reason"),
    [
        (lambda path: None, 127, "no such program"),
        (Path.mkdir, 126, "not a file that the daemon's user may execute"),
        (not_executable, 126, "not a file that the daemon's user may execute"),
        (without_a_first_line, 126, "no script with a first line"),
        (with_a_lost_interpreter, 127, "the interpreter in its first line"),
        (lambda path: path.symlink_to(path), 127, "a link that leads nowhere"),
    ],
)
async def test_what_cannot_be_executed_pauses_the_processor_and_says_why(
    bench: Bench, make: Any, status: int, reason: str
) -> None:
    path = bench.folder / "program"
    make(path)

    with pytest.raises(ProcessorPaused, match=f"exit status {status}.: {path}.*{reason}"):
        await bench.processor([str(path)]).process(bench.item())

    assert len(bench.limiter.paused) == 1
    assert bench.left() == []


async def test_a_program_is_found_on_the_path_of_the_daemon(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = bench.folder / "my-words"
    program.write_text('#!/bin/sh\necho \'{"metadata": {"words": ["found"]}}\'\n')
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{bench.folder}{os.pathsep}{os.environ['PATH']}")

    result = await bench.processor(["my-words"]).process(bench.item())

    assert result.segments[0].metadata == {"words": ["found"]}


async def test_no_shell_reads_the_arguments(bench: Bench) -> None:
    code = "print(json.dumps({'metadata': {'words': sys.argv[1:]}}))"
    command = [*bench.python(code), "$HOME; rm -rf *", "two words", ""]

    result = await bench.processor(command[:-1]).process(bench.item())

    assert result.segments[0].metadata == {"words": ["$HOME; rm -rf *", "two words"]}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("sys.exit(3)", "the program ended with status 3"),
        ("sys.stderr.write('oh no'); sys.exit(1)", "the program ended with status 1: oh no"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the program died by SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "the program died by SIGKILL"),
        (
            "sys.stderr.write('still busy'); sys.stderr.flush(); time.sleep(600)",
            "not finished within 1 s: still busy",
        ),
    ],
)
async def test_a_crash_may_be_retried_and_says_how_it_ended(bench: Bench, code: str, reason: str) -> None:
    with pytest.raises(ProcessorCrashed, match=f"^{reason}$") as crashed:
        await bench.process(code, timeout_seconds=1, kill_grace_seconds=0.5)

    assert crashed.value.transient
    assert bench.journal.ended == [("-1:command:0:", CallStatus.FAILED, Usage(cost_usd=0.0))]
    assert bench.left() == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("pass", "it is empty"),
        ("print('working...'); " + GOOD, "Expecting value"),
        (GOOD + "; print('done')", "Extra data"),
        ("sys.stdout.buffer.write(bytes(range(256)) * 100)", "Expecting value|not UTF-8"),
        ("print('[' * 100000)", "nested deeper than 64 levels"),
        ("print('{\"metadata\":' * 200 + '1' + '}' * 200)", "nested deeper than 64 levels"),
        ('print(\'{"metadata": {"words": [NaN]}}\')', "not JSON compliant"),
        ('print(\'{"metadata": {"words": ["\\\\ud800"]}}\')', "half of a character"),
        ("print('[]')", "no JSON object but an array"),
        ("print('{}')", "the answer has no `metadata`"),
        ("print('{\"metadata\": []}')", "its `metadata` is no good"),
        ('print(\'{"metadata": {"words": [1]}}\')', r"\$\.words\[0\]: the value is not of type .string."),
        ('print(\'{"metadata": {"words": [], "x": 1}}\')', "Additional properties"),
        ('print(\'{"metadata": {"words": []}, "metadata_text": 1}\')', "its `metadata_text` is no good"),
        (
            'print(\'{"metadata": {"words": []}, "usage": {"input_tokens": -1}}\')',
            "its `usage.input_tokens` is no good",
        ),
        (
            'print(\'{"metadata": {"words": []}, "usage": {"cost_usd": "1"}}\')',
            "its `usage.cost_usd` is no good",
        ),
        (
            'print(\'{"segments": [{"start_time": 2, "end_time": 1, "metadata": {"words": []}}]}\')',
            r"segments\[0\] of the answer ends before",
        ),
        (
            'print(\'{"segments": [{"start_time": 1e999, "end_time": 1, "metadata": {"words": []}}]}\')',
            "not JSON compliant",
        ),
        (
            'print(\'{"segments": [{"start_time": 0, "end_time": 1, "metadata": {"words": 7}}]}\')',
            r"segments\[0\]: the `metadata` of the answer does not fit",
        ),
        ('print(\'{"segments": [{"start_time": 0}]}\')', r"its `segments\.0\.end_time` is no good"),
    ],
)
async def test_an_answer_that_is_no_good_fails_the_item_with_the_reason(
    bench: Bench, code: str, reason: str
) -> None:
    with pytest.raises(ProcessorRefused, match=reason):
        await bench.process(code)

    assert bench.left() == []


async def test_an_answer_that_does_not_fit_was_paid_for_all_the_same(bench: Bench) -> None:
    with pytest.raises(ProcessorRefused):
        await bench.process('print(\'{"metadata": {}, "usage": {"cost_usd": 2}}\')')

    assert bench.journal.ended == [("-1:command:0:", CallStatus.COMPLETED, Usage(cost_usd=2.0))]


@pytest.mark.parametrize("code", ["while True: print('y' * 1000)", "print('{' + ' ' * 100_000_000 + '}')"])
async def test_endless_output_is_cut(bench: Bench, code: str) -> None:
    with pytest.raises(ProcessorRefused, match="it wrote more than 1,000,000 bytes"):
        await bench.process(code, stdout_bytes=1_000_000)

    assert bench.left() == []


async def test_of_an_endless_complaint_the_end_is_told(bench: Bench) -> None:
    with pytest.raises(ProcessorCrashed) as crashed:
        await bench.process("sys.stderr.write('x' * 10_000_000 + '\\x1b[31mthe end'); sys.exit(1)")

    assert crashed.value.message.endswith("[31mthe end")
    assert "\x1b" not in crashed.value.message
    assert len(crashed.value.message) < 2100


async def test_the_values_of_passed_variables_are_left_out_of_complaints(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCR_KEY", "key-of-the-user")

    with pytest.raises(ProcessorCrashed, match=r"refused \[OCR_KEY\]$"):
        await bench.process(
            "sys.stderr.write('refused ' + os.environ['OCR_KEY']); sys.exit(1)", pass_env=("OCR_KEY",)
        )


async def test_a_program_that_reads_nothing_is_fine(bench: Bench) -> None:
    prompt = replace(PROMPT, prompt_text="x" * 5_000_000)

    assert (await bench.process("os.close(0); " + GOOD, prompt)).segments


async def test_a_program_that_ignores_sigterm_is_killed_with_all_that_it_started(bench: Bench) -> None:
    code = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen(['sleep', '600'])\n"
        "subprocess.Popen(['setsid', 'sleep', '600'])\n"
        "time.sleep(600)"
    )

    with pytest.raises(ProcessorCrashed, match="not finished within 1 s"):
        await bench.process(code, timeout_seconds=1, kill_grace_seconds=0.3)

    assert bench.left() == []


@pytest.mark.parametrize("start", ["'sleep', '600'", "'setsid', 'sleep', '600'"])
async def test_what_a_program_leaves_running_is_ended_and_not_waited_for(bench: Bench, start: str) -> None:
    """It holds stdout open, as a shell's `&` does."""
    with anyio.fail_after(20):
        result = await bench.process(f"subprocess.Popen([{start}])\n{GOOD}")

    assert result.segments[0].metadata == {"words": ["one"]}
    assert bench.left() == []


async def test_a_program_that_is_out_of_reach_holds_no_file_of_ours_open(bench: Bench) -> None:
    code = f"""
child = subprocess.Popen(['sleep', '600'], env={{}}, start_new_session=True)
with open(sys.argv[0] + '.pids', 'a') as pids:
    print(child.pid, file=pids)
{GOOD}"""
    await bench.process(GOOD)
    bench.journal = MemoryJournal()
    open_before = psutil.Process().num_fds()
    try:
        with anyio.fail_after(60):
            await bench.process(code)
        assert psutil.Process().num_fds() == open_before
    finally:
        for pid in (bench.folder / "program.py.pids").read_text().split():
            os.kill(int(pid), signal.SIGKILL)


async def test_cancelling_leaves_nothing_running(bench: Bench) -> None:
    started = bench.folder / "program.py.started"
    code = "subprocess.Popen(['sleep', '600']); open(sys.argv[0] + '.started', 'w'); time.sleep(600)"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.process, code)
        with anyio.fail_after(30):
            while not started.exists():  # noqa: ASYNC110  # another process makes it
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()

    assert bench.left() == []
    assert bench.journal.ended == []


async def test_a_program_may_use_so_much_memory(bench: Bench) -> None:
    """From the moment at which it has its request."""
    given = "\nimport io\nsys.stdin = io.StringIO(sys.stdin.read())"
    code = given + "\ntry:\n    bytearray(1 << 30)\nexcept MemoryError:\n    sys.exit('too much')\n" + GOOD

    with pytest.raises(ProcessorCrashed, match="too much"):
        await bench.process(code, memory_bytes=1 << 29)

    assert (await bench.process(code)).segments


async def test_a_program_harms_no_neighbour(bench: Bench, tmp_path: Path) -> None:
    others = [Bench(tmp_path / name) for name in ("bad", "good")]
    for other in others:
        other.folder.mkdir()
    failures: list[VvwatchError] = []

    async def bad() -> None:
        try:
            await others[0].process("os.kill(0, signal.SIGKILL)")
        except VvwatchError as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bad)
        tasks.start_soon(others[1].process, "time.sleep(0.3)\n" + GOOD)

    assert re.match("the program died by SIGKILL", failures[0].message)
    assert others[1].journal.ended[0][1] is CallStatus.COMPLETED


async def test_a_title_of_odd_bytes_is_told(bench: Bench) -> None:
    code = "said = json.load(sys.stdin)['item']['title']\nprint(json.dumps({'metadata': {'words': [ascii(said)]}}))"

    result = await bench.process(code, item={"title": "caf\udce9 \u2028\0\n{{x}}"})

    assert result.segments[0].metadata == {"words": [r"'caf\udce9 \u2028\x00\n{{x}}'"]}


def test_a_prompt_that_cannot_be_held_against_is_refused(bench: Bench) -> None:
    processor = bench.processor([sys.executable])
    lost = {"type": "object", "properties": {"a": {"$ref": "#/$defs/nowhere"}}}

    processor.check_prompt(VIDEO)
    for prompt in (replace(PROMPT, json_schema=lost), replace(PROMPT, video_level={"json_schema": lost})):
        with pytest.raises(InvalidInput, match="nowhere"):
            processor.check_prompt(prompt)


def test_a_program_costs_nothing_unless_it_has_a_price(bench: Bench) -> None:
    work, settings = Workload("video", 3, 30.0, 3, 9), bench.item().settings
    free, priced = (
        bench.processor(["x"], prices=prices) for prices in ({}, {"words": {"usd_per_call": 0.5}})
    )

    assert (free.forecast(work, PROMPT, settings).calls, free.forecast(work, PROMPT, settings).cost_usd) == (
        3,
        0.0,
    )
    assert priced.forecast(work, PROMPT, settings).cost_usd == 1.5
