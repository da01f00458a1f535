"""Packs of pictures, in the parent: the request for one, and the check of what the confined process has written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import anyio.to_thread
from pydantic import TypeAdapter

from vvwatch.core.pictures import PictureContents, PicturePack, check_contents
from vvwatch.ports.processing import PictureDraft
from vvwatch.processors.media.asking import Answer, read_answer, validate_strictly

_CONTENTS: Final = TypeAdapter(PictureContents)
_JPEG: Final = b"\xff\xd8\xff"


def describe_output(draft: PictureDraft | None) -> Mapping[str, Any]:
    """Return the part of a request that asks for pictures; empty without a draft."""
    if draft is None:
        return {}
    return {"width": draft.width, "output": {"fd": draft.fd, "most_bytes": draft.most_bytes}}


async def keep_pictures(answer: Answer, draft: PictureDraft | None) -> PicturePack | None:
    """Keep what the process has written into the draft, and return it; None if there are no pictures.

    Raises ProcessorCrashed unless each picture that it names is a JPEG file within the pack.
    """
    said = answer.of("pictures")
    if draft is None or said is None:
        return None
    contents = read_answer(partial(validate_strictly, _CONTENTS), said)
    await anyio.to_thread.run_sync(read_answer, partial(_check_pack, draft), contents)
    return await draft.keep(contents)


def _check_pack(draft: PictureDraft, contents: PictureContents) -> None:
    size_bytes = os.fstat(draft.fd).st_size
    if size_bytes > draft.most_bytes:
        raise ValueError(size_bytes)
    check_contents(contents, size_bytes)
    for picture in contents.every:
        if os.pread(draft.fd, len(_JPEG), picture.offset) != _JPEG:
            raise ValueError("a picture that is no JPEG file")
