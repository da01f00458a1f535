"""The limiters of processors, and fingerprints that reveal a changed configuration."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from vvwatch.config import Config
from vvwatch.core.events import canonical_json
from vvwatch.core.processors import SPEECH_ENDPOINT, Rates
from vvwatch.options.tables import Table
from vvwatch.ports import Clock
from vvwatch.processors.limiting import SharedLimiter
from vvwatch.store.db.database import Database
from vvwatch.store.db.encryption import SecretBox
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.pauses import Pauses, StoredQuota

_PURPOSE: Final = "processor fingerprints"


@dataclass
class Limiters:
    """Creates each processor's limiter once. `node` is this node's name if there are others, else empty."""

    database: Database
    clock: Clock
    telemetry: Telemetry
    pauses: Pauses
    node: str
    _made: dict[str, SharedLimiter] = field(default_factory=dict)

    def of(self, name: str, rates: Rates) -> SharedLimiter:
        """Return the limiter of the processor called `name`."""
        if name not in self._made:
            quota = StoredQuota(self.database, self.pauses, name, rates.in_flight, self.node)
            self._made[name] = SharedLimiter(rates, self.clock, quota, partial(self._tell_patience, name))
        return self._made[name]

    def in_flight(self) -> dict[str, int]:
        """Return how many calls are under way on this node, by processor."""
        return {name: limiter.in_flight for name, limiter in self._made.items()}

    def drain(self) -> None:
        """Start no more calls on this node."""
        for limiter in self._made.values():
            limiter.drain()

    def _tell_patience(self, name: str, seconds: float) -> None:
        self.telemetry.emit("processor.held_back", processor=name, seconds=round(seconds, 3))

    async def aclose(self) -> None:
        """Return this node's share of the common quota."""
        for limiter in self._made.values():
            await limiter.aclose()


def compute_fingerprints(config: Config, box: SecretBox) -> dict[str, str]:
    """Return a fingerprint of each processor's configuration, key and budgets; it reveals none of them.

    The endpoint that transcribes has one, too.
    """
    key = box.secret(_PURPOSE)
    found = {}
    speech = config.transcription.endpoint
    tables: dict[str, Table] = {**config.processors, **({SPEECH_ENDPOINT: speech} if speech else {})}
    for name, table in tables.items():
        secret = config.processor_secrets.get(name)
        document = {
            "table": table.model_dump(mode="json"),
            "budget": config.processing.budget.model_dump(mode="json"),
            "key": None if secret is None else secret.reveal(),
        }
        found[name] = hmac.new(key, canonical_json(document), hashlib.sha256).hexdigest()
    return found
