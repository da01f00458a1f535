"""Schedule full listings and polls of a location within a budget of list requests.

Only a full listing proves anything. If the budget does not allow one per interval, full listings become rarer. In
between, polls list only where new keys are likely: after the last key of all, and after the last keys of folders with
recent arrivals. Each listing pays for its requests by the wait that follows, so the budget holds over time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from vvwatch.core.retries import Patience

MOST_HOT: Final = 16
"""The most folders to poll between full listings."""

LONGEST_RETRY_SECONDS: Final = 300.0
"""The longest pause between attempts at a failing listing."""

_HOUR: Final = 3_600.0
_FULL_SHARE: Final = 0.5
_WORTH_POLLING: Final = 8
"""Poll only if a full listing costs at least this many polls; otherwise the budget goes to full listings."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The wanted seconds between full listings and the allowed list requests per hour (None: unlimited).

    `polls`: polling helps, because the store can list from a key on and no event queue reports new objects.
    """

    seconds: float
    calls_per_hour: int | None
    polls: bool


@dataclass(frozen=True, slots=True)
class ScanSchedule:
    """What past scans imply for the next one; moments are epoch seconds, None for never.

    `calls` is the cost of the last full listing, `calls_per_hour` the rate of full listings and polls together. `hot`
    maps prefixes, latest last, to the key after which to look for new ones.

    `since` and `covered` matter only to the first full listing after an edit: when objects count as new (None: since
    the automation was created), and the rules in force before (see `filters.rules_of`).
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
        """Return the schedule from its stored form."""
        return cls(**{name: value for name, value in (document or {}).items() if name in cls.__slots__})

    def document(self) -> dict[str, Any]:
        """Return the form that is stored."""
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

    def restart(self) -> ScanSchedule:
        """Return the schedule of an automation that was paused: its next scan is a full one, like its first."""
        return replace(self, full_at=None, next_full_at=None)

    def full_is_due(self, now: float) -> bool:
        """Return whether the next listing must be a full one. A clock that was set back makes it due."""
        if not self.stretched or self.full_at is None or self.next_full_at is None:
            return True
        return not self.full_at <= now < self.next_full_at


def after_full(pace: Pace, now: float, calls: int, hot: Mapping[str, str]) -> tuple[ScanSchedule, float]:
    """Return the schedule after a full listing of `calls` requests that ended `now`, and the pause in seconds."""
    budget, rate = pace.calls_per_hour, _calls_per_hour(calls, pace.seconds)
    if budget is None or rate <= budget:
        return ScanSchedule(now, now + pace.seconds, calls, rate, stretched=False, hot=hot), pace.seconds
    poll_calls = len(list_ends(hot, pace))
    is_polling = 0 < poll_calls * _WORTH_POLLING <= calls
    full_wait = next_look = _seconds_to_pay(calls, budget * (_FULL_SHARE if is_polling else 1.0))
    rate = _calls_per_hour(calls, full_wait)
    if is_polling:
        poll_wait = _poll_wait(pace, budget, poll_calls)
        rate += _calls_per_hour(poll_calls, poll_wait)
        next_look = min(full_wait, poll_wait)
    return ScanSchedule(now, now + full_wait, calls, rate, stretched=True, hot=hot), next_look


def after_poll(
    learnt: ScanSchedule, pace: Pace, now: float, calls: int, hot: Mapping[str, str]
) -> tuple[ScanSchedule, float]:
    """Return the schedule after a poll, and the seconds to the next look."""
    full = max((learnt.next_full_at or now) - now, 0.0)
    if pace.calls_per_hour is None or not pace.polls:
        return learnt, full
    return replace(learnt, hot=hot), min(full, _poll_wait(pace, pace.calls_per_hour, calls))


def after_failure(pace: Pace, wait_seconds: float, calls: int) -> float:
    """Return the seconds until the next attempt: `wait_seconds`, or longer to pay for the failed requests."""
    return (
        wait_seconds
        if pace.calls_per_hour is None
        else max(wait_seconds, _seconds_to_pay(calls, pace.calls_per_hour))
    )


def retry_pause(shortest_seconds: float, failures: int) -> float:
    """Return the seconds until the next attempt after `failures` failures in a row; the pause doubles each time."""
    return Patience(shortest_seconds, max(shortest_seconds, LONGEST_RETRY_SECONDS)).delay(failures)


def list_ends(hot: Mapping[str, str], pace: Pace) -> dict[str, str]:
    """Return the prefixes to poll, each with its start key: as many as the budget allows per interval.

    The first of `hot` is the whole location; folders that its poll covers are left out.
    """
    if not hot or not pace.polls:
        return {}
    (whole, last), *folders = hot.items()
    budget = pace.calls_per_hour or 0
    most = max(int(budget * (1 - _FULL_SHARE) * pace.seconds / _HOUR), 2) - 1
    behind = [(prefix, after) for prefix, after in reversed(folders) if after < last]
    return {whole: last, **dict(behind[:most])}


def update_hot(hot: Mapping[str, str], whole: str, last: str, newest: Mapping[str, str]) -> dict[str, str]:
    """Return `hot` after a look.

    `last` is the last key under the `whole` prefix, `newest` the last new key per folder, the latest folder last.
    Folders outside the prefix, or equal to it, need no entry.
    """
    folders = {prefix: after for prefix, after in hot.items() if prefix != whole}
    for folder, key in newest.items():
        if folder != whole and folder.startswith(whole):
            folders[folder] = max(key, folders.pop(folder, ""))
    kept = list(folders.items())[-MOST_HOT:]
    return {whole: max(last, hot.get(whole, "")), **dict(kept)}


def note_new_keys(newest: dict[str, str], keys: Iterable[str]) -> None:
    """Record the folders of new keys, the latest last, at most MOST_HOT."""
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


_PUBLIC: Final = {300.0: 60.0, 600.0: 120.0, 3_600.0: 300.0, 86_400.0: 900.0}
_FRACTION: Final = 5
_SHORTEST_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 900.0


def scan_seconds(quiet_seconds: float) -> float:
    """Return the seconds between two listings for a debounce interval: 1 to 900."""
    usual = min(max(quiet_seconds / _FRACTION, _SHORTEST_SECONDS), _LONGEST_SECONDS)
    return _PUBLIC.get(quiet_seconds, usual)


def jitter_seconds(seconds: float, fraction: float, sample: float) -> float:
    """Return `seconds` moved by up to `fraction` of it to either side; `sample` in [0, 1) says where."""
    return seconds * (1 + fraction * (2 * sample - 1))
