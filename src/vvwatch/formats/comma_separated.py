"""CSV as RFC 4180 has it, in UTF-8: a header, lines that end in CR LF, quotes where needed.

A spreadsheet runs a cell that begins like a formula. Such a text gets an apostrophe before it; numbers get none.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final

from vvwatch.formats.columns import Column, Kind
from vvwatch.formats.items import ExportedItem, Format, Scope
from vvwatch.formats.rows import open_table

_FORMULA_STARTS: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_WORDS: Final = {True: "true", False: "false", None: None}


def write_csv(file: BinaryIO, columns: Sequence[Column], rows: Iterable[list[Any]]) -> None:
    """Write the rows. An empty cell is an empty text or none."""
    text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
    try:
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow([column.name for column in columns])
        writer.writerows(_iter_cells(columns, rows))
    finally:
        text.detach()


def _iter_cells(columns: Sequence[Column], rows: Iterable[list[Any]]) -> Iterator[list[Any]]:
    texts = [number for number, column in enumerate(columns) if column.kind is Kind.TEXT]
    flags = [number for number, column in enumerate(columns) if column.kind is Kind.FLAG]
    for row in rows:
        for number in texts:
            value = row[number]
            if value and (value[0] in _FORMULA_STARTS or "\0" in value):
                row[number] = _guard_text(value)
        for number in flags:
            row[number] = _WORDS[row[number]]
        yield row


def _guard_text(value: str) -> str:
    clean = value.replace("\0", "\ufffd")
    return f"'{clean}" if clean[0] in _FORMULA_STARTS else clean


def _write(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    table = open_table(items)
    write_csv(file, table.columns, table.rows)


CSV: Final = Format("csv", ".csv", "text/csv; charset=utf-8", Scope.RUN, _write)
"""A table of results for spreadsheets."""
