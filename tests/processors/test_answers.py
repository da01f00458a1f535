"""What the confined process answers is read a line at a time, and no line takes long."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from vvwatch.core.media import ProcessingResult, Segment
from vvwatch.errors import MediaLimit, ProcessorCrashed
from vvwatch.processors.media import child
from vvwatch.processors.media.asking import Answer


def ignored(_: float) -> None:
    """Progress of nobody's interest."""


def taken(*lines: str | bytes) -> Answer:
    answer = Answer()
    for line in lines:
        answer.take(line.encode() if isinstance(line, str) else line, ignored)
    return answer


def test_long_lists_come_in_short_lines_and_are_the_same_afterwards(
    capsys: pytest.CaptureFixture[str],
) -> None:
    segments = tuple(Segment(n, n + 1, {"brightness": 0.5, "of": [n]}, f"words, {n}") for n in range(1_234))
    result = ProcessingResult(segments, {"whole": True}, "all of it")

    rest = child._write_lists(asdict(result))
    lines = capsys.readouterr().out.splitlines()
    answer = taken(*lines, json.dumps({"result": rest}))

    assert len(lines) == 13
    assert max(map(len, lines)) < 16_384
    assert answer.lists["segments"] == list(segments)
    assert answer.of("result") == {**asdict(result), "segments": [], "damage": [], "warnings": []}


def test_a_line_of_many_bytes_is_no_answer() -> None:
    with pytest.raises(ProcessorCrashed, match="unreadable"):
        taken(json.dumps({"result": "x" * (1 << 20)}))


@pytest.mark.parametrize("value", ["[]", "{}", "1"])
def test_a_line_of_many_values_is_no_answer_and_is_not_parsed(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("it was parsed"))
    line = f'{{"result": [{",".join([value] * 60_000)}]}}'
    with pytest.raises(ProcessorCrashed, match="unreadable"):
        taken(line)


def test_lines_together_have_a_limit() -> None:
    line = json.dumps({"items": {"shots": [1.5] * 40_000}})
    assert len(taken(*[line] * 24).lists["shots"]) == 960_000
    with pytest.raises(MediaLimit, match="more than 1,000,000 values") as refused:
        taken(*[line] * 26)
    assert refused.value.hint == "Use longer segments."


@pytest.mark.parametrize(
    "items",
    [
        {"segments": [{"start_time": "0"}]},
        {"segments": 5},
        {"shots": ["late"]},
        {"spans": [[0.0]]},
        {"others": []},
        5,
    ],
)
def test_items_are_believed_as_far_as_they_make_sense(items: Any) -> None:
    with pytest.raises(ProcessorCrashed, match="unreadable"):
        taken(json.dumps({"items": items}))


def test_of_many_answers_only_the_last_is_kept() -> None:
    answer = taken(*(json.dumps({"probe": number}) for number in range(1_000)))
    assert answer.said == {"probe": 999}


def test_progress_is_passed_on_in_steps() -> None:
    answer, seen = Answer(), list[float]()
    for fraction in (0.0, 0.5, 0.5001, 0.2, 0.6, 0.6, 1.0, 1.0):
        answer.take(json.dumps({"progress": fraction}).encode(), seen.append)
    assert seen == [0.0, 0.5, 0.6, 1.0]
