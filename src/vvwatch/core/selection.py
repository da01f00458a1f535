"""Decide for each new object whether it is picked up, and say why not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from vvwatch.core.cadence import ScanSchedule
from vvwatch.core.filters import WORTH_KNOWING, ObjectFilter, Reason, explain_reason
from vvwatch.core.objects import StorageObject

_NEVER_IMPORTED: Final = (Reason.OWN_OUTPUT, Reason.NEW_ONLY_KNOWN_KEY, Reason.EXISTING)


@dataclass(frozen=True, slots=True)
class SkippedObject:
    """What is at a key and is not picked up; `reason` is for machines, `detail` for people."""

    key: str
    version: str
    size_bytes: int
    reason: Reason
    detail: str


class Choice(NamedTuple):
    """The verdict on an object: `Reason.ACCEPTED` to pick it up; `detail` adds to `reason`, or is empty."""

    obj: StorageObject
    reason: Reason
    detail: str = ""

    def to_skipped(self) -> SkippedObject:
        """Return the object with its reason explained."""
        text = explain_reason(self.reason)
        detail = f"{text} ({self.detail})" if self.detail else text
        return SkippedObject(self.obj.key, self.obj.version, self.obj.size_bytes, self.reason, detail)


@dataclass(frozen=True, slots=True)
class Baseline:
    """Separates objects that existed before an automation began, for one that imports only later objects.

    `began_at` is a moment of the store's clock, which dates the objects. What the rules before the last edit
    (`covered`) wanted already does not count as existing: it was not taken yet.
    """

    began_at: float
    covered: ObjectFilter | None

    @classmethod
    def of(cls, schedule: ScanSchedule, created_at: float, store_seconds: float) -> Baseline:
        """Return the baseline of an automation; `store_seconds` is how far the store's dates are ahead of ours."""
        began_at = created_at if schedule.since is None else schedule.since
        return cls(began_at + store_seconds, ObjectFilter(*schedule.covered) if schedule.covered else None)

    def is_existing(self, obj: StorageObject) -> bool:
        """Return whether the object existed before the automation began."""
        return obj.changed_at < self.began_at and not (self.covered and self.covered.wants(obj))


class KnownKeys(NamedTuple):
    """Keys that have or had a version: `taken`, or `awaited` while its import may still fail."""

    taken: Collection[str] = ()
    awaited: Collection[str] = ()

    def has(self, key: str) -> bool:
        """Return whether `key` is one of them."""
        return key in self.taken or key in self.awaited


class Facts(NamedTuple):
    """What the rules must know of some objects beside themselves.

    `own` are the keys of our outputs, `earlier` the keys that had a version, where only first versions count.
    """

    own: Collection[str] = ()
    earlier: KnownKeys = KnownKeys()
    baseline: Baseline | None = None


class Selected(NamedTuple):
    """The choices on some objects, in their order. `earlier` is that of the facts."""

    choices: Sequence[Choice] = ()
    earlier: KnownKeys = KnownKeys()

    def list_wanted(self) -> list[StorageObject]:
        """Return the objects to pick up."""
        return [each.obj for each in self.choices if each.reason is Reason.ACCEPTED]

    def list_never_imported(self) -> list[StorageObject]:
        """Return the objects that the ledger may record as known and not to be imported."""
        final = [each.obj for each in self.choices if each.reason in _NEVER_IMPORTED]
        return [obj for obj in final if obj.key not in self.earlier.awaited]

    def list_sidecars(self) -> list[SkippedObject]:
        """Return the captions, which go with media."""
        return [each.to_skipped() for each in self.choices if each.reason is Reason.SIDECAR]

    def list_skipped(self) -> list[SkippedObject]:
        """Return the objects whose reason matters to the person who put them there."""
        return [each.to_skipped() for each in self.choices if each.reason in WORTH_KNOWING]


def is_worth_examining(rules: ObjectFilter, key: str) -> bool:
    """Return whether more than its name decides, or its owner is informed."""
    verdict = rules.name_verdict(key)
    return verdict.accepted or verdict.reason in WORTH_KNOWING or verdict.reason is Reason.SIDECAR


def choose(rules: ObjectFilter, obj: StorageObject, facts: Facts) -> Choice:
    """Return the verdict on an object: our own output, else the filter's, else first versions and the baseline."""
    if obj.key in facts.own:
        return Choice(obj, Reason.OWN_OUTPUT)
    verdict = rules.verdict(obj)
    if not verdict.accepted:
        return Choice(obj, verdict.reason, verdict.detail)
    if facts.earlier.has(obj.key):
        return Choice(obj, Reason.NEW_ONLY_KNOWN_KEY)
    if facts.baseline is not None and facts.baseline.is_existing(obj):
        return Choice(obj, Reason.EXISTING)
    return Choice(obj, Reason.ACCEPTED)
