"""Preview what an automation would pick up: list its location, compare it with the ledger, write nothing.

The rules are those of scans (`Selection`), but for settling: a preview waits for no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import anyio

from vvwatch.core.filters import Reason
from vvwatch.core.objects import StorageObject
from vvwatch.ports import Page
from vvwatch.store.db.database import Database
from vvwatch.store.watching import ledger
from vvwatch.workflow.listings import closing
from vvwatch.workflow.watching.watch_state import WatchState, list_left_out

_MOST_KEYS: Final = 100
_AT_ONCE: Final = 250  # a few milliseconds of a turn


@dataclass(frozen=True, slots=True)
class PreviewLimits:
    """The bounds at which a preview stops."""

    objects: int = 100_000
    seconds: float = 20.0


@dataclass
class Preview:
    """The counts of a listing. `matched` pass all rules: `new` ones would be picked up, `known` ones were before.

    `declined` counts the others by reason. `new_keys` are the first hundred. `stopped` says why the listing is not
    whole; empty if it is.
    """

    listed: int = 0
    matched: int = 0
    new: int = 0
    known: int = 0
    declined: Counter[str] = field(default_factory=Counter)
    new_keys: list[str] = field(default_factory=list)
    stopped: str = ""


async def preview_import(
    database: Database, watched: WatchState, bounds: PreviewLimits = PreviewLimits()
) -> Preview:
    """Return what `watched` would pick up. Raises StorageError if its location cannot be listed."""
    found, row = Preview(stopped=f"{bounds.seconds:g} seconds were over"), watched.row
    with anyio.move_on_after(bounds.seconds):
        listing = watched.storage.list(row.source_prefix, recursive=row.recursive, skips=watched.filter.skips)
        async with closing(listing) as pages:
            async for page in pages:
                left = list_left_out(watched.filter, Page((), page.irregular))
                found.declined.update(each.reason for each in left)
                for start in range(0, len(page.objects), _AT_ONCE):
                    await _count_objects(database, watched, page.objects[start : start + _AT_ONCE], found)
                if found.listed >= bounds.objects:
                    found.stopped = f"{found.listed:,} objects were listed"
                    return found
        found.stopped = ""
    return found


async def _count_objects(
    database: Database, watched: WatchState, objects: Sequence[StorageObject], found: Preview
) -> None:
    """Count a part of a page, as a whole: a timeout in between counts nothing of it."""
    difference = await database.read(ledger.compare, watched.row.scope_id, objects)
    unknown = {obj.key: obj for obj in (*difference.created, *difference.modified)}
    verdicts = [watched.filter.verdict(obj) for obj in objects if obj.key not in unknown]
    known = sum(verdict.accepted for verdict in verdicts)
    selected = await watched.selection(database).select(list(unknown.values()))
    new = selected.list_wanted()
    found.listed += len(objects)
    found.known += known
    found.new += len(new)
    found.matched += known + len(new)
    reasons = chain((each.reason for each in verdicts), (each.reason for each in selected.choices))
    found.declined.update(reason for reason in reasons if reason is not Reason.ACCEPTED)
    found.new_keys += [obj.key for obj in new[: _MOST_KEYS - len(found.new_keys)]]
