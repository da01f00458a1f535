"""Links to the pictures of segments in responses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel

from vvwatch.api.http.auth import PREFIX
from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.links import THUMBNAIL, create_stable_links, linked_origin
from vvwatch.api.http.wire import Resource
from vvwatch.core.identities import segment_of
from vvwatch.core.pictures import PicturePack, may_be_on
from vvwatch.store.runs.pictures import load_packs

_R = TypeVar("_R", bound=Resource)
_P = TypeVar("_P", bound=BaseModel)


async def show_thumbnails(request: Request, page: _P, *names: str) -> _P:
    """Return the page `with_thumbnails` in its list `data`, which it also has under `names`."""
    shown = await with_thumbnails(request, page.data)  # type: ignore[attr-defined]  # pages have it
    return page.model_copy(update=dict.fromkeys(("data", *names), shown))


def pack_path(context: ApiContext, pack: PicturePack) -> Path:
    """Return where the file of a pack is, if it is on this node."""
    return (context.settings.state_dir or Path()) / "pictures" / pack.file


def is_here(context: ApiContext, pack: PicturePack) -> bool:
    """Return whether the pack is on the disk of this node."""
    node = context.settings.node
    return pack.node == node or (may_be_on(node, pack) and pack_path(context, pack).exists())


async def find_shown(context: ApiContext, ids: Sequence[str]) -> list[str]:
    """Return those of these segments whose picture this node has, in their order, each once."""
    items = sorted({place[0] for place in map(segment_of, ids) if place is not None})
    packs = await context.database.read(load_packs, items) if items else {}
    here = {item: pack for item, pack in packs.items() if is_here(context, pack)}
    return list(dict.fromkeys(_list_shown(ids, here)))


async def with_thumbnails(request: Request, found: Sequence[_R]) -> list[_R]:
    """Return these with `thumbnail_available` and `thumbnail_uri`, where this node has the segment's picture."""
    ids = [str(getattr(each, "segment_id", None)) for each in found]
    shown = await find_shown(request.app.state.context, ids)
    if not shown:
        return list(found)
    links = create_stable_links(request, linked_origin(request), PREFIX, THUMBNAIL, shown)
    return [
        each.model_copy(update={"thumbnail_available": True, "thumbnail_uri": links[segment]})
        if segment in links
        else each
        for segment, each in zip(ids, found, strict=True)
    ]


def _list_shown(ids: Iterable[str], packs: dict[int, PicturePack]) -> Iterable[str]:
    """Yield the segments that have a picture."""
    for segment in ids:
        item_id, ordinal = segment_of(segment) or (0, 0)
        if item_id in packs and packs[item_id].contents.find_thumbnail(ordinal) is not None:
            yield segment
