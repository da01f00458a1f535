"""Responses of searches."""

from __future__ import annotations

from typing import Any, Final, Literal

from vvwatch.api.http.pagination import Pagination
from vvwatch.api.http.wire import Marker, Resource
from vvwatch.core.identities import segment_id
from vvwatch.store.runs.search_queries import Level, SearchHit

WINDOW: Final = 100
"""How many results the pages of one search show at most."""

_PREVIEW_CHARACTERS: Final = 200

SearchType = Literal["lexical", "hybrid", "condition"]
"""By words, by words and meaning (where a model is configured), or by conditions on metadata."""


class SearchResult(Resource):
    """A segment or a whole media item.

    A search by words gives it a `rank` from 1, and has no `similarity_score`: how well words match says nothing about
    meaning. A hybrid one gives it to those that are near in meaning, from -1 to 1. `content_preview` is the part with
    the first of the `matched_terms`.
    """

    result_type: Level
    result_id: str
    video_id: str
    video_uri: str
    video_name: str
    media_type: str
    segment_id: str | None
    start_time: float | None
    end_time: float | None
    text_content: str
    content_preview: str
    metadata_text: str
    metadata: dict[str, Any]
    extracted_metadata: dict[str, Any]
    matched_field_paths: list[str]
    run_id: str
    source_run_id: str
    prompt_run_id: str
    prompt_id: str
    source_index_id: str
    similarity_score: float | None = None
    search_type: SearchType
    rank: int | None = None
    matched_terms: list[str] | None = None
    thumbnail_available: bool = False
    thumbnail_uri: str | None = None
    gif_available: bool = False
    marker: Marker = Marker()


class FilterPage(Resource):
    """A page of results, in both shapes that clients know."""

    results: list[SearchResult]
    next_page_token: str | None
    total_shown: int
    data: list[SearchResult]
    pagination: Pagination


class WorkflowPagination(Resource):
    """`truncated`: there are more results than `result_window`, and no cursor reaches them."""

    limit: int
    count: int
    has_more: bool
    next_cursor: str | None
    result_window: int = WINDOW
    truncated: bool


class SearchScope(Resource):
    """Where the search looked; null means everywhere."""

    index_id: str | None
    video_ids: list[str] | None
    prompt_run_ids: list[str] | None


class Coverage(Resource):
    """How much this page examined, and whether that was all that was left."""

    examined: int
    complete: bool


class SearchPage(Resource):
    """A page of results. `mode` has the words of the hosted API; `search_type` says what was done here."""

    data: list[SearchResult]
    mode: Literal["vector", "condition"]
    search_type: SearchType
    result_level: Level
    scope: SearchScope
    coverage: Coverage
    warnings: list[str]
    pagination: WorkflowPagination


def to_result(found: SearchHit, document: dict[str, Any], **fields: Any) -> SearchResult:
    """Return what was found, with its parsed `document`; `fields` say how it was found."""
    item, segment = found.item, found.segment
    text = item.video_metadata_text if segment is None else segment.metadata_text
    named = None if segment is None else segment_id(item.id, segment.ordinal)
    level: Level = "video" if segment is None else "segment"
    values: dict[str, Any] = {
        "content_preview": text[:_PREVIEW_CHARACTERS],
        "matched_field_paths": [],
        **fields,
    }
    return SearchResult(
        result_type=level,
        result_id=f"video:{item.media_id}:{item.run_id}"
        if named is None
        else f"segment:{named}:{item.run_id}",
        video_id=item.media_id,
        video_uri=item.uri,
        video_name=item.title,
        media_type=item.media_type,
        segment_id=named,
        start_time=None if segment is None else segment.start_time,
        end_time=None if segment is None else segment.end_time,
        text_content=text,
        metadata_text=text,
        metadata=document,
        extracted_metadata=document,
        run_id=item.run_id,
        source_run_id=item.run_id,
        prompt_run_id=item.run_id,
        prompt_id=item.prompt_id,
        source_index_id=item.index_id,
        **values,
    )
