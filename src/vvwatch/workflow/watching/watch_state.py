"""The state of a watched automation and of one look at its location."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from vvwatch.core.filters import ObjectFilter, Reason
from vvwatch.core.known_pages import KnownPage
from vvwatch.core.objects import StorageObject
from vvwatch.core.presence import SeenKeys
from vvwatch.core.selection import SkippedObject
from vvwatch.core.settling import Sighting
from vvwatch.ports import Page, Storage
from vvwatch.store.db.database import Database
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.workflow.watching.selection import Selection, pick_some

_MOST_LEFT_OUT: Final = 100_000


@dataclass
class WatchState:
    """An automation with its opened storage, and its objects that are still settling."""

    row: ImportAutomation
    connector: Connector
    storage: Storage
    filter: ObjectFilter
    new_only: bool
    settling: dict[str, Sighting] = field(default_factory=dict)

    def covers(self, key: str) -> bool:
        """Return whether an object at `key` would have a wanted name."""
        return self.filter.name_verdict(key).accepted

    def is_of(self, row: ImportAutomation, connector: Connector) -> bool:
        """Return whether these rows, the latest ones, describe what is watched."""
        same = self.connector.id == connector.id and self.connector.updated_at == connector.updated_at
        return same and (self.row.generation, self.row.facts) == (row.generation, row.facts)

    def selection(self, database: Database, sample: float = 0.0) -> Selection:
        """Return the rules of the automation; `sample` varies which archived objects are asked about."""
        pick = partial(pick_some, sample)
        return Selection(database, self.storage, self.filter, pick, self.row, self.new_only)


def list_left_out(rules: ObjectFilter, page: Page) -> list[SkippedObject]:
    """List what is on the page, may be wanted and cannot be imported, such as content under a folder's name."""
    seen = () if isinstance(page.objects, KnownPage) else page.objects  # which hold no folder's name
    found = [
        *(SkippedObject(each.key, "", 0, Reason(each.reason), each.detail) for each in page.irregular),
        *(_describe_folder(obj) for obj in seen if obj.key[-1:] == "/" and obj.size_bytes),
    ]
    return [each for each in found if rules.is_relevant(each.key, each.reason)]


def _describe_folder(obj: StorageObject) -> SkippedObject:
    detail = f"its key ends with a slash, as a folder's does, and it has {obj.size_bytes:,} bytes; rename it"
    return SkippedObject(obj.key, "", 0, Reason.FOLDER_WITH_CONTENT, detail)


class LeftOutCounter:
    """Counts by reason what a listing has and cannot be imported; each key once, up to a bound."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._keys: set[str] = set()

    def add(self, found: Iterable[SkippedObject]) -> None:
        """Count these."""
        for each in found:
            if each.key not in self._keys:
                self.counts[each.reason] += 1
            if len(self._keys) < _MOST_LEFT_OUT:
                self._keys.add(each.key)


@dataclass
class ScanStats:
    """The counts of one look.

    `known` of the listed objects were in the ledger, `matched` others match the rules. `changed` of the accepted are
    new versions of known keys. `started` is in monotonic seconds. `blind`: a folder may not be read, or an entry is
    listed without its version.
    """

    started: float = 0.0
    listed: int = 0
    known: int = 0
    matched: int = 0
    accepted: int = 0
    changed: int = 0
    recovered: int = 0
    skipped: int = 0
    settling: int = 0
    calls: int = 0
    blind: bool = False
    left_out: LeftOutCounter = field(default_factory=LeftOutCounter)
    newest: dict[str, str] = field(default_factory=dict)
    """The folders with the latest new keys, each with its last key."""

    late_seconds: float | None = None
    """New objects that are older than that count as recovered: no event reported them in time."""

    place: str | None = None
    """The identity of the location when the listing began; None for nothing."""

    seen: SeenKeys | None = None
    """Collects which keys of the ledger are there."""

    def note(self, found: Iterable[StorageObject]) -> None:
        """Note keys that the ledger has from now on."""
        keys = {obj.key for obj in found}
        if self.seen is not None:
            self.seen.add(keys, len(keys))
