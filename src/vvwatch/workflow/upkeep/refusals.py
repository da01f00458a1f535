"""Count refused requests together, so that a flood of them costs the database a few rows an hour."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Final

from vvwatch.core.audit import Origin, Reason, Refusals
from vvwatch.core.identities import new_id
from vvwatch.errors import StoreUnavailable
from vvwatch.ports import Clock
from vvwatch.store.admin import audit
from vvwatch.store.db.database import Database
from vvwatch.telemetry import Telemetry

OTHERS: Final = "others"
"""The address of refusals beyond the limit of groups."""

_MOST_GROUPS: Final = 50
_GROUP_SECONDS: Final = 3600.0
_FLUSH_SECONDS: Final = 60.0
_RANDOM_BYTES: Final = 10

_Group = tuple[Reason, str, str]


@dataclass(slots=True)
class _Counted:
    refusals: Refusals
    kept_times: int = 0

    @property
    def is_new(self) -> bool:
        """Whether it has counts that are not stored yet."""
        return self.refusals.times != self.kept_times


class RefusedRequests:
    """Counts refusals by reason, key and address, and stores the counts in the audit trail once a minute.

    A row counts for an hour at most. The first fifty groups of each hour get rows of their own, all others are counted
    by reason alone, which bounds memory and rows. Killing the process loses the counts of the last minute.
    """

    def __init__(self, database: Database, clock: Clock, telemetry: Telemetry) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._groups: dict[_Group, _Counted] = {}
        self._over: list[_Counted] = []

    def note(self, reason: Reason, origin: Origin) -> None:
        """Count one refusal; `origin` names the key only if vvwatch created it."""
        now = self._clock.now()
        group = reason, origin.actor, origin.address
        if group not in self._groups and len(self._groups) >= _MOST_GROUPS:
            origin = Origin("", address=OTHERS)
            group = reason, "", OTHERS
        counted = self._groups.get(group)
        if counted is None:
            row_id = new_id(audit.PREFIX, now, secrets.token_bytes(_RANDOM_BYTES))
            self._groups[group] = _Counted(Refusals(row_id, origin, reason, 1, now, now))
        else:
            times = counted.refusals.times + 1
            counted.refusals = replace(counted.refusals, times=times, last_at=now)
        fields = {"address": origin.address, "actor": origin.actor, "route": origin.route}
        self._telemetry.emit("request.refused", reason=reason.value, **fields)

    async def flush(self) -> None:
        """Store the counts. If the database fails, log that and keep the counts for the next flush."""
        self._close(self._clock.now() - _GROUP_SECONDS)
        counted = [each for each in (*self._over, *self._groups.values()) if each.is_new]
        found = [each.refusals for each in counted]
        try:
            if found:
                await self._database.write(audit.store_refusals, found)
        except StoreUnavailable as error:
            self._telemetry.emit("task.failed", task="audit of refusals", error=error)
            return
        for each, kept in zip(counted, found, strict=True):
            each.kept_times = kept.times
        self._over.clear()

    def _close(self, before: float) -> None:
        """Start new rows after an hour; keep the old ones while they cannot be stored."""
        if self._over:
            return
        for group, each in list(self._groups.items()):
            if each.refusals.first_at <= before:
                self._over.append(self._groups.pop(group))

    async def run(self) -> None:
        """Store the counts once a minute."""
        while True:
            await self._clock.sleep(_FLUSH_SECONDS)
            await self.flush()
