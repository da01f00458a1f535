"""Imports an item into the upstream: by its own connector if it has one to our store, else by upload."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vvwatch.core.objects import base_name
from vvwatch.errors import ProcessorRefused
from vvwatch.ports.processing import Item
from vvwatch.processors.videovector.found import Part
from vvwatch.processors.videovector.refusals import shorten_text, unreadable_answer
from vvwatch.processors.videovector.state import State
from vvwatch.processors.videovector.upstream import Upstream

if TYPE_CHECKING:
    from videovector._types import ImportOutput

UNDER_WAY: Final = frozenset({"pending", "scanning", "importing"})
ENDED: Final = frozenset({"completed", "failed", "cancelled"})
_GLOB: Final = re.compile(r"[^\w .-]")


def object_pattern(key: str) -> str:
    """Return a glob for the object at `key` that holds in every dialect: special characters become `?`.

    The key itself is the prefix, so nothing else matches.
    """
    return _GLOB.sub("?", base_name(key))


def open_upload(descriptor: int, name: str) -> io.FileIO:
    """Return the file behind `descriptor`, from its start, with the name that the upstream shall see."""
    file = io.FileIO(descriptor, "rb", closefd=False)
    file.seek(0)
    file.name = name  # which the SDK sends
    return file


async def add_parts(upstream: Upstream, item: Item, state: State, error_message: str | None) -> State:
    """Return the state with the media that the import made. Raises ProcessorRefused when it made none."""
    job_id = str(state.import_job)
    outputs = _own_outputs(upstream, item, await upstream.outputs(job_id))
    good = [each for each in outputs if each.status.lower() != "failed"]
    if not good:
        reason = await _explain_nothing(upstream, job_id, error_message)
        raise ProcessorRefused(f"{upstream.name} could not import {item.title!r}: {reason}")
    asked = f"for the outputs of the import job {job_id!r}"
    ids = [upstream.checked_id(each.video_id, asked) for each in good]
    if len(set(ids)) < len(ids):
        raise unreadable_answer(upstream.name, asked, "two media with one id")
    starts = [each.source_start_seconds for each in good]
    parts = sorted(map(Part, ids, starts), key=lambda part: part.start_seconds)
    return replace(state, parts=tuple(parts), lost_parts=len(outputs) - len(good))


def _own_outputs(upstream: Upstream, item: Item, outputs: Sequence[ImportOutput]) -> Sequence[ImportOutput]:
    """Drop outputs of other objects, which a prefix may match below ours."""
    name = base_name(item.key)
    ours = [each for each in outputs if each.file_name in {name, item.key}]
    sources = {each.file_id for each in ours or outputs}
    if len(sources) > 1:
        raise ProcessorRefused(f"{upstream.name} finds {len(sources)} objects under the key {item.key!r}")
    return ours or outputs


async def _explain_nothing(upstream: Upstream, job_id: str, error_message: str | None) -> str:
    for file in await upstream.files(job_id):
        failure = file.failure or {}
        said = failure.get("message") or failure.get("error_code") or file.skip_reason
        if said:
            return shorten_text(said)
    return shorten_text(error_message) if error_message else "it found nothing to import"
