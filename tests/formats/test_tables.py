"""JSON Lines, CSV and Parquet, read by the csv module and by DuckDB."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from vvwatch.formats.columns import schema_columns
from vvwatch.formats.items import ExportedItem, NotApplicable
from vvwatch.formats.registry import FORMATS

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "people": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "scene": {
            "type": "object",
            "properties": {
                "place": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "shots": {"type": ["integer", "null"]},
                "score": {"$ref": "#/$defs/score"},
                "night": {"type": "boolean"},
            },
        },
        "free": {},
    },
    "$defs": {"score": {"type": "number"}},
}

FULL: dict[str, Any] = {
    "title": "Dawn",
    "people": [{"name": "Ada"}],
    "scene": {"place": "quay", "shots": 3, "score": 1, "night": False},
    "free": -5,
}


def item(metadata: dict[str, Any], *, run_id: str = "run_1", name: str = "a.mp4") -> ExportedItem:
    result = {
        "run_id": run_id,
        "prompt_id": "prompt_1",
        "video_id": "vid_1",
        "video_name": name,
        "source_index_id": "index_1",
        "executed_at": "2026-09-21T14:18:20.250Z",
        "metadata_text": "",
    }
    segment = {
        "result_type": "segment",
        "result_id": "segment:1",
        "segment_id": "seg_1",
        **result,
        "start_time": 0.0,
        "end_time": 4.5,
        "metadata": metadata,
        "processing_warning": None,
        "field_extraction_error": None,
        "transcript": {"text": "one two", "language": "en", "source": "sidecar", "words": []},
    }
    whole: dict[str, Any] = {
        "result_type": "video",
        "result_id": "video:1",
        **result,
        "status": "partial",
        "metadata": {"mood": "calm"},
        "successful_segment_count": 1,
        "failed_segment_count": 0,
        "damage": [],
        "error_code": None,
        "error_message": None,
    }
    video = {
        "key": f"in/{name}",
        "video_uri": f"file:///in/{name}",
        "connector_id": "conn_in",
        "version": "v1",
        "media_type": "video",
        "duration_seconds": 9.0,
        "facts": {"path": {"show": "Harbour"}},
    }
    level = {"json_schema": {"type": "object", "properties": {"mood": {"type": "string"}}}}
    run = {"run_id": run_id, "json_schema": SCHEMA, "video_level": level}
    return ExportedItem({"video": video, "segments": [segment], "video_result": whole}, run)


def write(name: str, *items: ExportedItem) -> bytes:
    file = io.BytesIO()
    FORMATS[name].write(file, iter(items))
    return file.getvalue()


def read_csv(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def rows_of(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.sql(query).fetchall()


def test_a_line_of_json_is_a_segment_or_a_whole_item() -> None:
    segment, whole = map(json.loads, write("jsonl", item(FULL)).splitlines())
    assert (segment["result_type"], segment["metadata"], segment["transcript"]["text"]) == (
        "segment",
        FULL,
        "one two",
    )
    assert (whole["result_type"], whole["metadata"], whole["key"]) == ("video", {"mood": "calm"}, "in/a.mp4")


def test_fields_become_dotted_columns_with_their_values() -> None:
    segment, whole = read_csv(write("csv", item(FULL)))
    assert segment["metadata.title"] == "Dawn"
    assert json.loads(segment["facts"]) == {"path": {"show": "Harbour"}}
    assert (segment["transcript"], segment["transcript_language"]) == ("one two", "en")
    assert segment["metadata.scene.place"] == "quay"
    assert (segment["metadata.scene.shots"], segment["metadata.scene.score"]) == ("3", "1.0")
    assert segment["metadata.scene.night"] == "false"
    assert json.loads(segment["metadata.people"]) == [{"name": "Ada"}]
    assert segment["metadata.free"] == "-5"
    assert json.loads(segment["metadata_json"]) == FULL
    assert (whole["video_metadata.mood"], whole["metadata.title"], whole["status"]) == ("calm", "", "partial")


def test_csv_is_as_the_rfc_has_it() -> None:
    data = write("csv", item(FULL | {"title": 'a "b", c\nd'}))
    assert data.count(b"\r\n") == 3
    assert b'"a ""b"", c\nd"' in data
    assert read_csv(data)[0]["metadata.title"] == 'a "b", c\nd'


@pytest.mark.parametrize("start", list("=+-@\t\r\uff1d\uff20"))
def test_a_text_never_begins_like_a_formula(start: str) -> None:
    [row, _] = read_csv(write("csv", item({"title": f"{start}1+1"}, name=f"{start}x.mp4")))
    assert row["metadata.title"] == f"'{start}1+1"
    assert row["video_name"] == f"'{start}x.mp4"


def test_what_does_not_fit_its_column_is_still_in_the_row() -> None:
    found = {"title": 7, "scene": {"shots": 2**70, "night": "yes"}, "more": "x\ud800"}
    [row, _] = read_csv(write("csv", item(found)))
    assert (row["metadata.title"], row["metadata.scene.shots"], row["metadata.scene.night"]) == ("", "", "")
    assert json.loads(row["metadata_json"]) == found
    assert len(write("parquet", item(found, name="\ud800\0"))) > 100


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_a_table_without_media_is_not_written(name: str) -> None:
    file = io.BytesIO()
    with pytest.raises(NotApplicable, match="no media"):
        FORMATS[name].write(file, iter(()))
    assert file.getvalue() == b""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs of one prompt; the first found nothing in most fields, and is read first."""
    for name in ("csv", "jsonl", "parquet"):
        empty: dict[str, Any] = {"title": None, "people": [], "scene": {"shots": None}}
        (tmp_path / f"1.{name}").write_bytes(write(name, item(empty)))
        (tmp_path / f"2.{name}").write_bytes(write(name, item(FULL, run_id="run_2")))
    return tmp_path


@pytest.mark.parametrize("reader", ["read_csv", "read_parquet"])
def test_runs_join_even_where_a_field_is_empty_in_the_first(folder: Path, reader: str) -> None:
    name = reader.removeprefix("read_")
    columns = '"metadata.title", "metadata.scene.shots"::BIGINT, "metadata.scene.score"::DOUBLE'
    query = (
        f"select {columns} from {reader}('{folder}/*.{name}') where result_type = 'segment' order by run_id"
    )
    assert rows_of(query) == [(None, None, None), ("Dawn", 3, 1.0)]


def test_json_lines_join(folder: Path) -> None:
    query = f"select metadata.title from read_json('{folder}/*.jsonl') where result_type = 'segment' order by run_id"
    assert rows_of(query) == [(None,), ("Dawn",)]


def test_parquet_has_the_types_of_the_schema(folder: Path) -> None:
    described = dict(row[:2] for row in rows_of(f"describe select * from '{folder}/1.parquet'"))
    assert described["executed_at"] == "TIMESTAMP WITH TIME ZONE"
    assert described["metadata.scene.shots"] == "BIGINT"
    assert described["metadata.scene.score"] == described["start_time"] == "DOUBLE"
    assert described["metadata.scene.night"] == "BOOLEAN"
    assert described["metadata.free"] == described["metadata.people"] == "VARCHAR"
    [(at,)] = rows_of(f"select distinct epoch_ms(executed_at) from '{folder}/1.parquet'")
    assert at == 1_790_000_300_250


@pytest.mark.parametrize("name", ["csv", "jsonl", "parquet"])
def test_equal_items_give_equal_bytes(name: str) -> None:
    assert write(name, item(FULL)) == write(name, item(FULL))


class _Gone(Exception):
    pass


def test_an_error_of_the_database_comes_through_the_library() -> None:
    def items() -> Iterator[ExportedItem]:
        yield item(FULL)
        raise _Gone

    with pytest.raises(_Gone):
        FORMATS["parquet"].write(io.BytesIO(), items())


def test_names_that_differ_only_in_case_give_one_column() -> None:
    text = {"type": "string"}
    columns = schema_columns({"type": "object", "properties": {"Name": text, "name": text}}, "metadata")
    assert [column.name for column in columns] == ["metadata.Name"]


def test_a_schema_that_refers_to_itself_ends() -> None:
    tree = {"type": "object", "properties": {f"n{number}": {"$ref": "#"} for number in range(9)}}
    assert len(schema_columns(tree, "metadata")) == 1_000
    assert schema_columns({"type": "object"}, "metadata") == []
