"""Prices, usage and forecasts, in US dollars and tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_MOST_USD: Final = 1e6
_MOST_TOKENS: Final = 10**12


class CallStatus(StrEnum):
    """The state of a call; the outcome of a `started` one is still unknown."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Usage:
    """The use of a call. `cost_usd` None: the price is unknown, which is not zero."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None

    def clamp(self) -> Usage:
        """Return it within countable bounds, whatever a program or an endpoint reports.

        No figure is negative or so large that sums overflow; a cost that is not a number is unknown.
        """
        cost = self.cost_usd
        if cost is not None:
            cost = None if math.isnan(cost) else min(max(cost, 0.0), _MOST_USD)
        return Usage(_bound_tokens(self.input_tokens), _bound_tokens(self.output_tokens), cost)


def _bound_tokens(count: int) -> int:
    return min(max(count, 0), _MOST_TOKENS)


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a model in US dollars: per million tokens in and out, and per call."""

    input_usd_per_million: float = 0.0
    output_usd_per_million: float = 0.0
    usd_per_call: float = 0.0

    def cost_of(self, input_tokens: int, output_tokens: int) -> float:
        """Return the cost of one call of so many tokens."""
        by_tokens = input_tokens * self.input_usd_per_million + output_tokens * self.output_usd_per_million
        return self.usd_per_call + by_tokens / 1_000_000


@dataclass(frozen=True, slots=True)
class Workload:
    """The media of one type that a run processes: their number, length and possible segment counts."""

    media_type: str
    items: int
    seconds: float
    segments_at_least: int
    segments_at_most: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """The most that a run will need. `cost_usd` None: a price is unknown, which is not zero."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0


def sum_forecasts(forecasts: Iterable[Forecast]) -> Forecast:
    """Return the sum; its cost is unknown if one of them is."""
    each = list(forecasts)
    costs = [forecast.cost_usd for forecast in each if forecast.cost_usd is not None]
    return Forecast(
        calls=sum(forecast.calls for forecast in each),
        input_tokens=sum(forecast.input_tokens for forecast in each),
        output_tokens=sum(forecast.output_tokens for forecast in each),
        cost_usd=sum(costs) if len(costs) == len(each) else None,
    )
