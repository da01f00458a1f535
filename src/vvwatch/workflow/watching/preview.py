"""What an automation would pick up now: its location is listed and held against the ledger, and nothing is written.

The rules are those of the intake, in its order, but for what only time tells: whether a file has settled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from vvwatch.core.filters import Reason, explain_reason
from vvwatch.core.objects import StorageObject
from vvwatch.ports import Page
from vvwatch.store.db.database import Database
from vvwatch.store.watching import ledger
from vvwatch.workflow.listings import closing
from vvwatch.workflow.watching.watch_state import WatchState, find_left_out

_MOST_KEYS: Final = 100
_AT_ONCE: Final = 250  # a few milliseconds of a turn
_EXISTING: Final = "existing"


@dataclass(frozen=True, slots=True)
class PreviewLimits:
    """Where a preview stops, complete or not."""

    objects: int = 100_000
    seconds: float = 20.0


@dataclass
class Preview:
    """What a listing came to. `matched` passes all rules; of it `new` would be picked up, `known` was before.

    `declined` counts the others by reason. `new_keys` are the first hundred. `stopped` says why the listing was
    broken off; empty: it is whole.
    """

    listed: int = 0
    matched: int = 0
    new: int = 0
    known: int = 0
    declined: Counter[str] = field(default_factory=Counter)
    new_keys: list[str] = field(default_factory=list)
    stopped: str = ""


def explain_declined(reason: str) -> str:
    """A reason of `Preview.declined` as the second half of a sentence about an object."""
    if reason == _EXISTING:
        return "it was there before the automation began, and process_existing is false"
    return explain_reason(Reason(reason))


async def preview_import(
    database: Database, watched: WatchState, bounds: PreviewLimits = PreviewLimits()
) -> Preview:
    """What `watched` would pick up. Raises StorageError when its location cannot be listed."""
    found, row = Preview(stopped=f"{bounds.seconds:g} seconds were over"), watched.row
    with anyio.move_on_after(bounds.seconds):
        listing = watched.storage.list(row.source_prefix, recursive=row.recursive, skips=watched.filter.skips)
        async with closing(listing) as pages:
            async for page in pages:
                found.declined.update(
                    each.reason for each in find_left_out(watched.filter, Page((), page.irregular))
                )
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
    """Count a part of a page, all of it or nothing."""
    difference = await database.read(ledger.compare, watched.row.scope_id, objects)
    unknown = {obj.key: obj for obj in (*difference.created, *difference.modified)}
    known = [obj for obj in objects if obj.key not in unknown]
    declined = Counter(_list_refusals(watched, known))
    known_count = len(known) - declined.total()
    if watched.new_only and unknown:
        firsts = await database.read(ledger.find_known_keys, watched.row.scope_id, list(unknown))
        later = [unknown.pop(key) for key in firsts.taken | firsts.awaited]
        declined.update(_list_refusals(watched, later, otherwise=Reason.NEW_ONLY_KNOWN_KEY))
    new = await _select_new(database, watched, list(unknown.values()), declined)
    found.listed += len(objects)
    found.known += known_count
    found.new += len(new)
    found.matched += known_count + len(new)
    found.declined += declined
    found.new_keys += [obj.key for obj in new[: _MOST_KEYS - len(found.new_keys)]]


async def _select_new(
    database: Database, watched: WatchState, unknown: list[StorageObject], declined: Counter[str]
) -> list[StorageObject]:
    """Those that would be picked up; why not, of the others, is counted in `declined`."""
    if not unknown:
        return []
    uris = {watched.storage.uri(obj.key): obj for obj in unknown}
    own = await database.read(ledger.find_own_outputs, list(uris))
    declined[Reason.OWN_OUTPUT] += len(own)
    candidates = [obj for uri, obj in uris.items() if uri not in own]
    candidates = await watched.looked_into(database, candidates, 0.0)
    judged = [(obj, watched.filter.verdict(obj)) for obj in candidates]
    declined.update(verdict.reason for _, verdict in judged if not verdict.accepted)
    wanted, existing = watched.split_existing([obj for obj, verdict in judged if verdict.accepted])
    declined[_EXISTING] += len(existing)
    return wanted


def _list_refusals(watched: WatchState, objects: Sequence[StorageObject], otherwise: str = "") -> list[str]:
    """Why each of these is declined; what passes the filter is, if at all, for the reason `otherwise`."""
    verdicts = map(watched.filter.verdict, objects)
    reasons = (otherwise if verdict.accepted else verdict.reason for verdict in verdicts)
    return [reason for reason in reasons if reason]
