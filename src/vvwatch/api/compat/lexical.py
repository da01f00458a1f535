"""Search by words, and with a sentence model also by meaning; each answer says what was done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import anyio.to_thread
from fastapi import Query as QueryParameter
from fastapi import Request
from pydantic import Field

from vvwatch.api.compat.search_bodies import Id, Ids
from vvwatch.api.compat.search_results import WINDOW, SearchResult, SearchType, to_result
from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.thumbnails import with_thumbnails
from vvwatch.api.http.wire import Body
from vvwatch.core.fusion import fuse_orders
from vvwatch.core.keys import Scope
from vvwatch.core.words import MOST_PHRASES, Query, make_snippet, parse_query
from vvwatch.errors import ProcessorPaused
from vvwatch.store.catalog import catalog
from vvwatch.store.runs import lexical_queries, search_documents, search_queries, search_vectors
from vvwatch.store.runs.search_queries import Level, SearchHit, SearchScope
from vvwatch.store.runs.search_vectors import Near

router = resource_router("search")

_LEXICAL: Final = "lexical search: words of metadata, titles and transcripts are compared, not their meaning"
_HYBRID: Final = (
    "hybrid search: words are compared, and meaning by a sentence model; the nearest may still mean something else, "
    "see similarity_score"
)
_SOME_WORDS: Final = "nothing has all the words; these results have some of them"
_NEWEST: Final = f"more than {lexical_queries.MOST_RANKED:,} match: only the newest of them were ranked"
_NEAREST: Final = f"only the newest {search_vectors.MOST_COMPARED:,} texts were compared by meaning"
_CUT: Final = f"only the first {MOST_PHRASES} words of the query count"


@dataclass(frozen=True, slots=True)
class LexicalPlace:
    """Where a page begins; `any_word`: in results that need not have all words."""

    offset: int
    any_word: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A part of the results; `count` of all that were ranked, `every`: these are all that match."""

    results: list[SearchResult]
    count: int
    every: bool
    any_word: bool
    warnings: list[str]
    search_type: SearchType


async def find_words(
    context: ApiContext,
    text: str,
    query: Query,
    scope: SearchScope,
    level: Level,
    part: slice,
    any_word: bool | None = None,
) -> Found:
    """Return the `part` of what has all words of the query; if nothing has, of what has some.

    `any_word` decides that beforehand. Raises InvalidInput for a search that takes too long.
    """
    find, trouble = context.database.read, ""
    try:
        near = await _find_near(context, text, scope, level)
    except ProcessorPaused as error:
        near, trouble = None, f"not compared by meaning: {error.message}"
    ranked = await find(lexical_queries.rank_places, query, scope, level, any_word=bool(any_word))
    if any_word is None and not ranked.places and len(query.phrases) > 1:
        any_word = True
        ranked = await find(lexical_queries.rank_places, query, scope, level, any_word=True)
    places = list(ranked.places)
    if near is not None:
        places = fuse_orders([places[:WINDOW], list(near.similarities)])
    hits = await find(search_queries.read_hits, places[part])
    texts = await find(search_documents.read_texts, [hit.key for hit in hits])
    results = await anyio.to_thread.run_sync(_to_results, query, hits, texts, part.start, near)
    warned = (
        (near is None, _LEXICAL),
        (near is not None, _HYBRID),
        (trouble, trouble),
        (any_word and ranked.places, _SOME_WORDS),
        (not ranked.every, _NEWEST),
        (near is not None and not near.every, _NEAREST),
        (query.cut, _CUT),
    )
    warnings = [said for applies, said in warned if applies]
    every = ranked.every and near is None
    return Found(results, len(places), every, bool(any_word), warnings, _to_type(near))


async def _find_near(context: ApiContext, text: str, scope: SearchScope, level: Level) -> Near | None:
    """Return what is near in meaning, None without a model. Raises ProcessorPaused and InvalidInput."""
    embedder = context.embedder
    if embedder is None:
        return None
    model, vector = await embedder.embed(text)
    return await context.database.read(
        search_vectors.find_near, model, vector, embedder.compare, scope, level, WINDOW
    )


def _to_type(near: Near | None) -> SearchType:
    return "lexical" if near is None else "hybrid"


def _to_results(
    query: Query,
    hits: Sequence[SearchHit],
    texts: dict[tuple[int, int], list[str]],
    before: int,
    near: Near | None,
) -> list[SearchResult]:
    """Return the results, in a thread: documents and texts may be large."""
    results = []
    for number, hit in enumerate(hits, before + 1):
        snippet = make_snippet(texts.get(hit.key, []), query)
        found: dict[str, Any] = {"content_preview": snippet.text, "matched_terms": list(snippet.matched)}
        found["similarity_score"] = None if near is None else near.similarities.get(hit.key)
        document = json.loads(hit.metadata or "{}")
        results.append(to_result(hit, document, search_type=_to_type(near), rank=number, **found))
    return results


class TextSearchBody(Body):
    """A search of segments by words. `index_ids` replaces the index in the path."""

    query: Annotated[str, Field(min_length=1, max_length=5000)]
    top_k: Annotated[int, Field(ge=1, le=WINDOW)] = 30
    search_fields: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)
    run_ids: Ids = Field(default_factory=list)
    index_ids: Ids = Field(default_factory=list)


class MultiRunBody(Body):
    """A search of several runs; `top_k` results of each. Without runs, one search of the index."""

    query: Annotated[str, Field(min_length=1, max_length=5000)]
    run_ids: Annotated[list[Id], Field(max_length=20)] = Field(default_factory=list)
    index_id: Id | None = None
    aggregation: Literal["best", "all", "weighted"] = "best"
    top_k: Annotated[int, Field(ge=1, le=50)] = 5


class PlaygroundBody(Body):
    """A search of the playground by words."""

    query: Annotated[str, Field(min_length=1, max_length=5000)]
    top_k: Annotated[int, Field(ge=1, le=WINDOW)] = 30


@router.post("/indexes/{index_id}/search", **require(Scope.SEARCH))
async def search_index(request: Request, index_id: str, body: TextSearchBody) -> list[SearchResult]:
    """List segments of an index that fit the query, the best first: by words, with a sentence model also by meaning."""
    if body.search_fields:
        raise ApiError(
            422,
            "validation_error",
            "search_fields cannot restrict a search by words",
            "leave it out; POST /api/v2/search/filter/{index_id} compares single fields",
        )
    return await _search(
        request, body.query, SearchScope(tuple(body.index_ids or [index_id]), tuple(body.run_ids)), body.top_k
    )


@router.post("/playground/search", **require(Scope.SEARCH, errors=("resource_prompt_run_not_found",)))
async def search_playground(
    request: Request,
    body: PlaygroundBody,
    run_id: Annotated[str | None, QueryParameter(max_length=200)] = None,
) -> list[SearchResult]:
    """List segments of the playground with the words of the query, the best first."""
    scope = SearchScope((catalog.PLAYGROUND_ID,), (run_id,) if run_id else ())
    return await _search(request, body.query, scope, body.top_k)


@router.post("/search/multi-run", **require(Scope.SEARCH))
async def search_runs(request: Request, body: MultiRunBody) -> list[SearchResult]:
    """List segments with the words of the query: the best of each run, in the order of the runs given.

    Every segment belongs to one run, so all values of `aggregation` give the same.
    """
    if not body.run_ids:
        index_id = body.index_id or catalog.PLAYGROUND_ID
        return await _search(request, body.query, SearchScope((index_id,)), body.top_k)
    found: list[SearchResult] = []
    for run_id in dict.fromkeys(body.run_ids):
        scope = SearchScope((body.index_id,) if body.index_id else (), (run_id,))
        found += await _search(request, body.query, scope, body.top_k)
    return found


async def _search(request: Request, text: str, scope: SearchScope, top_k: int) -> list[SearchResult]:
    context: ApiContext = request.app.state.context
    query = parse_query(text)
    named = SearchScope(
        tuple(each for each in scope.index_ids if each != catalog.PLAYGROUND_ID), scope.run_ids
    )
    await context.database.read(search_queries.require_scope, named)
    found = await find_words(context, text, query, scope, "segment", slice(0, top_k))
    return await with_thumbnails(request, found.results)
