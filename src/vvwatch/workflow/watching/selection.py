"""The rules of intake, for automations, previews and one-time imports alike: what is picked up, and why not the rest.

Names are judged first, so that a bucket full of unwanted names costs no queries. Then the database is asked for first
versions (`new_only`) and our own outputs, and the storage whether archived objects were restored. `core.selection`
decides from these facts, once per object.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from vvwatch.core.cadence import ScanSchedule
from vvwatch.core.filters import ObjectFilter, Reason
from vvwatch.core.objects import StorageObject
from vvwatch.core.outputs import Output
from vvwatch.core.selection import Baseline, Facts, KnownKeys, Selected, choose, is_worth_examining
from vvwatch.core.sidecars import MOST_BYTES
from vvwatch.errors import StorageError, StorageUnavailable
from vvwatch.ports import Storage
from vvwatch.store.db.database import Database
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.watching import ledger, own_files
from vvwatch.workflow.own_files import is_unchanged

_MOST_ASKED: Final = 16
_SERVICE_TICK_SECONDS: Final = 1.0
"""Services date their objects by whole seconds: what came right after a moment may be dated before it."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The rules at one location.

    `pick_asked` chooses of archived keys those to ask the storage about. `automation` None: a one-time import.
    """

    database: Database
    storage: Storage
    rules: ObjectFilter
    pick_asked: Callable[[Sequence[str]], Sequence[str]]
    automation: ImportAutomation | None = None
    new_only: bool = False

    async def select(self, found: Sequence[StorageObject]) -> Selected:
        """Return the choice on each of `found`."""
        examined = [obj for obj in found if is_worth_examining(self.rules, obj.key)]
        earlier = await self._find_earlier(examined)
        first = [obj for obj in examined if not earlier.has(obj.key)]
        own = await self._find_own(first)
        archived = await self._find_archived([obj for obj in first if obj.key not in own])
        facts = Facts(own, earlier, self._find_baseline())
        if archived:
            found = [obj._replace(archived=archived.get(obj.key, obj.archived)) for obj in found]
        return Selected([choose(self.rules, obj, facts) for obj in found], earlier)

    async def _find_earlier(self, found: Sequence[StorageObject]) -> KnownKeys:
        if not self.new_only or self.automation is None or not found:
            return KnownKeys()
        keys = [obj.key for obj in found]
        return await self.database.read(ledger.find_known_keys, self.automation.scope_id, keys)

    async def _find_own(self, found: Sequence[StorageObject]) -> set[str]:
        """Return the keys of our own outputs. Sidecars that somebody changed are no longer ours."""
        uris = {self.storage.uri(obj.key): obj for obj in found}
        outputs = await self.database.read(own_files.find_outputs, list(uris)) if uris else {}
        return {uris[uri].key for uri, output in outputs.items() if await self._is_own(uris[uri], output)}

    async def _is_own(self, obj: StorageObject, output: Output) -> bool:
        """Return whether the object is our output; a sidecar of the right size is read, once."""
        if not output.written or self.rules.name_verdict(obj.key).reason is not Reason.SIDECAR:
            return True
        if not output.may_have(obj.size_bytes):
            return False
        if obj.size_bytes > MOST_BYTES or await self._is_observed(obj):
            return obj.size_bytes > MOST_BYTES
        try:
            return await is_unchanged(self.storage, obj, output)
        except StorageUnavailable:
            raise
        except StorageError:  # it changes, or may not be read: it is looked at again
            return False

    async def _is_observed(self, obj: StorageObject) -> bool:
        """Return whether this version is known as somebody's sidecar."""
        if self.automation is None:
            return False
        args = self.automation.id, Reason.SIDECAR, [obj]
        return obj[:2] in await self.database.read(ledger.find_observed, *args)

    async def _find_archived(self, found: Sequence[StorageObject]) -> dict[str, bool]:
        """Return for each object that is listed as archived, or that an import found archived, whether it still is.

        A listing may show neither that an object was restored nor that its class is archived. A few are asked about;
        the others count as archived.
        """
        observed: Collection[tuple[str, str]] = ()
        if self.automation is not None and found:
            args = self.automation.id, Reason.ARCHIVED, found
            observed = await self.database.read(ledger.find_observed, *args)
        archived = [
            obj.key
            for obj in found
            if (obj.archived or obj[:2] in observed) and self.rules.name_verdict(obj.key).accepted
        ]
        asked = self.pick_asked(archived)
        restored = set(await self.storage.restored(asked)) if asked else ()
        return {key: key not in restored for key in archived}

    def _find_baseline(self) -> Baseline | None:
        """Return the baseline, while the automation has one: only what came after its start is imported."""
        row = self.automation
        if row is None or row.process_existing or row.baseline_done:
            return None
        tick = _SERVICE_TICK_SECONDS if self.storage.capabilities.atomic_writes else 0.0
        ahead = self.storage.clock_ahead_seconds - tick
        return Baseline.of(ScanSchedule.of(row.cadence), row.created_at, ahead)


def pick_some(sample: float, keys: Sequence[str]) -> Sequence[str]:
    """Return a few of `keys`, from a place that `sample` (at least 0, below 1) gives."""
    start = int(sample * len(keys))
    return [*keys[start:], *keys[:start]][:_MOST_ASKED]
