"""Tables: columns that fit the terminal."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from typing import Final
from unicodedata import combining, east_asian_width

import click

from vvwatch.cli.output import escape_controls

_GAP: Final = "  "
_NARROWEST: Final = 8
_READABLE: Final = 32
"""What a column that is shortened keeps before other columns are dropped for it."""
_SHORT_DIGITS: Final = 8
"""40 random bits: nobody has two ids that end alike."""
_GENERATED: Final = re.compile(r"([a-z]+_)[0-9a-z]{18}([0-9a-z]{8})", re.ASCII)
_GOOD: Final = frozenset({"active", "completed", "delivered", "healthy", "imported", "processed", "ready"})
_BAD: Final = frozenset({"failed", "disabled", "degraded", "dead_letter", "completed_with_failures"})

Table = list[list[str]]


def print_columns(
    rows: Sequence[Sequence[str]],
    heads: Sequence[str] = (),
    spare: Sequence[str] = (),
    cut: str | Sequence[str] = (),
) -> bool:
    """Print `rows` in columns below bold `heads`; colours words for good and bad. Return whether cells were cut.

    On a narrow terminal shortens ids, drops the columns `spare` in their order, then cuts the columns `cut`, and at
    last all. Output for programs is never narrowed.
    """
    table = [[escape_controls(cell) for cell in row] for row in ([heads, *rows] if heads else rows)]
    room = _terminal_width()
    able = (cut,) if isinstance(cut, str) else cut
    table, widths = (table, _column_widths(table)) if room is None else _fit_table(table, spare, able, room)
    for position, row in enumerate(table):
        cells = (_paint(_cut_cell(cell, width)) for cell, width in zip(row, widths, strict=True))
        line = _GAP.join(cells).rstrip()
        click.echo(click.style(line, bold=True) if heads and position == 0 else line)
    return any(measure(cell) > width for row in table for cell, width in zip(row, widths, strict=True))


def shorten_id(text: str) -> str:
    """Return a generated id as its kind and its last digits, `job_7e8h0j1k`; any other text unchanged."""
    found = _GENERATED.fullmatch(text)
    return text if found is None else found[1] + found[2]


def measure(text: str) -> int:
    """Return the columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 1 + (east_asian_width(char) in "WF") for char in text)


def _terminal_width() -> int | None:
    """Return the columns of the terminal or of $COLUMNS; None if nothing limits them."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS"):
        return None
    return shutil.get_terminal_size().columns


def _column_widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(measure, column)) for column in zip(*table, strict=True)]


def _fit_table(table: Table, spare: Sequence[str], cut: Sequence[str], room: int) -> tuple[Table, list[int]]:
    """Return the rows with the columns that have room, and how wide each is."""
    if _excess(_column_widths(table), room) > 0:
        table = [[shorten_id(cell) for cell in row] for row in table]
    for head in spare:
        if _excess(_shrink(table, cut, room, _READABLE), room) > 0:
            place = table[0].index(head)
            table = [[cell for position, cell in enumerate(row) if position != place] for row in table]
    widths = _shrink(table, cut, room, _NARROWEST)
    return table, widths if _excess(widths, room) <= 0 else _shrink(table, table[0], room, _NARROWEST)


def _shrink(table: Table, cut: Sequence[str], room: int, least: int) -> list[int]:
    """Return the widths, those of the columns `cut` made smaller, the widest first, down to `least`."""
    widths = _column_widths(table)
    able = [position for position, head in enumerate(table[0]) if head in cut]
    while _excess(widths, room) > 0 and able:
        widest = max(able, key=widths.__getitem__)
        if widths[widest] <= least:
            break
        widths[widest] -= 1
    return widths


def _excess(widths: Sequence[int], room: int) -> int:
    """Return by how many columns a table of these widths is too wide."""
    return sum(widths) + len(_GAP) * (len(widths) - 1) - room


def _cut_cell(cell: str, width: int) -> str:
    """Return the cell in exactly `width` columns; one that is longer ends with an ellipsis."""
    if measure(cell) <= width:
        return cell + " " * (width - measure(cell))
    while measure(cell) >= width:
        cell = cell[:-1]
    return cell + "…" + " " * (width - 1 - measure(cell))


def _paint(cell: str) -> str:
    word = cell.strip()
    if word in _GOOD:
        return click.style(cell, fg="green")
    return click.style(cell, fg="red") if word in _BAD else cell
