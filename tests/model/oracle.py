"""What must be true of watching, said as simply as it can be: it knows the store's whole past and reads the outcome.

It shares no code with what it judges: matching is spelt out here, and the database is read as plain tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.clock import FakeClock
from tests.model.cloud import Life, Store
from vvwatch.core.changes import EventKind
from vvwatch.core.objects import StorageObject
from vvwatch.ports import Message

if TYPE_CHECKING:
    from tests.model.world import InlineDatabase

_MANIFESTS = """
select f.id, w.automation_id, w.id, f.key, f.version, f.status
from import_files f join windows w on w.import_job_id = f.job_id
"""
_WINDOWS = "select id, automation_id, state, object_count, reason from windows"
_MEDIA = """
select m.id, j.automation_id, m.key, m.version from media m join import_jobs j on j.id = m.import_job_id
"""
_LEDGER = """
select o.key, o.version from objects o join import_automations a on a.scope_id = o.scope_id where a.id = 'auto_{}'
"""
_WAITING = """
select (select count(*) from windows where state = 'open')
     + (select count(*) from import_files where status = 'pending')
"""
_LAST_SWEEP = """
select complete, created, changed, recovered from reconciles where automation_id = 'auto_{}' order by seq desc limit 1
"""
_HOUSEKEEPING_SECONDS = 130.0
"""Between two looks after what is overdue, as long as rounds make it, and the grace that the look gives."""


@dataclass(frozen=True)
class Rules:
    """What one automation wants."""

    prefix: str
    pattern: str
    recursive: bool
    enabled: bool = True
    paused: bool = False
    scan_seconds: float = 200.0

    @property
    def active(self) -> bool:
        return self.enabled and not self.paused

    def want(self, key: str, size_bytes: int) -> bool:
        """Whether they are for this object; patterns are `*`, `*.EXTENSION` and `NAME*` here."""
        rest, name = key[len(self.prefix) :], key.rpartition("/")[2]
        return (
            key.startswith(self.prefix)
            and (self.recursive or "/" not in rest)
            and size_bytes > 0
            and not name.startswith(".")
            and name.endswith((".mp4", ".mov"))
            and re.fullmatch(self.pattern.replace(".", r"\.").replace("*", ".*"), name) is not None
        )


@dataclass(frozen=True)
class Evidence:
    """Something the watcher learnt at a step: a whole sweep of one automation, or an event of one key.

    `sure`: it must have drawn the conclusion from it, if only once more.
    """

    step: int
    which: int | None
    key: str | None
    kind: str
    sure: bool


@dataclass
class Seen:
    """A window as it was seen last: when it was first seen, and when something joined it."""

    automation: str
    opened_at: float
    changed_at: float
    count: int
    state: str = "open"


@dataclass
class Oracle:
    """Holds what happened against what came of it. AssertionError tells the difference."""

    store: Store
    clock: FakeClock
    quiet_seconds: float
    max_wait_seconds: float
    round_seconds: float
    rules: list[Rules] = field(default_factory=list)
    rules_before: list[Rules] = field(default_factory=list)
    manifests: dict[int, tuple[str, str]] = field(default_factory=dict)
    media: dict[str, tuple[int, str, str, int]] = field(default_factory=dict)
    windows: dict[str, Seen] = field(default_factory=dict)
    evidence: list[Evidence] = field(default_factory=list)
    accepted: int = 0
    _looked_at: int = -1
    _disturbed_at: float = float("-inf")
    _hindered_at: float = float("-inf")
    _held: set[str] = field(default_factory=set)

    def disturbed(self) -> None:
        """A clock was set, or a person stepped in: deadlines count from here anew."""
        self._disturbed_at = self._hindered_at = self.clock.mono

    def hindered(self) -> None:
        """Jobs were lost: deadlines hold, and are kept by the next look after what is overdue."""
        self._hindered_at = self.clock.mono

    def steered(self, automation: str, how: str) -> None:
        """A person held, released or fired the open window of an automation."""
        self.disturbed()
        if how == "hold":
            self._held.add(automation)
        else:
            self._held.discard(automation)

    def look(self, database: InlineDatabase) -> None:
        """Read what is new and hold it against the past."""
        if self._looked_at == database.writes:
            return
        self._see_windows(database)
        self._see_manifests(database)
        self._see_media(database)
        self._looked_at = database.writes

    def _see_manifests(self, database: InlineDatabase) -> None:
        for file, automation, window, key, version, status in rows(database, _MANIFESTS):
            if self.manifests.get(file, ("", ""))[1] == version or (
                status == "skipped" and file not in self.manifests
            ):
                continue
            self.manifests[file] = (key, version)
            self.accepted += 1
            self.windows[window].changed_at = self.clock.mono
            self._check_wanted(int(automation.removeprefix("auto_")), key, version)

    def _check_wanted(self, which: int, key: str, version: str) -> None:
        lives = [life for life in self.store.lives if (life.key, life.version) == (key, version)]
        assert lives, f"{key} {version} never stood there"
        either = (self.rules_before[which], self.rules[which])
        assert any(rules.active and rules.want(key, lives[0].size_bytes) for rules in either), (
            f"{key} {version} was not wanted by {either}"
        )

    def _see_media(self, database: InlineDatabase) -> None:
        for name, automation, key, version in rows(database, _MEDIA):
            if name in self.media:
                continue
            which = int(automation.removeprefix("auto_"))
            self.media[name] = (which, key, version, self.store.step)
            times = sum(each[:3] == (which, key, version) for each in self.media.values())
            most = self._most(which, key, version)
            assert times <= most, (
                f"{key} {version} was imported {times} times by {which}, at most {most} are right"
            )

    def _most(self, which: int, key: str, version: str) -> int:
        """Once, and once more for each time it was gone and the watcher could know."""
        lives = self._lives(key, version)
        return 1 + sum(self._known_gone(which, *both) for both in pairwise(lives))

    def _lives(self, key: str, version: str) -> list[Life]:
        return [life for life in self.store.lives if (life.key, life.version) == (key, version)]

    def _known_gone(self, which: int, before: Life, after: Life) -> bool:
        """Whether anything was looked at or told while the version was away."""
        assert before.died is not None
        learnt = self._learnt(which, before)
        return any(before.died <= evidence.step <= after.born for evidence in learnt)

    def _surely_gone(self, which: int, before: Life, after: Life) -> bool:
        """Whether it must have been concluded that the version is gone.

        Two whole sweeps in a row did not find its key, and nothing was told of it meanwhile; or the last that there
        was to tell, its removal, was followed.
        """
        assert before.died is not None
        learnt = [e for e in self._learnt(which, before) if before.died <= e.step <= after.born]
        sweeps = [e for e in learnt if e.kind == "sweep"]
        if len(sweeps) == len(learnt):
            return sum(e.sure and before.died < e.step < after.born for e in sweeps) >= 2 and all(
                e.sure for e in sweeps
            )
        told = [e for e in learnt if e.kind != "sweep"]
        return len(told) == 1 and told[0].kind == EventKind.REMOVED and told[0].sure

    def _learnt(self, which: int, life: Life) -> list[Evidence]:
        return [e for e in self.evidence if e.which in (which, None) and e.key in (life.key, None)]

    def listed(self, database: InlineDatabase, which: int, *, sure: bool) -> None:
        """A whole listing was processed: what it showed and the rules want is in the ledger."""
        rules, shown = self.rules[which], {obj.key for obj in self.store.shown}
        for key in {life.key for life in self.store.lives} - shown:
            if key.startswith(rules.prefix):
                concludes = sure and rules.want(key, 1) and bool(shown)
                self.evidence.append(Evidence(self.store.step, which, key, "sweep", concludes))
        self._check_recorded(
            database, which, [o for o in self.store.shown if self.store.stands.get(o.key) == o]
        )

    def acknowledged(self, database: InlineDatabase, message: Message, latest: Mapping[str, str]) -> None:
        """A message is deleted: what it told of is in the ledger, unless more happened to the key since.

        An automation that was edited or taken up meanwhile lists everything, and need not have heard of it.
        """
        for event in message.events:
            key, last = event.keys[0], latest[event.keys[0]] == event.sequencer
            for which, rules in enumerate(self.rules):
                sure = last and rules.active and rules.want(key, 1)
                self.evidence.append(Evidence(self.store.step, which, key, event.kind.value, sure))
                stands = last and event.kind is EventKind.CREATED and key in self.store.stands
                if stands and rules == self.rules_before[which]:
                    self._check_recorded(database, which, [self.store.stands[key]])

    def _check_recorded(self, database: InlineDatabase, which: int, seen: list[StorageObject]) -> None:
        rules = self.rules[which]
        if not rules.active:
            return
        recorded = set(rows(database, _LEDGER.format(which)))
        missing = [o for o in seen if rules.want(o.key, o.size_bytes) and (o.key, o.version) not in recorded]
        assert not missing, f"seen, wanted and not in the ledger of {which}: {missing}"

    def check_quiet(self, database: InlineDatabase) -> None:
        """The last sweep of each automation was whole and found a gap of 0."""
        for which in range(len(self.rules)):
            [last] = rows(database, _LAST_SWEEP.format(which))
            assert last == (1, 0, 0, 0), f"complete, created, changed and recovered of {which}: {last}"

    def check_complete(self, database: InlineDatabase) -> None:
        """Everything that stands and is wanted was imported, in this life or in one that nobody could tell from it."""
        for which, rules in enumerate(self.rules):
            for key, standing in self.store.stands.items():
                if rules.want(key, standing.size_bytes):
                    assert self._is_represented(which, standing), (
                        f"{key} {standing.version} is missing in {which}"
                    )

    def _is_represented(self, which: int, standing: StorageObject) -> bool:
        lives = self._lives(standing.key, standing.version)
        steps = [
            step
            for w, k, v, step in self.media.values()
            if (w, k, v) == (which, standing.key, standing.version)
        ]
        for position in range(len(lives) - 1, -1, -1):
            life = lives[position]
            if any(life.born <= step <= (step if life.died is None else life.died) for step in steps):
                return True
            if position and self._surely_gone(which, lives[position - 1], life):
                return False
        return False

    def _see_windows(self, database: InlineDatabase) -> None:
        now = self.clock.mono
        for window, automation, state, count, reason in rows(database, _WINDOWS):
            seen = self.windows.setdefault(window, Seen(automation, now, now, count))
            if seen.count != count:
                seen.count, seen.changed_at = count, now
            if seen.state == "open" and state == "closed":
                self._check_not_early(seen, reason)
            seen.state = state

    def _check_not_early(self, seen: Seen, reason: str) -> None:
        assert reason == "manual" or seen.automation not in self._held, (
            f"{seen} is held, and closed: {reason}"
        )
        if reason not in ("quiet", "max_wait") or self._disturbed_at >= seen.opened_at:
            return
        quiet = self.clock.mono - seen.changed_at
        whole = self.clock.mono - seen.opened_at
        assert quiet >= self.quiet_seconds or whole >= self.max_wait_seconds, f"{seen} closed early: {reason}"

    def waits(self, database: InlineDatabase) -> bool:
        """Whether a window is open or a file is still to be imported."""
        return rows(database, _WAITING) != [(0,)]

    def check_deadlines(self) -> None:
        """After time and the engine: no window is overdue by more than a round, or by a look after lost jobs."""
        now = self.clock.mono
        for window, seen in self.windows.items():
            active = self.rules[int(seen.automation.removeprefix("auto_"))].active
            if seen.state != "open" or not active or seen.automation in self._held:
                continue
            grace = self.round_seconds + (_HOUSEKEEPING_SECONDS if self._hindered_at >= seen.opened_at else 0)
            quiet = now - max(seen.changed_at, self._disturbed_at)
            whole = now - max(seen.opened_at, self._disturbed_at)
            assert quiet <= self.quiet_seconds + grace, f"{window} of {seen} is {quiet:.0f} s quiet and open"
            assert whole <= self.max_wait_seconds + grace, f"{window} of {seen} is {whole:.0f} s open"


def rows(database: InlineDatabase, sql: str) -> list[tuple[Any, ...]]:
    """What the tables say, past all code of the store."""
    with database._reader.begin() as conn:
        return [tuple(row) for row in conn.exec_driver_sql(sql)]
