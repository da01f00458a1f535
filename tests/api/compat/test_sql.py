"""Read-only SQL: it sees one index and nothing else, and no query takes more than its share."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.asking import Api
from tests.api.compat.test_search import town
from vvwatch.store.admin import deletions
from vvwatch.store.db import sqlite_sandbox
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.runs import sql_tables
from vvwatch.store.schema import prompt_runs

pytestmark = pytest.mark.anyio

SCHEMA = {
    "type": "object",
    "properties": {"subject": {"type": "string"}, "n": {"type": "integer"}, "run_id": {"type": "string"}},
}
ONE = "SELECT 1"
ENDLESS = "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t)"


def schemed(tx: Tx) -> None:
    town(tx)
    prompt = {"name": "x", "json_schema": SCHEMA, "video_level": {"json_schema": SCHEMA}}
    tx.execute(prompt_runs.update().values(prompt=prompt))


@pytest.fixture
async def searched(api: Api, database: Database) -> Api:
    await database.write(schemed)
    return api


async def ask(api: Api, sql: str, index_id: str = "idx_1", **body: Any) -> Any:
    return await api.post(f"/search/sql/{index_id}/execute", {"sql": sql, **body})


async def refused(api: Api, sql: str) -> str:
    error = await api.error("POST", "/search/sql/idx_1/execute", 422, json={"sql": sql})
    return str(error["message"])


async def test_the_catalog_names_what_a_query_can_use(searched: Api) -> None:
    found = await searched.get("/search/sql/idx_1/catalog")
    tables = {
        table["name"]: {each["name"]: each["type"] for each in table["columns"]} for table in found["tables"]
    }
    assert set(tables) == {"runs", "videos", "segments", "video_results"}
    assert {name: tables["segments"][name] for name in ("subject", "n", "field_run_id", "run_id")} == {
        "subject": "TEXT",
        "n": "INTEGER",
        "field_run_id": "TEXT",
        "run_id": "TEXT",
    }
    for name, columns in tables.items():
        names = ", ".join(f'"{column}"' for column in columns)
        assert (await ask(searched, f"SELECT {names} FROM {name} LIMIT 1"))["columns"] == list(columns)
    await searched.error("GET", "/search/sql/idx_9/catalog", 404)


async def test_a_query_sees_the_results_of_its_index(searched: Api, database: Database) -> None:
    query = "SELECT title, n, subject FROM segments JOIN videos USING (video_id) ORDER BY n"
    answer = await ask(searched, query)
    assert answer["rows"] == [
        ["vid_a.mp4", 0, "a red car"],
        ["vid_a.mp4", 1, "rain"],
        ["vid_a.mp4", 2, "Red"],
        ["vid_b.mp4", 3, None],
        ["vid_b.mp4", 4, None],
    ]
    assert answer["results"][0] == {"title": "vid_a.mp4", "n": 0, "subject": "a red car"}
    assert (answer["row_count"], answer["truncated"]) == (5, False)
    assert (await ask(searched, query, limit=2))["truncated"]
    names = await ask(searched, "SELECT run_id, prompt_name, status FROM runs ORDER BY 1")
    assert names["rows"] == [["run_1", "x", "completed"], ["run_2", "x", "completed"]]
    await database.write(deletions.delete_video, "vid_a")
    assert (await ask(searched, query))["row_count"] == 2
    assert (await ask(searched, "SELECT count(*) FROM video_results", index_id="idx_2"))["rows"] == [[1]]


async def test_the_language_is_whole(searched: Api) -> None:
    query = """WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 3)
        SELECT sum(x), (SELECT count(*) FROM segments WHERE subject LIKE '%red%'),
        json_extract('{"a": [7]}', '$.a[0]'), (SELECT count(*) FROM json_each('[1,2]')) FROM t"""
    assert (await ask(searched, query))["rows"] == [[6, 2, 7, 2]]


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM segments",
        "INSERT INTO runs (run_id) VALUES ('x')",
        "CREATE TABLE x (y)",
        "ATTACH DATABASE '/etc/passwd' AS x",
        "PRAGMA database_list",
        "VACUUM INTO '/tmp/x'",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM pragma_database_list",
        "SELECT count(*) FROM pragma_database_list",
        "SELECT count(*) FROM sqlite_master",
        "SELECT load_extension('x')",
        "SELECT readfile('/etc/passwd')",
        "SELECT randomblob(1000000000)",
        "SELECT printf('%1000000000d', 1)",
        "SELECT api_key FROM api_keys",
        "SELECT 1; SELECT 2",
        "SELECT ?",
        "SELECT",
        "BEGIN",
        "EXPLAIN SELECT * FROM sqlite_master",
        f"SELECT {'(' * 500}1{')' * 500}",
        " UNION ".join([ONE] * 30),
    ],
)
async def test_nothing_but_a_selection_is_done(searched: Api, sql: str) -> None:
    assert "cannot be answered" in await refused(searched, sql)


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    "sql",
    [
        f"{ENDLESS} SELECT count(*) FROM t",
        f"{ENDLESS} SELECT x FROM t WHERE 'aaaa' || x LIKE '{'%a' * 200}'",
        f"{ENDLESS} SELECT replace('aaaaaaaaaa', 'a', 'bbbbbbbbbbbbbbbbbbbb') || x AS y FROM t ORDER BY y DESC",
    ],
    ids=["endless", "endless filter", "endless sort"],
)
async def test_no_query_takes_more_than_its_share(
    searched: Api, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.api.compat.sql._SECONDS", 20.0)
    found = await refused(searched, sql)
    assert "too much time or memory" in found or "memory" in found


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_an_index_that_is_too_large_is_refused(searched: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_tables, "MOST_SEGMENTS", 3)
    assert "more than 3 segments" in await refused(searched, ONE)


def test_a_large_answer_is_cut() -> None:
    found = sqlite_sandbox.answer(
        "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t LIMIT 100) SELECT v FROM big, t",
        {"big": {"columns": [["v", "TEXT"]], "rows": [["x" * 100_000]]}},
        1_000,
    )
    assert found["truncated"]
    assert len(found["rows"]) == 10
