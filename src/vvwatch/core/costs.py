"""Forecast what watching a location takes: list requests, money, and the delay until a new object is found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Final

from vvwatch.core.cadence import Pace, after_full

HOURS_A_MONTH: Final = 730.0
_HOUR: Final = 3_600.0
_JITTER: Final = 0.1
"""How far a scan time moves to either side, as a fraction of its interval."""
_EVENT_SECONDS: Final = 5.0
"""Stores say that their events come within seconds, typically."""
_NOTICE_SECONDS: Final = 0.1
_ENDS: Final = {"": "the last key"}
"""The assumption behind stretched listings: new keys sort after the last one."""


class Detection(StrEnum):
    """The first source of changes."""

    EVENTS = "events"
    NOTICES = "notices"
    LISTING = "listing"


@dataclass(frozen=True, slots=True)
class Watch:
    """A location and how to watch it.

    `calls` is the number of requests for one listing, `sweep_seconds` the time between listings with working events,
    `polls` whether a listing can begin after a key, `usd_per_call` the price of a request.
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
    """The forecast. `every_seconds` is the time between full listings, longer than wanted when `stretched`.

    An object is found `typical_seconds` after it arrives, at worst `worst_seconds`: its event was lost, or no poll
    covers its key. Neither includes the time that a listing takes.
    """

    every_seconds: float
    stretched: bool
    calls_per_hour: float
    usd_per_month: float
    typical_seconds: float
    worst_seconds: float

    @property
    def calls_per_day(self) -> float:
        """Return list requests per day."""
        return 24 * self.calls_per_hour


def calls_of(at_once: int | None, objects: int) -> int:
    """Return the least number of requests that list so many objects, `at_once` each; 0 for None, a folder."""
    return 0 if at_once is None else max(ceil(objects / at_once), 1)


def forecast_calls(watch: Watch) -> Forecast:
    """Return the forecast at the wanted pace, or at the pace that the budget allows."""
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
