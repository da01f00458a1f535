"""From change to window: listings and hints become accepted objects, each version once.

A listing is the truth, a hint is faster; both lead to the intake. Between full scans that a budget keeps apart, polls
list only where new keys are likely, and prove nothing.

Objects of a store whose writes are not atomic must settle first: the same version at two looks `settle_seconds` of
monotonic time apart, and no writer that has them open. Settling objects are only in memory: the next listing finds
them again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import anyio.to_thread

from vvwatch.core.cadence import (
    Pace,
    ScanSchedule,
    after_failure,
    after_full,
    after_poll,
    jitter_seconds,
    list_ends,
    retry_pause,
    update_hot,
)
from vvwatch.core.filters import ObjectFilter
from vvwatch.core.objects import StorageObject
from vvwatch.core.settling import Sighting, is_settled, remaining_seconds
from vvwatch.errors import ObjectNotFound, VvwatchError
from vvwatch.ports import Clock, Hint, Job, Priority, Storage
from vvwatch.store.db.database import Database
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.watching import ImportAutomation, ScanReport
from vvwatch.store.watching import absences, automations, ledger
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.watching.intake import Intake
from vvwatch.workflow.watching.scanner import Scanner
from vvwatch.workflow.watching.watch_state import ScanStats, WatchState

_MOST_LOOKED_UP = 2_000  # beyond this many settling objects one listing is cheaper than a look at each
_TAKEN_AT_ONCE = 4_000  # messages may report more than one statement has room for
_RETRY_SECONDS = 30.0
_SWEEP_SECONDS = 3_600.0
_LATE_SECONDS = 60.0
_PUT_OFF_SECONDS = 5.0
MAX_SCANS_PER_CONNECTOR = 3
"""Fewer scans at once than the daemon has room for, so that a slow store holds up only its own scans."""


class Watcher:
    """Watches automations. `open_storage` opens the storage of a connector's row."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        open_storage: Callable[[Connector], Storage],
        sample: Callable[[], float],
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._open_storage = open_storage
        self._sample = sample
        self._watched: dict[str, WatchState] = {}
        self._intake = Intake(database, clock, telemetry, sample)
        self.scanner = Scanner(database, clock, self._intake, sample)
        self._looking = 0
        self._scanning = Counter[str]()
        self._reported_oddities: set[tuple[str, str]] = set()
        self.listens: Callable[[str], bool] = lambda _: False
        """Whether the events of a connector (its id) report every change; its listings then only verify that."""

    async def scan(self, job: Job) -> None:
        """Handle a scan: list the whole prefix, take in what is new and what is gone, and schedule the next scan.

        If the request budget does not allow that each time, poll between full scans where new keys are likely.
        """
        found = await self._database.read(automations.find_scan_target, job)
        if found is None:
            return
        row, connector = found
        if self._scanning[connector.id] >= MAX_SCANS_PER_CONNECTOR:
            await self._database.write(automations.postpone_scan, job, _PUT_OFF_SECONDS)
            return
        learnt = ScanSchedule.of(row.cadence)
        full = job.priority is Priority.MANUAL or learnt.full_is_due(self._clock.now())
        tally = ScanStats(started=self._clock.monotonic())
        self._looking += 1
        self._scanning[connector.id] += 1
        try:
            watched = await self._watch(row, connector)
            await (self._scan_fully if full else self._poll)(job, watched, learnt, tally)
        except VvwatchError as error:
            await self._record_failure(job, row, error, tally.calls)
        finally:
            self._looking -= 1
            self._scanning[connector.id] -= 1

    async def _scan_fully(
        self, job: Job, watched: WatchState, learnt: ScanSchedule, tally: ScanStats
    ) -> None:
        pace = self._pace(watched)
        if learnt.full_at is not None and self.listens(watched.connector.id):
            tally.late_seconds = _get_event_setting(watched.connector, "late_seconds", _LATE_SECONDS)
        swept = await self.scanner.scan_fully(job, watched, tally)
        self._report_oddities(watched)
        report = swept.report
        self._telemetry.emit("reconcile.finished", automation=watched.row.id, **report.figures())
        if swept.error is not None:
            await self._record_failure(job, watched.row, swept.error, tally.calls, report)
            return
        hot: Mapping[str, str] = {}
        if pace.calls_per_hour is not None and watched.storage.capabilities.start_after:
            hot = update_hot(learnt.hot, watched.row.source_prefix, swept.last_key, tally.newest)
        schedule, wait = after_full(pace, self._clock.now(), tally.calls, hot)
        proof = {"doubt": swept.doubt and swept.doubt.document(), "place": swept.place}
        await self._record_scan(job, watched, schedule, wait, tally, report, proof)
        if swept.doubt is not None and not report.proof:
            self._telemetry.emit("reconcile.doubted", automation=watched.row.id, remark=report.remark)

    def _report_oddities(self, watched: WatchState) -> None:
        """Report what the store does wrong, once per process."""
        connector_id = watched.connector.id
        for oddity, message in watched.storage.notes.odd.items():
            if (connector_id, oddity) not in self._reported_oddities:
                self._reported_oddities.add((connector_id, oddity))
                self._telemetry.emit("store.odd", connector=connector_id, oddity=oddity, message=message)

    async def _poll(self, job: Job, watched: WatchState, learnt: ScanSchedule, tally: ScanStats) -> None:
        """List only where new keys are likely; the next full scan finds the rest."""
        pace, hot = self._pace(watched), dict(learnt.hot)
        for prefix, after in list_ends(hot, pace).items():
            hot[prefix] = await self.scanner.look(watched, prefix, tally, after)
        whole = watched.row.source_prefix
        hot = update_hot(hot, whole, hot.get(whole, ""), tally.newest)
        schedule, wait = after_poll(learnt, pace, self._clock.now(), tally.calls, hot)
        await self._record_scan(job, watched, schedule, wait, tally)

    def _pace(self, watched: WatchState) -> Pace:
        """Return how often to list: less often while events report what is new."""
        row, seconds = watched.row, watched.row.scan_seconds
        listens = self.listens(watched.connector.id)
        if listens:
            seconds = max(seconds, _get_event_setting(watched.connector, "sweep_seconds", _SWEEP_SECONDS))
        polls = watched.storage.capabilities.start_after and not listens
        return Pace(seconds, row.max_list_calls_per_hour, polls)

    async def _record_failure(
        self,
        job: Job,
        row: ImportAutomation,
        error: VvwatchError,
        calls: int,
        report: ScanReport | None = None,
    ) -> None:
        """Record a failed scan: the longer it fails, the later the next try and the rarer the report."""
        pace = Pace(row.scan_seconds, row.max_list_calls_per_hour, polls=False)
        pause = retry_pause(min(row.scan_seconds, _RETRY_SECONDS), row.failures)
        wait = after_failure(pace, jitter_seconds(pause, 0.1, self._sample()), calls)
        await self._database.write(
            automations.record_scan_failure, job, wait, error.message, error.hint, report
        )
        self._telemetry.emit("scan.failed", automation=row.id, connector=row.connector_id, error=error)

    async def _record_scan(
        self,
        job: Job,
        watched: WatchState,
        learnt: ScanSchedule,
        wait: float,
        tally: ScanStats,
        report: ScanReport | None = None,
        swept: Mapping[str, Any] | None = None,
    ) -> None:
        jitter = jitter_seconds(1.0, 0.1, self._sample())
        wait *= max(jitter, 1.0) if learnt.stretched else jitter  # never sooner than the budget allows
        await self._database.write(automations.record_scan, job, wait, learnt, report, swept)
        past = self._telemetry.over("scan.failed", automation=watched.row.id)
        if past is not None:
            self._telemetry.emit(
                "scan.recovered",
                automation=watched.row.id,
                failures=past.times,
                outage_seconds=round(past.lasted_seconds),
            )
        self._telemetry.emit(
            "scan.finished",
            automation=watched.row.id,
            listed=tally.listed,
            accepted=tally.accepted,
            skipped=tally.skipped,
            settling=tally.settling,
            list_calls=tally.calls,
            stretched=learnt.stretched,
            duration_seconds=round(self._clock.monotonic() - tally.started, 3),
        )

    async def on_queue_lost(self, connector_id: str) -> None:
        """Bring the connector's scans forward: its events no longer report anything."""
        await self._database.write(automations.bring_scans_forward, connector_id)

    async def notice(self, automation_id: str, hint: Hint) -> bool:
        """Follow a hint; return False if that fails now: the next scan finds the rest."""
        self._looking += 1
        try:
            return await self._follow(automation_id, hint)
        except VvwatchError as error:
            self._telemetry.emit("hint.failed", automation=automation_id, error=error)
            return False
        finally:
            self._looking -= 1

    async def _follow(self, automation_id: str, hint: Hint) -> bool:
        found = await self._database.read(automations.find_active, automation_id)
        if found is None:
            return False
        watched = await self._watch(*found)
        for prefix in _merge_prefixes(hint.rescan):
            narrowed = _narrow_prefix(watched.row.source_prefix, prefix)
            if narrowed is not None:
                await self.scanner.look(watched, narrowed, ScanStats())
        shown = watched.storage.notes.versions_shown
        named = () if shown else tuple(obj.key for obj in hint.objects)
        touched, _ = await self._look_up(watched, (*hint.keys, *named))
        returned = await self._mark_removed(watched, hint.removed)
        seen = [*(hint.objects if shown else ()), *touched, *returned]
        for start in range(0, len(seen), _TAKEN_AT_ONCE):
            await self._intake.take(watched, seen[start : start + _TAKEN_AT_ONCE], ScanStats())
        return True

    async def _mark_removed(self, watched: WatchState, keys: Sequence[str]) -> list[StorageObject]:
        """Mark known versions gone whose keys no longer exist; return the objects at the other keys.

        The ledger is read first: a version that arrives during the look-up is not one that went.
        """
        if not keys:
            return []
        scope_id = watched.row.scope_id
        known = await self._database.read(ledger.list_recorded, scope_id, keys)
        there, gone = await self._look_up(watched, keys)
        if removed := [pair for pair in known if pair[0] in gone]:
            await self._database.write(absences.mark_gone, scope_id, removed)
        return there

    async def _watch(self, row: ImportAutomation, connector: Connector) -> WatchState:
        """Return the automation's state, rebuilt when its settings changed."""
        known = self._watched.get(row.id)
        if known is not None and known.is_of(row, connector):
            known.row = row
            return known
        self._watched.pop(row.id, None)  # what was settling there has nobody to look at it, if opening fails
        watched = WatchState(
            row,
            connector,
            await self._open(connector),
            ObjectFilter.of(row),
            (row.import_mode_override or connector.import_mode) == "new_only",
        )
        self._watched[row.id] = watched
        return watched

    async def _open(self, connector: Connector) -> Storage:
        with self.scanner.unanswered.count_request(connector.id):
            return await anyio.to_thread.run_sync(self._open_storage, connector)

    async def _look_up(
        self, watched: WatchState, keys: Sequence[str]
    ) -> tuple[list[StorageObject], list[str]]:
        """Return the objects at the wanted keys, and the keys that do not exist."""
        found, gone = [], []
        wanted = list(filter(watched.covers, dict.fromkeys(keys)))
        results = await watched.storage.stat_each(wanted) if wanted else ()
        for key, result in zip(wanted, results, strict=True):
            if isinstance(result, StorageObject):
                found.append(result)
                continue
            watched.settling.pop(key, None)  # gone, or the next listing reports what is wrong with it
            if isinstance(result, ObjectNotFound):
                gone.append(key)
        return found, gone

    def settling(self) -> int:
        """Return how many objects are settling."""
        return sum(len(watched.settling) for watched in self._watched.values())

    def busy(self) -> bool:
        """Return whether a look is running, from its listing to its last accepted object."""
        return self._looking > 0

    async def settle(self) -> None:
        """Look again at settling objects, until cancelled."""
        while True:
            waits = [wait for watched in self._watched.values() for wait in self._waits(watched)]
            if waits:
                await self._clock.sleep(min(max(min(waits), 0.05), 1.0))
                await self._settle_all()
            else:
                self._intake.unsettled = anyio.Event()
                await self._intake.unsettled.wait()

    def _waits(self, watched: WatchState) -> list[float]:
        now = self._clock.monotonic()
        seconds = watched.row.settle_seconds
        return [remaining_seconds(sighting, seconds, now) for sighting in watched.settling.values()]

    async def _settle_all(self) -> None:
        now = self._clock.monotonic()
        for automation_id, watched in list(self._watched.items()):
            seconds = watched.row.settle_seconds
            due = {key: seen for key, seen in watched.settling.items() if is_settled(seen, seconds, now)}
            if not due:
                continue
            rescan = (watched.row.source_prefix,) if len(due) > _MOST_LOOKED_UP else ()
            done = await self.notice(automation_id, Hint(() if rescan else tuple(due), rescan))
            _restart_settling(watched, due, None if done else now)

    def forget(self) -> None:
        """Read the settings and open the storage of every automation again at its next look."""
        self._watched.clear()


def _get_event_setting(connector: Connector, name: str, usual: float) -> float:
    return float((connector.events or {}).get(name, usual))


def _restart_settling(watched: WatchState, due: Mapping[str, Sighting], now: float | None) -> None:
    """Handle due files that were not accepted: they are gone (`now` None), or settle again because the look failed."""
    for key, seen in due.items():
        if watched.settling.get(key) is seen:
            if now is None:
                del watched.settling[key]
            else:
                watched.settling[key] = seen._replace(since=now)


def _merge_prefixes(prefixes: Sequence[str]) -> list[str]:
    """Return the prefixes without those that another one covers."""
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return kept


def _narrow_prefix(source_prefix: str, prefix: str) -> str | None:
    """Return the part of `prefix` that the automation watches; None if there is none."""
    if prefix.startswith(source_prefix):
        return prefix
    return source_prefix if source_prefix.startswith(prefix) else None
