"""Many rows at once have the bytes that each of them has alone, whatever texts they hold."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.items import HARSH_TEXTS
from tests.formats.test_tables import FULL, item, write
from vvwatch.core.events import canonical_text
from vvwatch.errors import InvalidInput
from vvwatch.formats.columns import Column, Kind
from vvwatch.formats.comma_separated import write_csv
from vvwatch.formats.items import ExportedItem
from vvwatch.formats.json_texts import canonical_texts
from vvwatch.formats.rows import ROWS_AT_ONCE, batch_rows

TEXTS = st.sampled_from(HARSH_TEXTS) | st.text(st.sampled_from(',"\r\n\0=+-@ a\t\ud800é'), max_size=6)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
NAMES = st.sampled_from(["title", "n", "q\"'", "é", "\ud800"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
ALIKE = st.fixed_dictionaries({"title": TEXTS, "n": st.integers(), "free": VALUES})


@given(st.lists(VALUES, max_size=12) | st.lists(ALIKE, max_size=12) | st.lists(SCALARS, max_size=12))
def test_values_at_once_are_encoded_as_each_alone(values: list[Any]) -> None:
    plain = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
    assert canonical_texts(values) == [canonical_text(value) for value in values] == list(map(plain, values))


def test_values_may_be_as_deep_together_as_alone() -> None:
    value: dict[str, Any] = {"n": 1}
    for _ in range(500):
        value = {"title": value}
    assert canonical_texts([value] * 9) == [canonical_text(value)] * 9


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"deep": [float("-inf")]}])
@pytest.mark.parametrize("count", [1, 9])
def test_what_is_no_number_is_refused(value: Any, count: int) -> None:
    with pytest.raises(InvalidInput):
        canonical_texts([value] * count)


def plain_csv(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> bytes:
    """The rows by the csv module, one after the other."""

    def guard(column: Column, value: Any) -> Any:
        if column.kind is Kind.FLAG:
            return {True: "true", False: "false", None: ""}[value]
        if column.kind is Kind.TEXT and value:
            value = value.replace("\0", "\ufffd")
            return f"'{value}" if value[0] in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20" else value
        return value

    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([guard(column, value) for column, value in zip(columns, row, strict=True)])
    return file.getvalue().encode("utf-8", "backslashreplace")


COLUMNS = [Column(kind.value, kind) for kind in (Kind.TEXT, Kind.ID, Kind.NUMBER, Kind.INTEGER, Kind.FLAG)]
ROWS = st.tuples(
    st.none() | TEXTS,
    st.none() | TEXTS.map(lambda text: text.replace("\0", "")),
    st.none() | st.floats(),
    st.none() | st.integers(),
    st.none() | st.booleans(),
)


@given(st.lists(ROWS, max_size=8))
def test_csv_has_the_bytes_of_the_csv_module(rows: list[tuple[Any, ...]]) -> None:
    file = io.BytesIO()
    write_csv(file, COLUMNS, batch_rows(rows))
    assert file.getvalue() == plain_csv(COLUMNS, rows)


def long_item(texts: Sequence[str], count: int) -> ExportedItem:
    """An item of `count` segments; every seventh lacks a field."""
    whole = item(FULL)
    (first,) = whole.document["segments"]
    segments = []
    for number in range(count):
        text = texts[number % len(texts)]
        metadata = {"title": text, "people": number} if number % 7 else {"free": text}
        segments.append(first | {"metadata": metadata, "metadata_text": text, "segment_id": f"seg_{number}"})
    return ExportedItem({**whole.document, "segments": segments}, whole.run)


@pytest.mark.parametrize(
    "count", [0, 1, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, 2 * ROWS_AT_ONCE + 3]
)
def test_each_result_is_a_row_where_batches_end_within_items(count: int) -> None:
    items = [long_item(HARSH_TEXTS, count), long_item(["calm"], 3)]
    wanted = [f"seg_{number}" for number in range(count)] + [None, "seg_0", "seg_1", "seg_2", None]
    lines = [json.loads(line) for line in write("jsonl", *items).splitlines()]
    assert [line.get("segment_id") for line in lines] == wanted
    rows = list(csv.DictReader(io.StringIO(write("csv", *items).decode(), newline="")))
    assert [row["segment_id"] or None for row in rows] == wanted
    assert [json.loads(row["metadata_json"]) for row in rows] == [line["metadata"] for line in lines]
    assert [row["metadata.title"] for row in rows[-4:]] == ["", "calm", "calm", ""]
    assert rows[-1]["video_metadata.mood"] == "calm"


@pytest.mark.parametrize(("name", "end"), [("jsonl", b"\n"), ("csv", b"\r\n")])
def test_a_segment_among_many_has_the_bytes_that_it_has_alone(name: str, end: bytes) -> None:
    many = long_item([text.replace("\n", " ") for text in HARSH_TEXTS], 40)
    lines = [line for line in write(name, many).split(end) if b"seg_" in line]
    for segment, line in zip(many.document["segments"], lines, strict=True):
        alone = ExportedItem({**many.document, "segments": [segment]}, many.run)
        assert [each for each in write(name, alone).split(end) if b"seg_" in each] == [line]
