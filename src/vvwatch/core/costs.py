"""What watching a location takes before anything runs: list requests, money, and how late a new object is found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Final

from vvwatch.core.cadence import Pace, after_full

LISTED_AT_ONCE: Final = {"s3": 1_000, "gcs": 1_000, "azure": 5_000}
"""Provider to the most objects that a request lists (ListObjectsV2, objects.list, List Blobs); a folder needs none."""

HOURS_A_MONTH: Final = 730.0
_HOUR: Final = 3_600.0
_JITTER: Final = 0.1
"""How far a scan is moved to either side, as a fraction of its interval."""
_EVENT_SECONDS: Final = 5.0
"""Stores say that their events come within seconds, typically."""
_NOTICE_SECONDS: Final = 0.1
_ENDS: Final = {"": "the last key"}
"""What is supposed to be learnt where listings are stretched: that new keys come behind the last one."""


class Detection(StrEnum):
    """How changes are learnt of first."""

    EVENTS = "events"
    NOTICES = "notices"
    LISTING = "listing"


@dataclass(frozen=True, slots=True)
class Watch:
    """A location and how it is to be watched.

    `calls` is how many requests list it once, `sweep_seconds` the time between two listings with events that work,
    `polls` whether a listing can begin behind a key, `usd_per_call` the price of a request.
    """

    calls: int
    scan_seconds: float
    learnt_by: Detection = Detection.LISTING
    sweep_seconds: float = _HOUR
    settle_seconds: float = 0.0
    calls_per_hour: int | None = None
    polls: bool = False
    usd_per_call: float = 0.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What comes of it. `every_seconds` lie between two listings of everything, more than wanted when `stretched`.

    An object is found `typical_seconds` after it came, at worst `worst_seconds`: when its event was lost, or its key
    is not where new ones are looked for. Both tell nothing of the time that a listing takes.
    """

    every_seconds: float
    stretched: bool
    calls_per_hour: float
    usd_per_month: float
    typical_seconds: float
    worst_seconds: float

    @property
    def calls_per_day(self) -> float:
        """List requests in a day."""
        return 24 * self.calls_per_hour


def calls_of(provider: str, objects: int) -> int:
    """The least number of requests that list so many objects; 0 for a folder."""
    at_once = LISTED_AT_ONCE.get(provider)
    return 0 if at_once is None else max(ceil(objects / at_once), 1)


def forecast_calls(watch: Watch) -> Forecast:
    """What watching takes at the pace that is wanted, or at the one to which its budget stretches it."""
    listens = watch.learnt_by is Detection.EVENTS
    wanted = max(watch.scan_seconds, watch.sweep_seconds) if listens else watch.scan_seconds
    pace = Pace(wanted, watch.calls_per_hour, watch.polls and not listens)
    learnt, look_seconds = after_full(pace, 0.0, watch.calls, _ENDS)
    every = learnt.next_full_at or wanted
    early = {Detection.EVENTS: _EVENT_SECONDS, Detection.NOTICES: _NOTICE_SECONDS}
    return Forecast(
        every_seconds=every,
        stretched=learnt.stretched,
        calls_per_hour=learnt.calls_per_hour,
        usd_per_month=learnt.calls_per_hour * HOURS_A_MONTH * watch.usd_per_call,
        typical_seconds=early.get(watch.learnt_by, look_seconds / 2) + watch.settle_seconds,
        worst_seconds=every * (1 + _JITTER) + watch.settle_seconds,
    )
