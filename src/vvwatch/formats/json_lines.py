"""JSON Lines: one object a line, a segment or the result of a whole media item, as the JSON document has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, BinaryIO, Final

from vvwatch.core.events import canonical_json, canonical_text
from vvwatch.formats.columns import Column
from vvwatch.formats.items import ExportedItem, Format, Scope
from vvwatch.formats.json_texts import common_names, join_fields
from vvwatch.formats.rows import Rows, shared_fields

_LINES_AT_ONCE: Final = 256


def write_json_lines(file: BinaryIO, columns: Iterable[Column], batches: Iterable[Rows]) -> None:
    """Write one object a row, with the names of the columns."""
    names = [column.name for column in columns]
    for batch in batches:
        rows = zip(*batch.all_columns(), strict=True)
        file.writelines(canonical_json(dict(zip(names, row, strict=True))) + b"\n" for row in rows)


def _write(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    for item in items:
        shared = shared_fields(item)
        start = canonical_text(shared)[:-1] + ","  # the same for all lines of an item
        segments = iter(item.document["segments"])
        while some := list(islice(segments, _LINES_AT_ONCE)):
            file.write(_format_lines(start, some, shared))
        file.write(_format_lines(start, [item.document["video_result"]], shared))


def _format_lines(start: str, results: Sequence[Mapping[str, Any]], shared: Mapping[str, Any]) -> bytes:
    """Return the lines of `results`, which all begin with `start`."""
    names = [name for name in common_names(results) if name not in shared]
    if names:
        text = join_fields(start, results, names, "}\n")
    else:
        text = "".join(_format_line(start, result, shared) for result in results)
    return text.encode("utf-8", "backslashreplace")


def _format_line(start: str, result: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    own = {name: value for name, value in result.items() if name not in shared}
    return f"{start}{canonical_text(own)[1:]}\n"


JSONL: Final = Format("jsonl", ".jsonl", "application/x-ndjson", Scope.RUN, _write)
"""The results for programs that read line by line."""
