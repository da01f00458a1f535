"""Parquet, by arro3-io (the extra `parquet`): columns and types come from the prompt's schema, so files join.

Moments are timestamps in milliseconds, UTC: other readers take seconds for plain numbers. The library writes to a
name of its own, since it leaves an empty file and raises what `except Exception` does not catch.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from vvwatch.formats.columns import Column, Kind
from vvwatch.formats.items import ExportedItem, Format, Scope
from vvwatch.formats.rows import ROWS_AT_ONCE, Rows, open_table

_BATCHES_AT_ONCE: Final = 5_000 // ROWS_AT_ONCE


def write_parquet(file: BinaryIO, columns: Sequence[Column], batches: Iterable[Rows]) -> None:
    """Write the rows, a batch in memory at a time. Raises what the rows raise; RuntimeError if the library fails."""
    name = getattr(file, "name", None)
    beside = Path(name).parent if isinstance(name, str | Path) else None
    with tempfile.TemporaryDirectory(dir=beside) as folder:
        draft = Path(folder) / "table.parquet"
        raised: list[BaseException] = []
        try:
            _write_table(draft, columns, _keep_errors(batches, raised))
        except BaseException as error:
            if raised:
                raise raised[0] from None
            if isinstance(error, Exception) or type(error).__name__ != "PanicException":
                raise
            raise RuntimeError(f"arro3-io cannot write this table: {error}") from error
        with draft.open("rb") as written:
            shutil.copyfileobj(written, file)


def _keep_errors(batches: Iterable[Any], raised: list[BaseException]) -> Iterator[Any]:
    """Yield the rows; keep an error that they raise: the library shows only its text."""
    try:
        yield from batches
    except BaseException as error:
        raised.append(error)
        raise


def _write_table(path: Path, columns: Sequence[Column], batches: Iterator[Rows]) -> None:
    from arro3.core import DataType, Field, RecordBatchReader, Schema  # noqa: PLC0415  # an extra
    from arro3.io import write_parquet as write  # noqa: PLC0415

    types = {
        Kind.ID: DataType.utf8(),
        Kind.TEXT: DataType.utf8(),
        Kind.JSON: DataType.utf8(),
        Kind.INTEGER: DataType.int64(),
        Kind.NUMBER: DataType.float64(),
        Kind.FLAG: DataType.bool(),
        Kind.MOMENT: DataType.timestamp("ms", tz="UTC"),
    }
    schema = Schema([Field(column.name, types[column.kind], nullable=True) for column in columns])
    records = _iter_records(schema, types, columns, batches)
    write(RecordBatchReader.from_batches(schema, records), path, compression="zstd(3)", created_by="vvwatch")


def _iter_records(
    schema: Any, types: Mapping[Kind, Any], columns: Sequence[Column], batches: Iterator[Rows]
) -> Iterator[Any]:
    from arro3.core import RecordBatch  # noqa: PLC0415  # an extra

    while some := [batch.all_columns() for batch in islice(batches, _BATCHES_AT_ONCE)]:
        together = map(list, map(chain.from_iterable, zip(*some, strict=True)))
        arrays = [
            _build_array(values, column.kind, types[column.kind])
            for column, values in zip(columns, together, strict=True)
        ]
        yield RecordBatch.from_arrays(arrays, schema=schema)


def _build_array(values: Sequence[Any], kind: Kind, wanted: Any) -> Any:
    from arro3.core import Array, DataType  # noqa: PLC0415  # an extra

    if kind is Kind.MOMENT:
        return Array(list(map(_to_milliseconds, values)), DataType.int64()).cast(wanted)
    try:
        return Array(values, wanted)
    except UnicodeEncodeError:  # of a file name that is no text
        return Array(
            [value and value.encode("utf-8", "backslashreplace").decode() for value in values], wanted
        )


@lru_cache(1_024)
def _to_milliseconds(iso: str | None) -> int | None:
    return None if iso is None else round(datetime.fromisoformat(iso).timestamp() * 1000)


def _write(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    table = open_table(items)
    write_parquet(file, table.columns, table.batches)


PARQUET: Final = Format(
    "parquet", ".parquet", "application/vnd.apache.parquet", Scope.RUN, _write, extra="parquet"
)
"""A table of results for DuckDB, Spark and others."""
