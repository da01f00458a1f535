"""Search by words: every route that the hosted API answers by meaning finds them, and says that it compared words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.api.asking import Api, client_of
from tests.api.compat.test_search import town
from tests.clock import FakeClock
from tests.sentence_model import sentence_model
from vvwatch.api.compat import search as routes
from vvwatch.api.http.context import ApiContext
from vvwatch.processors.embedding.embedder import Embedder
from vvwatch.store.admin import deletions
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.runs import search_documents
from vvwatch.store.schema import media, run_items, segment_results
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.upkeep.filling import VectorFiller

pytestmark = pytest.mark.anyio

TEXTS = {
    "vid_a": [
        "A red car leaves the harbour.",
        "Rain on the quay",
        "A red boat, red sails & <b>red</b> ropes",
    ],
    "vid_b": ["harbour"],
    "vid_c": ["Red"],
}


def texted(tx: Tx) -> None:
    """The town with texts to be found: its segments get those of their media, in turn."""
    town(tx)
    tx.execute(run_items.update().values(completed_at=tx.now))
    for video, texts in TEXTS.items():
        items = tx.all(run_items.select().where(run_items.c.media_id == video).order_by(run_items.c.id))
        rest = iter(texts)
        for item in items:
            for row in tx.all(segment_results.select().where(segment_results.c.run_item_id == item.id)):
                its = segment_results.c.run_item_id == item.id, segment_results.c.ordinal == row.ordinal
                tx.execute(segment_results.update().where(*its).values(metadata_text=next(rest, "")))
    while search_documents.fill_next(tx):
        pass


@pytest.fixture
async def searched(api: Api, database: Database) -> Api:
    await database.write(texted)
    return api


async def find(api: Api, query: str, **body: Any) -> Any:
    if not body.keys() & {"index_id", "index_name", "video_ids", "prompt_run_ids"}:
        body["prompt_run_ids"] = ["run_1", "run_2", "run_3"]
    return await api.post("/workflow/search", {"query": query, **body}, status=200)


def texts(results: list[dict[str, Any]]) -> list[str]:
    return [result["text_content"] for result in results]


async def test_a_query_finds_words_and_says_so(searched: Api) -> None:
    answer = await find(searched, "red car")
    [result] = answer["data"]
    assert (answer["mode"], answer["search_type"], result["search_type"]) == ("vector", "lexical", "lexical")
    assert answer["warnings"] == [
        "lexical search: words of metadata, titles and transcripts are compared, not their meaning"
    ]
    assert answer["coverage"] == {"examined": 1, "complete": True}
    expected = {
        "text_content": TEXTS["vid_a"][0],
        "content_preview": TEXTS["vid_a"][0],
        "matched_terms": ["red", "car"],
        "rank": 1,
        "similarity_score": None,
        "video_id": "vid_a",
        "run_id": "run_1",
        "start_time": 0.0,
    }
    assert {name: result[name] for name in expected} == expected


async def test_the_best_comes_first_and_pages_join(searched: Api) -> None:
    whole = await find(searched, "red")
    assert texts(whole["data"])[0] in {"Red", TEXTS["vid_a"][2]}
    assert len(whole["data"]) == 3
    page = await find(searched, "red", limit=2)
    assert page["pagination"]["has_more"]
    rest = await searched.get("/workflow/search/page", cursor=page["pagination"]["next_cursor"])
    assert page["data"] + rest["data"] == whole["data"]
    assert rest["pagination"]["next_cursor"] is None
    assert [result["rank"] for result in whole["data"]] == [1, 2, 3]


async def test_only_so_many_results_are_reached(searched: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "WINDOW", 2)
    page = await find(searched, "red", limit=2)
    assert (page["pagination"]["has_more"], page["pagination"]["truncated"]) == (False, True)


async def test_a_sentence_finds_what_has_some_of_its_words(searched: Api) -> None:
    answer = await find(searched, "scenes with rain, please", limit=1)
    assert texts(answer["data"]) == ["Rain on the quay"]
    assert answer["warnings"][1] == "nothing has all the words; these results have some of them"


async def test_a_scope_is_kept(searched: Api, database: Database) -> None:
    assert texts((await find(searched, "red", index_id="idx_2"))["data"]) == ["Red"]
    assert texts((await find(searched, "red", video_ids="vid_a", prompt_run_ids="run_2"))["data"]) == [
        TEXTS["vid_a"][2]
    ]
    await searched.error("POST", "/workflow/search", 404, json={"query": "red", "index_id": "idx_9"})
    whole = await find(searched, "red", index_id="idx_1", result_level="video")
    assert {(each["result_type"], each["video_id"], each["run_id"]) for each in whole["data"]} == {
        ("video", "vid_a", "run_1"),
        ("video", "vid_a", "run_2"),
    }
    await database.write(deletions.delete_video, "vid_c")
    assert (await find(searched, "red", index_id="idx_2"))["data"] == []


async def test_the_other_routes_answer_with_lists(searched: Api) -> None:
    found = await searched.post("/indexes/idx_1/search", {"query": "red", "top_k": 5}, status=200)
    assert {each["video_id"] for each in found} == {"vid_a"}
    found = await searched.post("/indexes/idx_1/search", {"query": "red", "index_ids": ["idx_2"]}, status=200)
    assert texts(found) == ["Red"]
    body = {"query": "red", "run_ids": ["run_3", "run_1"], "top_k": 1, "aggregation": "best"}
    found = await searched.post("/search/multi-run", body, status=200)
    assert [each["run_id"] for each in found] == ["run_3", "run_1"]
    assert await searched.post("/playground/search", {"query": "red"}, status=200) == []
    assert await searched.post("/playground/search?run_id=run_1", {"query": "red"}, status=200) == []


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/workflow/search", {"query": "!?"}, "no words"),
        (
            "/workflow/search",
            {"query": "red", "filters": [{"field": "n", "value": 1}]},
            "either query or filters",
        ),
        ("/indexes/idx_1/search", {"query": "red", "search_fields": ["subject"]}, "search_fields"),
        ("/search/multi-run", {"query": "!?"}, "no words"),
        ("/indexes/idx_1/image-search", {"image_data": "aaaa"}, "needs a model"),
        ("/indexes/idx_1/multimodal-search", {"text_query": "red"}, "needs a model"),
    ],
)
async def test_what_cannot_be_searched_says_why(searched: Api, path: str, body: Any, says: str) -> None:
    error = await searched.error("POST", path, 422, json=body)
    assert says in str(error)


async def test_media_without_a_title_of_their_own_are_found_by_it(searched: Api, database: Database) -> None:
    title = await database.read(lambda tx: tx.all(media.select().where(media.c.id == "vid_b"))[0].title)
    found = await find(searched, title)
    assert {each["video_id"] for each in found["data"]} == {"vid_b"}


async def test_a_body_without_a_scope_searches_the_playground(searched: Api, database: Database) -> None:
    """As n8n's default sends it; MCP's has a level and ids."""
    body = {"query": "red", "result_level": "segment", "limit": 10}
    answer = await searched.post("/workflow/search", body)
    assert (answer["data"], answer["scope"]["index_id"]) == ([], catalog.PLAYGROUND_ID)
    scope = {"video_ids": ["vid_a"], "prompt_run_ids": ["run_1", "run_2"], "index_id": "idx_1"}
    answer = await searched.post("/workflow/search", {**body, **scope})
    assert {each["run_id"] for each in answer["data"]} == {"run_1", "run_2"}
    body = {"query": "red", "top_k": 1, "run_ids": ["run_2"]}
    assert [each["run_id"] for each in await searched.post("/indexes/idx_1/search", body)] == ["run_2"]


async def test_with_a_model_meaning_counts_too(
    searched: Api, context: ApiContext, database: Database, clock: FakeClock
) -> None:
    embedder = Embedder(sentence_model())
    await VectorFiller(database, clock, Telemetry("test"), embedder).run()
    async with client_of(replace(context, embedder=embedder)) as client:
        api = await Api.prepared(client, context)
        answer = await find(api, "wet weather", limit=2)
        first = answer["data"][0]
        assert (answer["mode"], answer["search_type"], first["search_type"]) == ("vector", "hybrid", "hybrid")
        assert (first["text_content"], first["matched_terms"]) == ("Rain on the quay", [])
        assert 0.2 < first["similarity_score"] <= 1
        assert answer["warnings"][0].startswith("hybrid search")
        again = await find(api, "wet weather", limit=4)
        page = await api.get("/workflow/search/page", cursor=answer["pagination"]["next_cursor"])
        shown = [each["result_id"] for each in answer["data"] + page["data"]]
        assert shown == [each["result_id"] for each in again["data"]]
        both = (await find(api, "harbour", prompt_run_ids=["run_1", "run_2", "run_3"]))["data"]
        assert "harbour" in both[0]["text_content"]
        [listed, *_] = await api.post("/indexes/idx_1/search", {"query": "wet weather"}, status=200)
        assert (listed["text_content"], listed["search_type"]) == ("Rain on the quay", "hybrid")


async def test_a_model_that_cannot_be_used_leaves_words(
    searched: Api, context: ApiContext, tmp_path: Path
) -> None:
    async with client_of(replace(context, embedder=Embedder(tmp_path))) as client:
        answer = await find(await Api.prepared(client, context), "harbour")
    assert answer["search_type"] == "lexical"
    assert texts(answer["data"])
    assert "has no model.onnx" in answer["warnings"][1]
