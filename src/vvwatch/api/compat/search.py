"""Search without a model: filter the metadata that prompt runs found, or find words in it (see `lexical`).

Every request examines a bounded part for a bounded time. A page may be short; its cursor continues where the search
stopped, and following the cursors reaches everything once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import anyio
import anyio.to_thread
from fastapi import Query, Request
from pydantic import ValidationError

from vvwatch.api.compat.lexical import LexicalPlace, find_words
from vvwatch.api.compat.search_bodies import FilterBody, SearchBody
from vvwatch.api.compat.search_results import (
    WINDOW,
    Coverage,
    FilterPage,
    SearchPage,
    SearchResult,
    SearchScope,
    WorkflowPagination,
    to_result,
)
from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.pagination import Pagination, decode_cursor, encode_cursor
from vvwatch.api.http.thumbnails import show_thumbnails
from vvwatch.core.conditions import Condition, all_hold
from vvwatch.core.keys import Scope
from vvwatch.core.words import parse_query
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.runs import search_queries, target_queries
from vvwatch.store.runs.search_queries import Level, SearchChunk, SearchHit, SearchPosition

router = resource_router("search")

_MAX_SECONDS: Final = 2.0
_MAX_EXAMINED: Final = 50_000


@dataclass(frozen=True, slots=True)
class _Search:
    """The conditions and the scope of a search."""

    conditions: tuple[Condition, ...]
    level: Level
    scope: search_queries.SearchScope


@dataclass(frozen=True, slots=True)
class _Page:
    """`place` is where the next page begins, None on the last page."""

    results: list[SearchResult]
    place: SearchPosition | None
    examined: int
    full: bool


@router.post("/search/filter/playground", **require(Scope.SEARCH))
async def filter_playground(context: Context, request: Request, body: FilterBody) -> FilterPage:
    """List segments of the playground whose metadata meets all conditions."""
    page = await _filter_page(context, body, body.index_ids or [catalog.PLAYGROUND_ID], body.index_ids)
    return await show_thumbnails(request, page, "results")


@router.post("/search/filter/{index_id}", **require(Scope.SEARCH))
async def filter_index(context: Context, request: Request, index_id: str, body: FilterBody) -> FilterPage:
    """List segments of an index whose metadata meets all conditions, newest run first."""
    page = await _filter_page(context, body, body.index_ids or [index_id], [index_id, *body.index_ids])
    return await show_thumbnails(request, page, "results")


async def _filter_page(
    context: ApiContext, body: FilterBody, index_ids: Sequence[str], named: Sequence[str]
) -> FilterPage:
    scope = search_queries.SearchScope(index_ids=tuple(index_ids), run_ids=tuple(body.run_ids))
    await context.database.read(
        search_queries.require_scope, search_queries.SearchScope(tuple(named), scope.run_ids)
    )
    wanted = _Search(tuple(condition.to_condition() for condition in body.conditions), "segment", scope)
    found = await _fill_page(context, wanted, _to_position(_decode_cursor(body.cursor)), body.page_size)
    cursor = None if found.place is None else _encode_cursor(list(found.place))
    return FilterPage(
        results=found.results,
        next_page_token=cursor,
        total_shown=len(found.results),
        data=found.results,
        pagination=Pagination(limit=body.page_size, has_more=cursor is not None, next_cursor=cursor),
    )


@router.post("/workflow/search", **require(Scope.SEARCH))
async def search_results(context: Context, request: Request, body: SearchBody) -> SearchPage:
    """List what meets all `filters`, newest run first, or what has the words of `query`, the best first.

    Without an index, media or runs it searches the playground, where `/workflow/process` puts media. A query finds
    words, not meaning: metadata, titles and transcripts are searched, and a warning says so.
    """
    if body.filters is None:
        return await show_thumbnails(request, await _query_page(context, body, None))
    return await show_thumbnails(request, await _search_page(context, body, None, 0))


@router.get("/workflow/search/page", **require(Scope.SEARCH))
async def search_results_page(
    context: Context, request: Request, cursor: Annotated[str, Query(min_length=1, max_length=32_768)]
) -> SearchPage:
    """Return the next page of a search."""
    given = _decode_cursor(cursor)
    if not isinstance(given, list) or len(given) != 3 or not isinstance(given[2], int):
        raise _foreign_cursor()
    try:
        body = SearchBody.model_validate(given[0])
    except ValidationError:
        raise _foreign_cursor() from None
    if not 0 <= given[2] < WINDOW:
        raise _foreign_cursor()
    if body.filters is None:
        page = await _query_page(context, body, _to_lexical_place(given[1], given[2]))
    else:
        page = await _search_page(context, body, _to_position(given[1]), given[2])
    return await show_thumbnails(request, page)


async def _search_page(
    context: ApiContext, body: SearchBody, after: SearchPosition | None, before: int
) -> SearchPage:
    """Return the page after `after`; earlier pages showed `before` results."""
    scope = await context.database.read(_find_scope, body)
    conditions = tuple(condition.to_condition() for condition in body.filters or ())
    limit = min(body.limit, WINDOW - before)
    found = await _fill_page(context, _Search(conditions, body.result_level, scope), after, limit)
    count = before + len(found.results)
    goes_on = found.place is not None and count < WINDOW
    asked = body.model_dump(exclude_defaults=True)
    return SearchPage(
        data=found.results,
        mode="condition",
        search_type="condition",
        result_level=body.result_level,
        scope=_to_scope(scope),
        coverage=Coverage(examined=found.examined, complete=found.place is None),
        warnings=[] if found.full or not goes_on else [_NOT_FULL],
        pagination=WorkflowPagination(
            limit=body.limit,
            count=len(found.results),
            has_more=goes_on,
            next_cursor=_encode_cursor([asked, found.place, count]) if goes_on else None,
            truncated=found.place is not None and not goes_on,
        ),
    )


async def _query_page(context: ApiContext, body: SearchBody, place: LexicalPlace | None) -> SearchPage:
    """Return the page of a search by words from `place` on."""
    scope = await context.database.read(_find_scope, body)
    offset, any_word = (place.offset, place.any_word) if place else (0, None)
    part = slice(offset, min(offset + body.limit, WINDOW))
    query = parse_query(body.query or "")
    found = await find_words(context, body.query or "", query, scope, body.result_level, part, any_word)
    goes_on = part.stop < min(found.count, WINDOW)
    asked = body.model_dump(exclude_defaults=True)
    cursor = _encode_cursor([asked, found.any_word, part.stop]) if goes_on else None
    return SearchPage(
        data=found.results,
        mode="vector",
        search_type=found.search_type,
        result_level=body.result_level,
        scope=_to_scope(scope),
        coverage=Coverage(examined=found.count, complete=found.every),
        warnings=found.warnings,
        pagination=WorkflowPagination(
            limit=body.limit,
            count=len(found.results),
            has_more=goes_on,
            next_cursor=cursor,
            truncated=not goes_on and found.count > WINDOW,
        ),
    )


def _to_lexical_place(any_word: Any, offset: int) -> LexicalPlace:
    if not isinstance(any_word, bool):
        raise _foreign_cursor()
    return LexicalPlace(offset, any_word)


def _to_scope(scope: search_queries.SearchScope) -> SearchScope:
    return SearchScope(
        index_id=next(iter(scope.index_ids), None),
        video_ids=list(scope.video_ids) or None,
        prompt_run_ids=list(scope.run_ids) or None,
    )


_PLAYGROUND: Final = search_queries.SearchScope(index_ids=(catalog.PLAYGROUND_ID,))
_NOT_FULL: Final = "the page is short because much was left to examine; the next cursor continues"


def _find_scope(tx: Tx, body: SearchBody) -> search_queries.SearchScope:
    """Return where to search. Raises NotFound."""
    index_id = body.index_id if body.index_name is None else target_queries.find_index_id(tx, body.index_name)
    scope = search_queries.SearchScope(
        () if index_id is None else (index_id,), _unique_ids(body.prompt_run_ids), _unique_ids(body.video_ids)
    )
    search_queries.require_scope(tx, scope)
    return scope if any((scope.index_ids, scope.run_ids, scope.video_ids)) else _PLAYGROUND


def _unique_ids(ids: str | list[str]) -> tuple[str, ...]:
    return (ids,) if isinstance(ids, str) else tuple(dict.fromkeys(ids))


async def _fill_page(context: ApiContext, wanted: _Search, after: SearchPosition | None, limit: int) -> _Page:
    """Return results after `after` until the page is full, nothing is left, or the limits are reached."""
    until = anyio.current_time() + _MAX_SECONDS
    met: list[SearchResult] = []
    places: list[SearchPosition] = []
    place, examined = after, 0
    while True:
        part = await context.database.read(search_queries.read_chunk, wanted.scope, wanted.level, place)
        for found, result in await anyio.to_thread.run_sync(_match_chunk, wanted, part):
            met.append(result)
            places.append(found.place)
        place, examined = part.place, examined + len(part.found)
        if len(met) > limit:
            return _Page(met[:limit], places[limit - 1], examined, full=True)
        if place is None or examined >= _MAX_EXAMINED or anyio.current_time() >= until:
            return _Page(met, place, examined, full=len(met) == limit)


def _match_chunk(wanted: _Search, part: SearchChunk) -> list[tuple[SearchHit, SearchResult]]:
    """Return the matches of a chunk, in a thread: documents may be large."""
    paths = list(dict.fromkeys(condition.field for condition in wanted.conditions))
    documents = ((found, json.loads(found.metadata or "{}")) for found in part.found)
    return [
        (found, to_result(found, document, search_type="condition", matched_field_paths=paths))
        for found, document in documents
        if all_hold(wanted.conditions, document)
    ]


def _encode_cursor(content: list[Any]) -> str:
    return encode_cursor(json.dumps(content, separators=(",", ":")))


def _decode_cursor(cursor: str | None) -> Any:
    """Return the content of a cursor; None for no cursor. Raises ApiError (400)."""
    text = decode_cursor(cursor)
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _foreign_cursor() from None


def _to_position(given: Any) -> SearchPosition | None:
    if given is None:
        return None
    is_place = isinstance(given, list) and [type(part) for part in given] == [str, str, int]
    if not is_place or not -1 <= given[2] <= search_queries.WHOLE or not (given[0] + given[1]).isascii():
        raise _foreign_cursor()
    return SearchPosition(*given)


def _foreign_cursor() -> ApiError:
    return ApiError(400, "invalid_cursor", "the cursor belongs to another list", "start without a cursor")
