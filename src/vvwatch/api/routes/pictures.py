"""Pictures of media: the thumbnail of a segment, the poster and the storyboard of an item."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import anyio.to_thread
from fastapi import Query, Request, Response

from vvwatch.api.http.auth import extension, require, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.links import STORYBOARD, THUMBNAIL, create_token
from vvwatch.api.http.thumbnails import is_here, pack_path
from vvwatch.core.keys import Scope
from vvwatch.core.pictures import Picture, PicturePack, Storyboard
from vvwatch.formats.captions import format_time
from vvwatch.store.runs import picture_queries

router = resource_router("videos")

_Token = Query(description="replaces a key, for these pictures only: see thumbnail_uri")
_Run = Query(max_length=200, description="of this run; by default of the newest that has pictures")
_KEPT_SECONDS: Final = 3600
_JPEG: Final = b"\xff\xd8\xff"
_RERUN: Final = "pictures are made when a run processes a video: run the prompt again"
_IMAGE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The picture",
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "The client has this picture"},
}
_CUES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The times of the tiles",
        "content": {"text/vtt": {"schema": {"type": "string"}}},
    },
    304: {"description": "The client has these times"},
}


@router.get(
    THUMBNAIL.path,
    response_class=Response,
    responses=_IMAGE,
    **require(Scope.READ, errors=("not_available",)),
)
async def get_thumbnail(
    context: Context,
    request: Request,
    segment_id: str,
    token: Annotated[str | None, _Token] = None,  # noqa: ARG001  # checked by the route's guard
) -> Response:
    """Return the picture of a segment as a JPEG file."""
    found = await context.database.read(picture_queries.find_segment_pictures, segment_id)
    pack = _require_here(context, [found.pack] if found.pack else [], f"segment {segment_id!r}")
    picture = pack.contents.find_thumbnail(found.ordinal)
    if picture is None:
        raise _absent(f"no picture was kept within segment {segment_id!r}", "use the poster of its video")
    return await _send_picture(context, request, pack, picture)


@router.get(
    "/videos/{video_id}/poster.jpg",
    response_class=Response,
    responses=_IMAGE,
    **extension("The poster of a media item", Scope.READ, errors=("not_available",)),
)
async def get_poster(
    context: Context, request: Request, video_id: str, run_id: Annotated[str | None, _Run] = None
) -> Response:
    """Return the picture that stands for a media item; of a sound, the cover in its file."""
    pack = await _find_pack(context, video_id, run_id)
    poster = pack.contents.find_poster()
    if poster is None:
        raise _absent(f"video {video_id!r} has no poster", _RERUN)
    return await _send_picture(context, request, pack, poster)


@router.get(
    STORYBOARD.path,
    response_class=Response,
    responses=_IMAGE,
    **extension("The storyboard of a media item", Scope.READ, errors=("not_available",)),
)
async def get_storyboard(
    context: Context,
    request: Request,
    video_id: str,
    run_id: Annotated[str | None, _Run] = None,
    token: Annotated[str | None, _Token] = None,  # noqa: ARG001  # checked by the route's guard
) -> Response:
    """Return one sheet of small pictures of a video; `storyboard.vtt` says what they show."""
    pack = await _find_pack(context, video_id, run_id)
    return await _send_picture(context, request, pack, _require_board(pack, video_id).sheet)


@router.get(
    "/videos/{video_id}/storyboard.vtt",
    response_class=Response,
    responses=_CUES,
    **extension("The times of a storyboard", Scope.READ, errors=("not_available",)),
)
async def get_storyboard_times(
    context: Context,
    request: Request,
    video_id: str,
    run_id: Annotated[str | None, _Run] = None,
    token: Annotated[str | None, _Token] = None,
) -> Response:
    """Return WebVTT with one cue a tile: its place in the sheet (`#xywh=`), at a link that needs no key."""
    pack = await _find_pack(context, video_id, run_id)
    board = _require_board(pack, video_id)
    query = {"token": token or create_token(request, STORYBOARD, video_id)} | (
        {"run_id": run_id} if run_id else {}
    )
    text = "".join(_list_cues(board, f"storyboard.jpg?{urlencode(query)}"))
    etag = _etag(pack, board.sheet, query["token"][-8:])
    return _answer(request, text.encode(), "text/vtt; charset=utf-8", etag)


async def _find_pack(context: ApiContext, video_id: str, run_id: str | None) -> PicturePack:
    packs = await context.database.read(picture_queries.list_packs, video_id, run_id or None)
    return _require_here(context, packs, f"video {video_id!r}")


def _require_here(context: ApiContext, packs: list[PicturePack], what: str) -> PicturePack:
    """Return the first pack of this node. Raises ApiError (404), which names the node that has one."""
    here = next((pack for pack in packs if is_here(context, pack)), None)
    if here is not None:
        return here
    if packs:
        node = packs[0].node or "the single node that ran before"
        raise _absent(f"the pictures of {what} are on the disk of node {node!r}", "ask that node")
    raise _absent(f"there are no pictures of {what}", _RERUN)


def _require_board(pack: PicturePack, video_id: str) -> Storyboard:
    if pack.contents.storyboard is None:
        raise _absent(f"video {video_id!r} has no storyboard: too few of its pictures were kept", _RERUN)
    return pack.contents.storyboard


def _absent(message: str, hint: str) -> ApiError:
    return ApiError(404, "not_available", message, hint)


async def _send_picture(
    context: ApiContext, request: Request, pack: PicturePack, picture: Picture
) -> Response:
    data = await anyio.to_thread.run_sync(_read_picture, pack_path(context, pack), picture)
    if data is None:
        raise _absent("the file of this picture is gone from state_dir", _RERUN)
    return _answer(request, data, "image/jpeg", _etag(pack, picture))


def _read_picture(path: Path, picture: Picture) -> bytes | None:
    """Return the picture, or None if the file is not what the database says."""
    try:
        with path.open("rb") as file:
            file.seek(picture.offset)
            data = file.read(picture.size_bytes)
    except FileNotFoundError:
        return None
    return data if len(data) == picture.size_bytes and data.startswith(_JPEG) else None


def _etag(pack: PicturePack, picture: Picture, more: str = "") -> str:
    return f'"{pack.file.split(".")[1]}-{picture.offset}{more}"'


def _answer(request: Request, content: bytes, kind: str, etag: str) -> Response:
    headers = {
        "ETag": etag,
        "Cache-Control": f"private, max-age={_KEPT_SECONDS}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
    }
    known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if etag in known or "*" in known:
        return Response(None, 304, headers)
    return Response(content, 200, headers, kind)


def _list_cues(board: Storyboard, address: str) -> Iterator[str]:
    yield "WEBVTT\n"
    ends = (*board.times[1:], board.end_seconds)
    for number, (at, end) in enumerate(zip(board.times, ends, strict=True)):
        start = at if number else 0.0
        left, top = number % board.columns * board.tile_width, number // board.columns * board.tile_height
        place = f"{left},{top},{board.tile_width},{board.tile_height}"
        begin, finish = round(start * 1000), round(max(end, start + 0.001) * 1000)
        yield f"\n{format_time(begin)} --> {format_time(finish)}\n{address}#xywh={place}\n"
