"""One automation as it is watched now: what of its objects is new to it, settling, or archived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from vvwatch.core.cadence import ScanSchedule
from vvwatch.core.filters import ObjectFilter, Reason, explain_reason
from vvwatch.core.objects import StorageObject
from vvwatch.core.presence import SeenKeys
from vvwatch.core.settling import Sighting
from vvwatch.ports import Irregularity, Page, Storage
from vvwatch.store.db.database import Database
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.watching import ledger

_MOST_ASKED: Final = 16
_MOST_LEFT_OUT: Final = 100_000
_SERVICE_TICK_SECONDS: Final = 1.0
"""Services date their objects by whole seconds: what came right after a moment may be dated before it."""


@dataclass
class WatchState:
    """One automation as it is watched now, and what of it is still settling."""

    row: ImportAutomation
    connector: Connector
    storage: Storage
    filter: ObjectFilter
    new_only: bool
    settling: dict[str, Sighting] = field(default_factory=dict)

    @property
    def baseline(self) -> bool:
        """Whether what exists is to be taken as known, because only what comes from now on counts."""
        return not self.row.process_existing and not self.row.baseline_done

    def covers(self, key: str) -> bool:
        """Whether a listing of it would show an object at `key` that is wanted by its name."""
        return self.filter.name_verdict(key).accepted

    def is_of(self, row: ImportAutomation, connector: Connector) -> bool:
        """Whether it is watched as these rows, the latest ones, want it."""
        same = self.connector.id == connector.id and self.connector.updated_at == connector.updated_at
        return same and self.row.generation == row.generation

    def split_existing(self, wanted: list[StorageObject]) -> tuple[list[StorageObject], list[StorageObject]]:
        """When only what comes from now on counts, split off what was there before the automation was.

        The moment is one of the store's own clock, which dated the objects. What is wanted only since an edit is
        old when it was there before that; what was wanted before, and was not taken yet, is not.
        """
        if not self.baseline:
            return wanted, []
        learnt = ScanSchedule.of(self.row.cadence)
        began_at = self.row.created_at if learnt.since is None else learnt.since
        began_at += self.storage.clock_ahead_seconds
        if self.storage.capabilities.atomic_writes:
            began_at -= _SERVICE_TICK_SECONDS
        before = ObjectFilter(*learnt.covered) if learnt.covered else None
        old = {obj.key for obj in wanted if obj.changed_at < began_at and not (before and before.wants(obj))}
        return [obj for obj in wanted if obj.key not in old], [obj for obj in wanted if obj.key in old]

    async def looked_into(
        self, database: Database, candidates: list[StorageObject], sample: float
    ) -> list[StorageObject]:
        """`candidates`, each archived or not as is known now.

        A listing may not tell that an object was restored, nor that one of its class is archived: then an
        import met it. A few of them are asked about, others each time.
        """
        met = await database.read(ledger.find_observed, self.row.id, Reason.ARCHIVED, candidates)
        frozen = [
            obj.key
            for obj in candidates
            if (obj.archived or obj[:2] in met) and self.filter.name_verdict(obj.key).accepted
        ]
        if not frozen:
            return candidates
        start = int(sample * len(frozen))
        asked = (frozen[start:] + frozen[:start])[:_MOST_ASKED]
        still = set(frozen) - set(await self.storage.restored(asked))
        return [obj._replace(archived=obj.key in still) for obj in candidates]


def find_left_out(rules: ObjectFilter, page: Page) -> list[Irregularity]:
    """What stands on the page, would be wanted, and can be no object; also what is called as a folder with content."""
    found = [
        *page.irregular,
        *(_describe_folder(obj) for obj in page.objects if obj.key[-1:] == "/" and obj.size_bytes),
    ]
    return [each for each in found if rules.minds(each.key, each.reason)]


def _describe_folder(obj: StorageObject) -> Irregularity:
    detail = f"its key ends with a slash, as a folder's does, and it has {obj.size_bytes:,} bytes; rename it"
    return Irregularity(obj.key, Reason.FOLDER_WITH_CONTENT, detail)


class LeftOutCounter:
    """Counts what stands in a listing and can be no object, by reason; each key once, up to a bound."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._keys: set[str] = set()

    def add(self, found: Iterable[Irregularity]) -> None:
        """Count these."""
        for each in found:
            if each.key not in self._keys:
                self.counts[each.reason] += 1
            if len(self._keys) < _MOST_LEFT_OUT:
                self._keys.add(each.key)


@dataclass
class ScanStats:
    """What one look came to.

    `known` are the listed that the ledger had, `matched` those of the others that the automation wants. `changed` of
    the accepted are other versions of known keys. `started` is in monotonic seconds. `blind`: some of it may not be
    looked into, or is listed without what tells its version.
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
    """The folders in which new keys came last, and the last of these keys."""

    late_seconds: float | None = None
    """What is new and older than that counts as recovered: an event should have told it."""

    place: str | None = None
    """What stood at the location when the listing began; None for nothing."""

    seen: SeenKeys | None = None
    """Notes which keys of the ledger are there."""

    def note(self, found: Iterable[StorageObject]) -> None:
        """Note what the ledger has from now on."""
        keys = {obj.key for obj in found}
        if self.seen is not None:
            self.seen.add(keys, len(keys))


def to_observation(obj: StorageObject, reason: Reason, detail: str) -> dict[str, Any]:
    """Why `obj` is not picked up, as `ledger.observe` keeps it."""
    return {
        "key": obj.key,
        "version": obj.version,
        "reason": reason,
        "detail": f"{explain_reason(reason)} ({detail})" if detail else explain_reason(reason),
        "size_bytes": obj.size_bytes,
    }
