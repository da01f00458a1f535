"""CSV as RFC 4180 has it, in UTF-8: a header, lines that end in CR LF, quotes where needed.

A spreadsheet runs a cell that begins like a formula. Such a text gets an apostrophe before it; numbers get none.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO, Final

from vvwatch.formats.columns import Column, Kind
from vvwatch.formats.items import ExportedItem, Format, Scope
from vvwatch.formats.rows import Row, open_table

_FORMULA_STARTS: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_LINES_AT_ONCE: Final = 256
_END: Final = "\r\n"
_WORDS: Final = {True: "true", False: "false", None: None}


class _Line:
    """Takes the line that a writer of the csv module writes."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text


def write_csv(file: BinaryIO, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Write the rows. An empty cell is an empty text or none."""
    lines = _iter_lines(columns, rows)
    while batch := "".join(islice(lines, _LINES_AT_ONCE)):
        file.write(batch.encode("utf-8", "backslashreplace"))


def _iter_lines(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[str]:
    line = _Line()
    write = csv.writer(line, lineterminator=_END).writerow
    write([column.name for column in columns])
    yield line.text
    start, before = "", None
    texts: list[int] = []
    flags: list[int] = []
    for shared, own in rows:
        if shared is not before:
            before, guarded = shared, list(shared)
            _guard(guarded, *_list_guarded(columns[: len(shared)]))
            write(guarded)
            start = line.text.removesuffix(_END) + "," if shared else ""
            texts, flags = _list_guarded(columns[len(shared) :])
        _guard(own, texts, flags)
        write(own)
        yield start + line.text


def _list_guarded(columns: Sequence[Column]) -> tuple[list[int], list[int]]:
    """Return the numbers of the columns of texts, and of those of flags."""
    texts = [number for number, column in enumerate(columns) if column.kind is Kind.TEXT]
    return texts, [number for number, column in enumerate(columns) if column.kind is Kind.FLAG]


def _guard(cells: list[Any], texts: Sequence[int], flags: Sequence[int]) -> None:
    """Make the cells of a row safe."""
    for number in texts:
        value = cells[number]
        if value and (value[0] in _FORMULA_STARTS or "\0" in value):
            cells[number] = _guard_text(value)
    for number in flags:
        cells[number] = _WORDS[cells[number]]


def _guard_text(value: str) -> str:
    clean = value.replace("\0", "\ufffd")
    return f"'{clean}" if clean[0] in _FORMULA_STARTS else clean


def _write(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    table = open_table(items)
    write_csv(file, table.columns, table.rows)


CSV: Final = Format("csv", ".csv", "text/csv; charset=utf-8", Scope.RUN, _write)
"""A table of results for spreadsheets."""
