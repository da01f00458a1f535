"""What all items of one upstream share: its terms, its prompts, and the waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

import anyio

from vvwatch.core.retries import backoff_seconds
from vvwatch.errors import ProcessorRefused
from vvwatch.ports import Clock
from vvwatch.processors.videovector.prompts import Prompts
from vvwatch.processors.videovector.upstream import Upstream

_POLL_CAP_SECONDS = 30.0


class Overdue(ProcessorRefused):
    """Raised when the upstream does not finish in time."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of using the upstream.

    `connectors` maps the ids of our connectors to the upstream's over the same stores; `prompt_id` is a prompt there
    that replaces all of ours; `model` is the default model. An item that has not ended after `deadline_seconds` is
    given up. `usd_per_mt` None: the price of the upstream's unit is unknown.
    """

    index_id: str
    connectors: Mapping[str, str] = field(default_factory=dict)
    prompt_id: str | None = None
    model: str | None = None
    deadline_seconds: float = 43_200.0
    poll_seconds: float = 2.0
    segment_retries: int = 1
    uploads_in_flight: int = 2
    usd_per_mt: float | None = None

    def cost_of(self, units: float | None) -> float | None:
        """Return the cost of the upstream's `units` in US dollars; None if unknown."""
        return None if units is None or self.usd_per_mt is None else units * self.usd_per_mt


@dataclass(frozen=True, slots=True)
class UpstreamService:
    """An upstream in use. `name` is that of the processor; `sample` gives random numbers below 1."""

    name: str
    upstream: Upstream
    prompts: Prompts
    terms: Terms
    uploads: anyio.CapacityLimiter
    clock: Clock
    sample: Callable[[], float]

    async def turns(self, since: float, what: str) -> AsyncIterator[int]:
        """Yield whenever `what` is due for another look, with growing pauses.

        Raises Overdue when it has not ended `deadline_seconds` after `since`.
        """
        for attempt in count():
            yield attempt
            if self.clock.now() - since > self.terms.deadline_seconds:
                message = f"{what} at {self.upstream.name} has not ended in {self.terms.deadline_seconds:g} s"
                raise Overdue(message, "raise deadline_seconds of the processor, or look at the upstream")
            pause = backoff_seconds(
                attempt,
                base_seconds=self.terms.poll_seconds,
                cap_seconds=max(_POLL_CAP_SECONDS, self.terms.poll_seconds),
                sample=self.sample(),
            )
            await self.clock.sleep(pause)
