"""Tables fit the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.cli.tables import _cut_cell, measure, print_columns, shorten_id
from vvwatch.core.identities import new_id

HEADS = ("ID", "INDEX", "SIZE", "LINK")
ROWS = [("i" * 30, "n" * 60, "1 kB", "l" * 30), ("i", "n", "-", "-")]
JOB = new_id("job", 1_700_000_000, b"0123456789")


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_columns_are_as_wide_as_their_longest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    assert not print_columns([("a", "failed"), ("long name", "x")], ("NAME", "STATE"))
    assert capsys.readouterr().out == "NAME       STATE\na          failed\nlong name  x\n"


@pytest.mark.parametrize(
    ("room", "heads"),
    [(140, HEADS), (110, HEADS), (72, ("ID", "INDEX", "SIZE")), (60, ("ID", "INDEX")), (30, ("ID", "INDEX"))],
)
def test_a_narrow_terminal_loses_what_can_be_spared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, room: int, heads: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", str(room))
    assert print_columns(ROWS, HEADS, ("LINK", "SIZE"), "INDEX") is (room < 140)
    lines = printed(capsys)
    assert tuple(lines[0].split()) == heads
    assert max(map(len, lines)) <= room


def test_a_name_is_shortened_before_others_go(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    print_columns(ROWS, HEADS, ("LINK", "SIZE"), "INDEX")
    assert printed(capsys)[1] == f"{'i' * 30}  {'n' * 27}…"


def test_ids_are_shortened_only_where_they_have_no_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_columns([(JOB, "x")], ("JOB", "INDEX"))
    print_columns([(JOB, "x" * 60)], ("JOB", "INDEX"))
    assert [line.split()[0] for line in printed(capsys)] == ["JOB", JOB, "JOB", f"job_{JOB[-8:]}"]


def test_a_program_gets_every_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_columns([*ROWS, (JOB, "", "", "")], HEADS, ("LINK", "SIZE"), "INDEX")
    lines = printed(capsys)
    assert "LINK" in lines[0]
    assert JOB in lines[3]


@pytest.mark.parametrize("text", ["auto_import_dailies", "job_", JOB.upper(), f"{JOB}x", "", "-"])
def test_names_that_people_chose_stay_whole(text: str) -> None:
    assert shorten_id(text) == text


@given(st.text(st.characters(exclude_categories=["C"]), max_size=40), st.integers(1, 20))
def test_a_cut_cell_has_exactly_its_width(text: str, width: int) -> None:
    assert measure(_cut_cell(text, width)) == width


def test_wide_letters_take_two_columns() -> None:
    assert [measure(text) for text in ("clip", "素材", "e\u0301", "🎬")] == [4, 4, 1, 2]


@given(
    st.lists(st.lists(st.text("ab_素", max_size=120), min_size=5, max_size=5), min_size=1, max_size=4),
    st.sets(st.sampled_from("VWXYZ")),
    st.sets(st.sampled_from("VWXYZ"), max_size=4),
)
def test_every_table_of_five_columns_fits(rows: list[list[str]], cut: set[str], spare: set[str]) -> None:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "50")
        patch.setattr("vvwatch.cli.tables.click.echo", lines.append)
        print_columns(rows, "VWXYZ", sorted(spare), sorted(cut))
    assert max(map(measure, map(unstyled, lines))) <= 50


def unstyled(line: str) -> str:
    return line.replace("\x1b[1m", "").replace("\x1b[0m", "")
