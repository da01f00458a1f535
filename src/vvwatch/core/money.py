"""What calls cost, what they may cost, and what a run will cost: figures only, in US dollars and tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_MOST_USD: Final = 1e6
_MOST_TOKENS: Final = 10**12


class CallStatus(StrEnum):
    """How a call stands: `started` is one of which nobody knows yet how it ended."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call used. `cost_usd` None: nobody knows the price, which is not zero."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None

    def bounded(self) -> Usage:
        """Return it as it can be counted, whatever a program or an endpoint says that it used.

        No figure is less than nothing, or so large that sums of them do not fit; a cost that is no amount is unknown.
        """
        cost = self.cost_usd
        if cost is not None:
            cost = None if math.isnan(cost) else min(max(cost, 0.0), _MOST_USD)
        return Usage(_bound_tokens(self.input_tokens), _bound_tokens(self.output_tokens), cost)


def _bound_tokens(count: int) -> int:
    return min(max(count, 0), _MOST_TOKENS)


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in US dollars: per million tokens in and out, and per call."""

    input_usd_per_million: float = 0.0
    output_usd_per_million: float = 0.0
    usd_per_call: float = 0.0

    def cost_of(self, input_tokens: int, output_tokens: int) -> float:
        """Return what one call of so many tokens costs."""
        by_tokens = input_tokens * self.input_usd_per_million + output_tokens * self.output_usd_per_million
        return self.usd_per_call + by_tokens / 1_000_000


@dataclass(frozen=True, slots=True)
class Workload:
    """What a run is to process: media of one type, so many, so long, cut into so many segments at most."""

    media_type: str
    items: int
    seconds: float
    segments_at_least: int
    segments_at_most: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run will need at most. `cost_usd` None: a price is unknown, which is not zero."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0


def sum_forecasts(forecasts: Iterable[Forecast]) -> Forecast:
    """Return the sum; its cost is unknown where one of them is."""
    each = list(forecasts)
    costs = [forecast.cost_usd for forecast in each if forecast.cost_usd is not None]
    return Forecast(
        calls=sum(forecast.calls for forecast in each),
        input_tokens=sum(forecast.input_tokens for forecast in each),
        output_tokens=sum(forecast.output_tokens for forecast in each),
        cost_usd=sum(costs) if len(costs) == len(each) else None,
    )
