"""When a location is listed in full, and what of it is polled meanwhile, so that a budget of requests is kept.

Only a full listing proves anything. Where the budget does not allow one at each interval, they are stretched, and in
between the ends are looked at where new keys are likely: behind the last key of all, and behind the last ones of the
folders in which keys came lately. What is spent is paid for afterwards, by waiting: over time the budget is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from vvwatch.core.retries import Patience

MOST_HOT: Final = 16
"""In how many folders at most new keys are looked for between full listings."""

LONGEST_RETRY_SECONDS: Final = 300.0
"""A listing that fails is tried at least so often."""

_HOUR: Final = 3_600.0
_FULL_SHARE: Final = 0.5
_WORTH_POLLING: Final = 8
"""Where a full listing costs less than so many looks at all ends, the budget is better spent on full ones."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What is wanted and allowed: seconds between full listings, list requests in an hour (None: any number).

    `polls`: looks at the ends are of use, since the store can list from a key on and no event tells of new ones.
    """

    seconds: float
    calls_per_hour: int | None
    polls: bool


@dataclass(frozen=True, slots=True)
class ScanSchedule:
    """What scans have learnt; moments are epoch seconds, None for never.

    `calls` is what the last full listing took, `calls_per_hour` what all takes at this pace. `hot` are prefixes, the
    latest last, each with the key behind which new ones are looked for.

    Only the first full listing after an edit has to know `since` when what comes counts as new, where that is not
    since the automation was made, and the rules that were `covered` before (see `filters.rules_of`).
    """

    full_at: float | None = None
    next_full_at: float | None = None
    calls: int = 0
    calls_per_hour: float = 0.0
    stretched: bool = False
    hot: Mapping[str, str] = field(default_factory=dict)
    since: float | None = None
    covered: Sequence[Any] | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> ScanSchedule:
        """As it was stored."""
        return cls(**{name: value for name, value in (document or {}).items() if name in cls.__slots__})

    def document(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "full_at": self.full_at,
            "next_full_at": self.next_full_at,
            "calls": self.calls,
            "calls_per_hour": self.calls_per_hour,
            "stretched": self.stretched,
            "hot": dict(self.hot),
            "since": self.since,
            "covered": self.covered,
        }

    def anew(self) -> ScanSchedule:
        """For an automation that stood still: its next listing is a full one, and like a first one."""
        return replace(self, full_at=None, next_full_at=None)

    def full_is_due(self, now: float) -> bool:
        """Whether the next look has to be a full listing; a clock that was set back is no excuse."""
        if not self.stretched or self.full_at is None or self.next_full_at is None:
            return True
        return not self.full_at <= now < self.next_full_at


def after_full(pace: Pace, now: float, calls: int, hot: Mapping[str, str]) -> tuple[ScanSchedule, float]:
    """What a full listing taught that took `calls` and ended `now`; and the seconds to the next look."""
    learnt = ScanSchedule(
        now, now + pace.seconds, calls, _calls_per_hour(calls, pace.seconds), stretched=False, hot=hot
    )
    budget = pace.calls_per_hour
    if budget is None or learnt.calls_per_hour <= budget:
        return learnt, pace.seconds
    looks = len(list_ends(hot, pace))
    polls = 0 < looks * _WORTH_POLLING <= calls
    wait = _seconds_to_pay(calls, budget * (_FULL_SHARE if polls else 1.0))
    learnt = replace(
        learnt, next_full_at=now + wait, calls_per_hour=_calls_per_hour(calls, wait), stretched=True
    )
    if not polls:
        return learnt, wait
    poll = _poll_wait(pace, budget, looks)
    both = learnt.calls_per_hour + _calls_per_hour(looks, poll)
    return replace(learnt, calls_per_hour=both), min(wait, poll)


def after_poll(
    learnt: ScanSchedule, pace: Pace, now: float, calls: int, hot: Mapping[str, str]
) -> tuple[ScanSchedule, float]:
    """As `after_full`, for a look at the ends."""
    full = max((learnt.next_full_at or now) - now, 0.0)
    if pace.calls_per_hour is None or not pace.polls:
        return learnt, full
    return replace(learnt, hot=hot), min(full, _poll_wait(pace, pace.calls_per_hour, calls))


def after_failure(pace: Pace, wait_seconds: float, calls: int) -> float:
    """Seconds until a look is tried again that would be after `wait_seconds`, were its requests for nothing."""
    return (
        wait_seconds
        if pace.calls_per_hour is None
        else max(wait_seconds, _seconds_to_pay(calls, pace.calls_per_hour))
    )


def retry_pause(shortest_seconds: float, failures: int) -> float:
    """Seconds until a listing is tried again that has failed so often in a row before: twice as long each time."""
    return Patience(shortest_seconds, max(shortest_seconds, LONGEST_RETRY_SECONDS)).delay(failures)


def list_ends(hot: Mapping[str, str], pace: Pace) -> dict[str, str]:
    """The prefixes to look at, each from which key on: as many as the budget allows at each interval.

    The first of `hot` is the whole; what its look shows is not asked for again.
    """
    if not hot or not pace.polls:
        return {}
    (whole, last), *folders = hot.items()
    budget = pace.calls_per_hour or 0
    most = max(int(budget * (1 - _FULL_SHARE) * pace.seconds / _HOUR), 2) - 1
    behind = [(prefix, after) for prefix, after in reversed(folders) if after < last]
    return {whole: last, **dict(behind[:most])}


def update_hot(hot: Mapping[str, str], whole: str, last: str, newest: Mapping[str, str]) -> dict[str, str]:
    """`hot` after a look: `last` is the last key it saw of the `whole` prefix, `newest` the last new key of folders.

    `newest` has the latest folder last; those outside the prefix, or equal to it, are in the whole already.
    """
    folders = {prefix: after for prefix, after in hot.items() if prefix != whole}
    for folder, key in newest.items():
        if folder != whole and folder.startswith(whole):
            folders[folder] = max(key, folders.pop(folder, ""))
    kept = list(folders.items())[-MOST_HOT:]
    return {whole: max(last, hot.get(whole, "")), **dict(kept)}


def note_new_keys(newest: dict[str, str], keys: Iterable[str]) -> None:
    """Note in which folders new keys came, the latest last; of no more than are of use."""
    for key in keys:
        folder = key[: key.rfind("/") + 1]
        newest[folder] = max(key, newest.pop(folder, ""))
        if len(newest) > MOST_HOT:
            del newest[next(iter(newest))]


def _seconds_to_pay(calls: float, calls_per_hour: float) -> float:
    return calls * _HOUR / calls_per_hour


def _calls_per_hour(calls: float, seconds: float) -> float:
    return calls * _HOUR / seconds


def _poll_wait(pace: Pace, budget: int, calls: int) -> float:
    return max(pace.seconds, _seconds_to_pay(calls, budget * (1 - _FULL_SHARE)))
