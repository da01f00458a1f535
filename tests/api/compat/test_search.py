"""Search by conditions: what is found, in which order, and that a page is never more than a bounded look."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.asking import Api
from vvwatch.api.compat import search as routes
from vvwatch.api.http.pagination import encode_cursor
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.runs import search_queries
from vvwatch.store.schema import indexes, media, prompt_runs, run_items, segment_results

pytestmark = pytest.mark.anyio

RED = {"field": "subject", "operator": "contains", "type": "string", "value": "RED"}
EVERY = {"field": "n", "operator": "greater_equal", "type": "integer", "value": 0}
NONE = {"field": "n", "operator": "less_than", "type": "integer", "value": 0}


def index(tx: Tx, index_id: str) -> None:
    tx.insert(indexes, id=index_id, name=f"name of {index_id}", created_at=tx.now)


def video(tx: Tx, video_id: str, index_id: str) -> None:
    title = {"title": f"{video_id}.mp4", "uri": f"file:///{video_id}", "media_type": "video"}
    tx.insert(media, id=video_id, index_id=index_id, **title)


def run(tx: Tx, run_id: str, index_id: str | None, found: dict[str, list[dict[str, Any]]]) -> None:
    """A run that found these documents in the segments of these media."""
    tx.insert(
        prompt_runs,
        id=run_id,
        index_id=index_id,
        prompt_id="prompt_technical",
        prompt={"name": "x", "video_level": None},
        settings={},
        status="completed",
        total_items=len(found),
        created_at=tx.now,
    )
    for video_id, documents in found.items():
        whole = {"video_metadata": {"n": len(documents)}, "video_metadata_text": "whole"}
        its = {"segment_count": len(documents), "status": "completed", **whole}
        tx.insert(run_items, run_id=run_id, media_id=video_id, **its)
        item_id = tx.execute(run_items.select().order_by(run_items.c.id.desc()).limit(1)).one().id
        for ordinal, document in enumerate(documents):
            told = {"metadata": document, "metadata_text": f"text {ordinal}", "error": document.get("error")}
            times = {"start_time": 10.0 * ordinal, "end_time": 10.0 * ordinal + 10}
            tx.insert(segment_results, run_item_id=item_id, ordinal=ordinal, **times, **told)


def town(tx: Tx) -> None:
    for index_id in ("idx_1", "idx_2"):
        index(tx, index_id)
    video(tx, "vid_a", "idx_1")
    video(tx, "vid_b", "idx_1")
    video(tx, "vid_c", "idx_2")
    run(tx, "run_1", "idx_1", {"vid_a": [{"n": 0, "subject": "a red car"}, {"n": 1, "subject": "rain"}]})
    run(
        tx,
        "run_2",
        "idx_1",
        {"vid_a": [{"n": 2, "subject": "Red"}], "vid_b": [{"n": 3}, {"n": 9, "error": "no"}]},
    )
    run(tx, "run_3", None, {"vid_b": [{"n": 4}], "vid_c": [{"n": 5, "subject": "red"}]})


@pytest.fixture
async def searched(api: Api, database: Database) -> Api:
    await database.write(town)
    return api


def numbers(answer: dict[str, Any]) -> list[int]:
    return [result["metadata"]["n"] for result in answer["data"]]


async def find(api: Api, *filters: dict[str, Any], status: int = 200, **body: Any) -> Any:
    """The answer to a search; over all three runs unless `body` says where."""
    if not body.keys() & {"index_id", "index_name", "video_ids", "prompt_run_ids"}:
        body["prompt_run_ids"] = ["run_1", "run_2", "run_3"]
    return await api.post("/workflow/search", {"filters": filters, **body}, status=status)


async def test_what_meets_all_conditions_is_found_newest_run_first(searched: Api) -> None:
    assert numbers(await find(searched, EVERY)) == [5, 4, 3, 2, 0, 1]
    assert numbers(await find(searched, EVERY, RED)) == [5, 2, 0]
    assert numbers(await find(searched, NONE)) == []


async def test_a_result_tells_where_it_was_found(searched: Api) -> None:
    answer = await find(searched, RED, index_id="idx_1", limit=1)
    [result] = answer["data"]
    told = {
        "result_type": "segment",
        "video_id": "vid_a",
        "video_name": "vid_a.mp4",
        "start_time": 0.0,
        "end_time": 10.0,
        "run_id": "run_2",
        "prompt_id": "prompt_technical",
        "source_index_id": "idx_1",
        "text_content": "text 0",
        "extracted_metadata": {"n": 2, "subject": "Red"},
        "matched_field_paths": ["subject"],
    }
    assert {name: result[name] for name in told} == told
    assert result["result_id"] == f"segment:{result['segment_id']}:run_2"
    assert answer["mode"] == "condition"
    assert answer["scope"] == {"index_id": "idx_1", "video_ids": None, "prompt_run_ids": None}


async def test_media_as_a_whole_are_searched_too(searched: Api) -> None:
    two = {"field": "n", "operator": "equals", "type": "number", "value": 2}
    answer = await find(searched, two, result_level="video")
    assert [(each["result_id"], each["segment_id"]) for each in answer["data"]] == [
        ("video:vid_b:run_2", None),
        ("video:vid_a:run_1", None),
    ]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"index_id": "idx_1"}, [4, 3, 2, 0, 1]),
        ({"index_name": "name of idx_2"}, [5]),
        ({"video_ids": "vid_a"}, [2, 0, 1]),
        ({"video_ids": ["vid_b", "vid_c"]}, [5, 4, 3]),
        ({"prompt_run_ids": ["run_1", "run_3"]}, [5, 4, 0, 1]),
        ({"prompt_run_ids": "run_2", "video_ids": "vid_b", "index_id": "idx_1"}, [3]),
    ],
    ids=str,
)
async def test_a_search_keeps_to_where_it_is_told_to(
    searched: Api, where: dict[str, Any], found: list[int]
) -> None:
    assert numbers(await find(searched, EVERY, **where)) == found


async def pages(api: Api, first: dict[str, Any]) -> list[dict[str, Any]]:
    """All pages of a search, as a client follows them."""
    found = [first]
    while found[-1]["pagination"]["has_more"]:
        found.append(await api.get("/workflow/search/page", cursor=found[-1]["pagination"]["next_cursor"]))
    return found


@pytest.mark.parametrize("limit", [1, 2, 4, 6])
@pytest.mark.parametrize("where", [{}, {"video_ids": ["vid_a", "vid_b", "vid_c"]}], ids=["runs", "media"])
async def test_pages_come_past_everything_once_whatever_arrives_meanwhile(
    searched: Api, database: Database, limit: int, where: dict[str, Any]
) -> None:
    first = await find(searched, EVERY, limit=limit, **where)
    await database.write(run, "run_4", "idx_1", {"vid_a": [{"n": 77}]})
    found = await pages(searched, first)
    assert [number for answer in found for number in numbers(answer)] == [5, 4, 3, 2, 0, 1]
    assert [answer["pagination"]["count"] for answer in found[:-1]] == [limit] * (len(found) - 1)
    assert found[-1]["coverage"]["complete"]


async def test_a_search_that_was_long_enough_says_so_and_goes_on(
    searched: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_MAX_SECONDS", 0.0)
    monkeypatch.setattr(search_queries, "_ITEMS_AT_ONCE", 1)
    monkeypatch.setattr(search_queries, "_SEGMENTS_AT_ONCE", 1)
    found = await pages(searched, await find(searched, RED))
    assert [number for answer in found for number in numbers(answer)] == [5, 2, 0]
    assert len(found) > 3
    assert all(answer["warnings"] for answer in found[:-1])
    assert not any(answer["pagination"]["truncated"] for answer in found)


async def test_only_so_many_results_are_reached_by_cursors(
    searched: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "WINDOW", 4)
    found = await pages(searched, await find(searched, EVERY, limit=3))
    assert [numbers(answer) for answer in found] == [[5, 4, 3], [2]]
    assert [answer["pagination"]["truncated"] for answer in found] == [False, True]


@pytest.mark.parametrize("at_once", [1, 2, 3])
@pytest.mark.parametrize("level", ["segment", "video"])
async def test_however_little_is_read_at_once_all_of_it_is(
    searched: Api, monkeypatch: pytest.MonkeyPatch, at_once: int, level: str
) -> None:
    for name in ("_RUNS_AT_ONCE", "_ITEMS_AT_ONCE", "_WHOLE_AT_ONCE", "_SEGMENTS_AT_ONCE"):
        monkeypatch.setattr(search_queries, name, at_once)
    found = numbers(await find(searched, EVERY, result_level=level, limit=50))
    assert found == ([5, 4, 3, 2, 0, 1] if level == "segment" else [1, 1, 2, 1, 2])


async def test_runs_without_results_are_passed_by(
    searched: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.write(run, "run_5", "idx_1", {"vid_a": [], "vid_b": []})
    await database.write(run, "run_6", "idx_1", {})
    for name in ("_RUNS_AT_ONCE", "_ITEMS_AT_ONCE"):
        monkeypatch.setattr(search_queries, name, 1)
    runs = ["run_1", "run_2", "run_3", "run_5", "run_6"]
    assert numbers(await find(searched, EVERY, prompt_run_ids=runs)) == [5, 4, 3, 2, 0, 1]


async def test_what_was_deleted_is_not_found(searched: Api) -> None:
    await searched.ask("DELETE", "/videos/vid_a", status=202)
    assert numbers(await find(searched, EVERY)) == [5, 4, 3]
    await searched.error("POST", "/workflow/search", 404, json={"filters": [EVERY], "video_ids": "vid_a"})


@pytest.mark.parametrize(
    "where",
    [
        {"index_id": "idx_9"},
        {"index_name": "nobody's"},
        {"video_ids": "vid_9"},
        {"prompt_run_ids": ["run_9"]},
    ],
    ids=str,
)
async def test_what_is_not_there_is_said(searched: Api, where: dict[str, Any]) -> None:
    await searched.error("POST", "/workflow/search", 404, json={"filters": [EVERY], **where})


async def test_without_a_scope_the_playground_is_searched(searched: Api, database: Database) -> None:
    """Its clients mean the playground, where `/workflow/process` puts media that name no index."""

    def play(tx: Tx) -> None:
        index(tx, catalog.PLAYGROUND_ID)
        video(tx, "vid_p", catalog.PLAYGROUND_ID)
        run(tx, "run_p", None, {"vid_p": [{"n": 8}]})

    asked = {"filters": [EVERY]}
    nothing = await searched.post("/workflow/search", asked)
    assert (nothing["data"], nothing["scope"]["index_id"]) == ([], catalog.PLAYGROUND_ID)
    await database.write(play)
    assert numbers(await searched.post("/workflow/search", asked)) == [8]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"field": "subject", "value": "red"}, [5, 2]),  # as the SDK's own test
        ({"field": "subject", "operator": "equals", "value": "RED"}, [5, 2]),  # as MCP 2.1
        ({"field": "subject", "operator": "contains", "value": "red"}, [5, 2, 0]),  # as the n8n node
        ({"field": "n", "value": 3}, [3]),
        ({"field": "n", "operator": "greater_than", "value": "3"}, [5, 4]),
        ({"field": "subject", "operator": "is_empty"}, [4, 3]),
    ],
    ids=str,
)
async def test_a_condition_needs_neither_a_type_nor_an_operator(
    searched: Api, asked: dict[str, Any], found: list[int]
) -> None:
    """`/search/filter`, which other clients use, keeps its type."""
    assert numbers(await find(searched, asked)) == found
    status = 422 if "type" not in asked else 200
    await searched.error("POST", "/search/filter/idx_1", status, json={"conditions": [asked]})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"filters": [{**RED, "operator": "greater_than"}]}, "starts_with"),
        ({"filters": [{**EVERY, "value": "1"}]}, "whole number"),
        ({"filters": [{**RED, "operator": "is_empty"}]}, "leave the value out"),
        ({"filters": [{**RED, "value": "x" * 1001}]}, "too long"),
        ({"filters": [{**RED, "type": "object"}]}, "array"),
        ({"filters": [EVERY] * 5}, "4 or fewer"),
        ({"filters": []}, "1 or more"),
        ({"filters": [EVERY], "query": "red"}, "either query or filters"),
        ({}, "either query or filters"),
        ({"filters": [EVERY], "index_id": "a", "index_name": "b"}, "either index_id"),
        ({"filters": [EVERY], "limit": 51}, "50"),
        ({"filters": [{**EVERY, "case": True}]}, "case"),
    ],
    ids=str,
)
async def test_what_cannot_be_asked_is_refused_with_what_can(searched: Api, body: Any, told: str) -> None:
    error = await searched.error("POST", "/workflow/search", 422, json=body)
    assert told in str(error)


async def test_a_foreign_cursor_is_refused(searched: Api) -> None:
    bodies = ["x", "[]", "{}", "[1,2,3]", '[{"query":"x"},null,0]', '[{"filters":[]},null,0]', "[" * 5000]
    cursors = [encode_cursor(body) for body in bodies] + [
        routes._encode_cursor([{"filters": [EVERY]}, place, count])
        for place, count in (
            (["run"], 0),
            (["a", "b", "c"], 0),
            (None, 100),
            (None, -1),
            (["a", "b", 2**60], 0),
            (["\ud800", "b", 0], 0),
            (["a", "\ud800", 0], 0),
        )
    ]
    for cursor in ["???", *cursors]:
        error = await searched.error("GET", "/workflow/search/page", 400, params={"cursor": cursor})
        assert error["code"] == "invalid_cursor"
    body = {"conditions": [EVERY], "cursor": encode_cursor("[1]")}
    assert (await searched.error("POST", "/search/filter/idx_1", 400, json=body))["code"] == "invalid_cursor"


@pytest.mark.parametrize("page_size", [1, 2, 100])
async def test_the_segments_of_an_index_are_filtered_page_by_page(searched: Api, page_size: int) -> None:
    body: dict[str, Any] = {"conditions": [EVERY], "page_size": page_size}
    found: list[int] = []
    while True:
        answer = await searched.post("/search/filter/idx_1", body)
        assert answer["results"] == answer["data"]
        assert answer["total_shown"] == len(answer["data"])
        assert answer["pagination"]["next_cursor"] == answer["next_page_token"]
        found += numbers(answer)
        if answer["next_page_token"] is None:
            break
        body["cursor"] = answer["next_page_token"]
    assert found == [4, 3, 2, 0, 1]


async def test_other_indexes_take_the_place_of_the_one_in_the_path(searched: Api) -> None:
    answer = await searched.post("/search/filter/idx_1", {"conditions": [EVERY], "index_ids": ["idx_2"]})
    assert numbers(answer) == [5]
    answer = await searched.post("/search/filter/idx_1", {"conditions": [EVERY], "run_ids": ["run_1"]})
    assert numbers(answer) == [0, 1]


async def test_the_playground_is_searched_even_before_it_is_made(searched: Api, database: Database) -> None:
    assert (await searched.post("/search/filter/playground", {"conditions": [EVERY]}))["data"] == []

    def play(tx: Tx) -> None:
        video(tx, "vid_p", catalog.ensure_playground(tx).id)
        run(tx, "run_p", catalog.PLAYGROUND_ID, {"vid_p": [{"n": 6}]})

    await database.write(play)
    assert numbers(await searched.post("/search/filter/playground", {"conditions": [EVERY]})) == [6]
