"""The files that the page of a media item shows: as the API sends them, for a session instead of a key."""

from __future__ import annotations

from io import BytesIO
from typing import Annotated, Final

import anyio.to_thread
from fastapi import Query, Response

from vvwatch.api.http.errors import ApiError
from vvwatch.api.pages.access import Page, page_router
from vvwatch.api.routes import media_contents, pictures
from vvwatch.core.transcripts import Transcript
from vvwatch.formats.captions import VTT
from vvwatch.formats.items import ExportedItem, NotApplicable
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import media_queries
from vvwatch.store.runs.transcripts import load_said

router = page_router()

_MOST_RUNS: Final = 20
_Run = Annotated[str | None, Query(max_length=200)]


@router.get("/media/{media_id}/content")
async def send_content(page: Page, media_id: str) -> Response:
    """Send the original, all or one range."""
    return await media_contents.get_content(page.context, page.request, media_id)


@router.get("/media/{media_id}/poster.jpg")
async def send_poster(page: Page, media_id: str, run_id: _Run = None) -> Response:
    """Send the poster."""
    return await pictures.get_poster(page.context, page.request, media_id, run_id)


@router.get("/media/{media_id}/storyboard.jpg")
async def send_storyboard(page: Page, media_id: str, run_id: _Run = None) -> Response:
    """Send the storyboard."""
    return await pictures.get_storyboard(page.context, page.request, media_id, run_id)


@router.get("/segments/{segment_id}/thumbnail.jpg")
async def send_thumbnail(page: Page, segment_id: str) -> Response:
    """Send the picture of a segment."""
    return await pictures.get_thumbnail(page.context, page.request, segment_id)


@router.get("/media/{media_id}/captions.vtt")
async def send_captions(page: Page, media_id: str, run_id: _Run = None) -> Response:
    """Send what is said as WebVTT. Raises ApiError (404) where nothing is."""
    found = await page.context.database.read(find_transcript, media_id, run_id)
    text = await anyio.to_thread.run_sync(_write_captions, found)
    return Response(text, media_type="text/vtt; charset=utf-8", headers={"Cache-Control": "no-store"})


def find_transcript(tx: Tx, media_id: str, run_id: str | None) -> Transcript | None:
    """Return the transcript of this run, or of the newest that has one. Raises NotFound for the media item."""
    items = [
        each for each in media_queries.get_kept_view(tx, media_id).items if run_id in (None, each.run_id)
    ]
    for item in items[:_MOST_RUNS]:
        found = load_said(tx, [item.id]).get(item.id)
        if found is not None and found.transcript is not None:
            return found.transcript
    return None


def _write_captions(found: Transcript | None) -> bytes:
    written = BytesIO()
    try:
        VTT.write(written, [ExportedItem({}, {}, found)])
    except NotApplicable as error:
        raise ApiError(404, "not_available", str(error), "run a prompt with transcription") from None
    return written.getvalue()
