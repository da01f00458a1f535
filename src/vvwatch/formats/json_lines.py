"""JSON Lines: one object a line, a segment or the result of a whole media item, as the JSON document has it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import BinaryIO, Final

from vvwatch.core.events import canonical_json
from vvwatch.formats.columns import Column
from vvwatch.formats.items import ExportedItem, Format, Scope
from vvwatch.formats.rows import Row, iter_lines


def write_json_lines(file: BinaryIO, columns: Iterable[Column], rows: Iterable[Row]) -> None:
    """Write one object a row, with the names of the columns."""
    names = [column.name for column in columns]
    file.writelines(canonical_json(dict(zip(names, chain(*row), strict=True))) + b"\n" for row in rows)


def _write(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    for item in items:
        start = b""
        for shared, own in iter_lines(item):
            start = start or canonical_json(shared)[:-1] + b","  # the same for all lines of an item
            file.write(start + canonical_json(own)[1:] + b"\n")


JSONL: Final = Format("jsonl", ".jsonl", "application/x-ndjson", Scope.RUN, _write)
"""The results for programs that read line by line."""
