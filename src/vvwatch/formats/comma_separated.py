"""CSV as RFC 4180 has it, in UTF-8: a header, lines that end in CR LF, quotes where needed.

A spreadsheet runs a cell that begins like a formula. Such a text gets an apostrophe before it; numbers get none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, BinaryIO, Final

from vvwatch.formats.columns import Column, Kind
from vvwatch.formats.items import ExportedItem, Format, Scope
from vvwatch.formats.rows import Rows, open_table

_FORMULA_STARTS: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_QUOTE: Final = '"'
_find_special: Final = re.compile('[,"\r\n]').search
_WORDS: Final = {True: "true", False: "false", None: ""}
_END: Final = "\r\n"


def write_csv(file: BinaryIO, columns: Sequence[Column], batches: Iterable[Rows]) -> None:
    """Write the rows. An empty cell is an empty text or none."""
    file.write(_encode(",".join(_quote([column.name for column in columns])) + _END))
    for batch in batches:
        starts: list[Iterable[str]] = []
        for values, count in batch.shared:
            cells = _format_columns(columns, zip(values, strict=True))
            starts.append(repeat("".join(f"{cell}," for (cell,) in cells), count))
        own = zip(*_format_columns(columns[-len(batch.columns) :], batch.columns), strict=True)
        parts = zip(chain.from_iterable(starts), map(",".join, own), repeat(_END), strict=False)
        file.write(_encode("".join(chain.from_iterable(parts))))


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _format_columns(columns: Iterable[Column], cells: Iterable[Sequence[Any]]) -> Iterator[Sequence[str]]:
    """Yield what each column has between its commas."""
    for column, values in zip(columns, cells, strict=False):
        yield _FORMATS[column.kind](values)


def _format_texts(values: Sequence[str | None]) -> Sequence[str]:
    texts = [value or "" for value in values]
    joined = "".join(texts)
    if not joined:
        return texts
    if "\0" in joined or not _FORMULA_STARTS.isdisjoint(map(itemgetter(0), filter(None, texts))):
        texts = [_guard_text(text) for text in texts]
    return _quote(texts)


def _guard_text(value: str) -> str:
    clean = value.replace("\0", "\ufffd")
    return f"'{clean}" if clean[:1] in _FORMULA_STARTS else clean


def _quote(texts: Sequence[str]) -> Sequence[str]:
    """Return the texts, those with a character that CSV itself uses in quotes."""
    if not _find_special("".join(texts)):
        return texts
    return [
        f'"{text.replace(_QUOTE, _QUOTE * 2)}"'
        if '"' in text or "," in text or "\n" in text or "\r" in text
        else text
        for text in texts
    ]


def _format_plain(values: Sequence[str | None]) -> Sequence[str]:
    return _quote([value or "" for value in values])


def _format_numbers(values: Sequence[float | None]) -> Sequence[str]:
    return ["" if value is None else str(value) for value in values]


def _format_flags(values: Sequence[bool | None]) -> Sequence[str]:
    return list(map(_WORDS.__getitem__, values))


_FORMATS: Final[Mapping[Kind, Callable[[Sequence[Any]], Sequence[str]]]] = {
    Kind.ID: _format_plain,
    Kind.TEXT: _format_texts,
    Kind.INTEGER: _format_numbers,
    Kind.NUMBER: _format_numbers,
    Kind.FLAG: _format_flags,
    Kind.MOMENT: _format_plain,
    Kind.JSON: _format_plain,
}


def _write(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    table = open_table(items)
    write_csv(file, table.columns, table.batches)


CSV: Final = Format("csv", ".csv", "text/csv; charset=utf-8", Scope.RUN, _write)
"""A table of results for spreadsheets."""
