"""Media: a list or a search, and one item with its player, segments, transcript, facts and history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import anyio
from fastapi import Query, Response

from vvwatch.api.compat.lexical import find_words
from vvwatch.api.compat.search_results import SearchResult
from vvwatch.api.http.pagination import decode_cursor
from vvwatch.api.http.thumbnails import find_shown, is_here
from vvwatch.api.pages.access import Page, PageRequest, page_router
from vvwatch.api.pages.actions import ActionForm
from vvwatch.api.pages.foreign import flatten
from vvwatch.api.pages.lists import LISTED, After, Listing, Tab, to_listing, to_query
from vvwatch.api.pages.media_files import find_transcript
from vvwatch.api.pages.runs import RETRY_SEGMENT
from vvwatch.api.routes import segments as segment_routes
from vvwatch.api.routes.explain import Explanation, explain_object
from vvwatch.api.routes.segments import Segment
from vvwatch.core.content_types import content_type
from vvwatch.core.pictures import PicturePack
from vvwatch.core.transcripts import Cue, Transcript
from vvwatch.core.words import parse_query
from vvwatch.errors import VvwatchError
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import media_queries
from vvwatch.store.imports.media_queries import MediaView
from vvwatch.store.models.imports import Media
from vvwatch.store.runs import picture_queries
from vvwatch.store.runs.pictures import load_packs
from vvwatch.store.runs.search_queries import SearchScope

router = page_router()

_EXPLAIN_SECONDS: Final = 3.0
_RUNS_WITH_POSTERS: Final = 3
_MOST_CUES: Final = 200
_MOST_IMAGE_BYTES: Final = 20 << 20
_PLAYED: Final = ("video/mp4", "video/webm", "video/ogg", "video/quicktime", "audio/")
_SHOWN: Final = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif", "image/avif"})


@dataclass(frozen=True, slots=True)
class Hit:
    """A segment that fits a search, and the URL of its picture; empty without one."""

    found: SearchResult
    thumbnail: str


@dataclass(frozen=True, slots=True)
class Pictured:
    """A media item, and the URL of its poster; empty without one."""

    media: Media
    poster: str


@dataclass(frozen=True, slots=True)
class MediaList:
    """The newest media, or what fits the `query`."""

    query: str
    media: Listing[Pictured] | None
    hits: Sequence[Hit]
    count: int
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A segment, what was found in it, and the URL of its picture; empty without one."""

    segment: Segment
    values: Sequence[tuple[str, str]]
    thumbnail: str
    retry: ActionForm | None


@dataclass(frozen=True, slots=True)
class Player:
    """How a browser plays the original: `tag` is video, audio, img or empty. Empty URLs: there is none."""

    tag: str
    content: str
    content_type: str
    poster: str
    storyboard: str
    captions: str
    language: str


@dataclass(frozen=True, slots=True)
class MediaPage:
    """A media item. `explanation` is None where it is not asked for, or did not come in time."""

    media: Media
    runs: Sequence[Tab]
    run_id: str
    player: Player
    segments: Listing[SegmentRow]
    transcript: Transcript | None
    cues: Sequence[Cue]
    probe: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    explanation: Explanation | None


@router.get("/media")
async def show_media_list(
    page: Page, q: Annotated[str, Query(max_length=5000)] = "", cursor: After = None
) -> Response:
    """List media, newest first, or search their segments by words, and by meaning where a model is configured."""
    view = await _search(page, q) if q.strip() else await _list_newest(page, cursor)
    return await page.render("media_list.html", view, "Media")


async def _list_newest(page: PageRequest, cursor: str | None) -> MediaList:
    views, packs = await page.context.database.read(_read_newest, decode_cursor(cursor))
    rows = [_to_pictured(page, view, packs) for view in views]
    return MediaList("", to_listing(rows, lambda row: row.media.id, cursor), (), 0, ())


def _read_newest(tx: Tx, before: str | None) -> tuple[Sequence[MediaView], Mapping[int, PicturePack]]:
    """Return media, and the pictures that their last runs made, by item."""
    views = media_queries.list_all(tx, before, LISTED + 1)
    return views, load_packs(tx, [item.id for view in views for item in view.items[:_RUNS_WITH_POSTERS]])


def _to_pictured(page: PageRequest, view: MediaView, packs: Mapping[int, PicturePack]) -> Pictured:
    known = (packs[item.id] for item in view.items[:_RUNS_WITH_POSTERS] if item.id in packs)
    here = next((pack for pack in known if is_here(page.context, pack)), None)
    has_poster = here is not None and here.contents.find_poster() is not None
    return Pictured(view.row, f"/media/{view.row.id}/poster.jpg" if has_poster else "")


async def _search(page: PageRequest, text: str) -> MediaList:
    part = slice(0, LISTED)
    found = await find_words(page.context, text, parse_query(text), SearchScope(), "segment", part)
    shown = await find_shown(page.context, [each.segment_id or "" for each in found.results])
    hits = [Hit(each, _thumbnail(each.segment_id or "", shown)) for each in found.results]
    return MediaList(text, None, hits, found.count, found.warnings)


def _thumbnail(segment_id: str, shown: Sequence[str]) -> str:
    return f"/segments/{segment_id}/thumbnail.jpg" if segment_id in shown else ""


@router.get("/media/{media_id}")
async def show_media(
    page: Page, media_id: str, run_id: Annotated[str, Query(max_length=200)] = "", cursor: After = None
) -> Response:
    """Show a media item by its newest run, or by `run_id`."""
    after = segment_routes.parse_cursor(cursor)
    known = await page.context.database.read(_read_known, media_id, run_id or None)
    rows = await page.context.database.read(
        segment_routes.read_page, media_id, run_id or None, True, after, LISTED + 1
    )
    view = MediaPage(
        media=known.view.row,
        runs=_to_tabs(known.view, run_id),
        run_id=run_id,
        player=_to_player(page, known, run_id),
        segments=await _to_segments(page, segment_routes.to_segments(*rows), run_id, cursor),
        transcript=known.transcript,
        cues=known.transcript.cues[:_MOST_CUES] if known.transcript else (),
        probe=flatten(known.view.row.probe),
        facts=flatten(known.view.row.facts),
        explanation=await _explain(page, known.view.row),
    )
    return await page.render("media.html", view, view.media.title)


@dataclass(frozen=True, slots=True)
class _Known:
    view: MediaView
    packs: Sequence[PicturePack]
    transcript: Transcript | None


def _read_known(tx: Tx, media_id: str, run_id: str | None) -> _Known:
    view = media_queries.get_kept_view(tx, media_id)
    return _Known(
        view, picture_queries.list_packs(tx, media_id, run_id), find_transcript(tx, media_id, run_id)
    )


def _to_tabs(view: MediaView, run_id: str) -> list[Tab]:
    """Return one tab for each run of the item, if there are several."""
    if len(view.items) < 2:
        return []
    runs = [(item.run_id, str(view.prompts[item.run_id]["name"])) for item in view.items]
    newest = Tab("Newest results", "?", not run_id)
    return [newest, *(Tab(name, to_query({"run_id": each}), each == run_id) for each, name in runs)]


def _to_player(page: PageRequest, known: _Known, run_id: str) -> Player:
    row, base = known.view.row, f"/media/{known.view.row.id}"
    pack = next((each for each in known.packs if is_here(page.context, each)), None)
    query = to_query({"run_id": run_id}) if run_id else ""
    kind, said = content_type(row.key), known.transcript
    return Player(
        tag=_choose_tag(row, kind),
        content=f"{base}/content",
        content_type=kind,
        poster=f"{base}/poster.jpg{query}" if pack and pack.contents.find_poster() else "",
        storyboard=f"{base}/storyboard.jpg{query}" if pack and pack.contents.storyboard else "",
        captions=f"{base}/captions.vtt{query}" if said and said.cues else "",
        language=said.language if said and said.language else "und",
    )


def _choose_tag(row: Media, kind: str) -> str:
    if row.media_type == "image":
        return "img" if kind in _SHOWN and row.size_bytes <= _MOST_IMAGE_BYTES else ""
    return row.media_type if kind.startswith(_PLAYED) else ""


async def _to_segments(
    page: PageRequest, found: Sequence[Segment], run_id: str, cursor: str | None
) -> Listing[SegmentRow]:
    listing = to_listing(found, segment_routes.cursor_of, cursor, query={"run_id": run_id})
    shown = await find_shown(page.context, [each.segment_id for each in listing.rows])
    rows = [_to_row(page, each, shown) for each in listing.rows]
    return Listing(rows, (), listing.more, listing.first)


def _to_row(page: PageRequest, each: Segment, shown: Sequence[str]) -> SegmentRow:
    retry = None
    if each.processing_failed:
        ids: dict[str, Any] = {
            "run_id": each.from_run_id,
            "video_id": each.video_id,
            "segment_id": each.segment_id,
        }
        retry = page.action(RETRY_SEGMENT, **ids)
    return SegmentRow(each, flatten(each.metadata), _thumbnail(each.segment_id, shown), retry)


async def _explain(page: PageRequest, row: Media) -> Explanation | None:
    """Explain the object, unless the page only renews its live part: that would ask the store again and again."""
    if "hx-request" in page.request.headers or catalog.is_uploads(row.connector_id):
        return None
    with anyio.move_on_after(_EXPLAIN_SECONDS):
        try:
            return await explain_object(page.context, None, row.connector_id, row.key)
        except VvwatchError:
            return None
    return None
