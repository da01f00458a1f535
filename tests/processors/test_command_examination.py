"""Whether a program can be started, as the doctor wants to know it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vvwatch.processors.command.running import Program


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("/bin/sh", None),
        ("no-such-program-anywhere", ("there is no program 'no-such-program-anywhere'", "install it")),
        ("{folder}/plain.txt", ("may not be executed", "chmod +x {folder}/plain.txt")),
    ],
)
def test_a_program_is_examined_before_it_is_wanted(
    tmp_path: Path, command: str, told: tuple[str, str] | None
) -> None:
    (tmp_path / "plain.txt").write_text("words")
    found = Program((command.format(folder=tmp_path),), timeout_seconds=1.0).examine()
    if told is None:
        assert found == ()
        return
    [error] = found
    assert told[0] in error.message
    assert told[1].format(folder=tmp_path) in error.hint
