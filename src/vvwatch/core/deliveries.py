"""The state machine of a webhook delivery, and the meaning of a receiver's response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from vvwatch.core import transitions


class DeliveryStatus(StrEnum):
    """The state of a delivery; `retrying` waits for its next attempt."""

    PENDING = "pending"
    PROCESSING = "processing"
    DELIVERED = "delivered"
    FAILED = "failed"
    RETRYING = "retrying"


class Answer(StrEnum):
    """The outcome of one attempt; after `gone` the receiver wants no more deliveries."""

    DELIVERED = "delivered"
    RETRY = "retry"
    GONE = "gone"


_NOTHING: Final[frozenset[DeliveryStatus]] = frozenset()

TRANSITIONS: Final[Mapping[DeliveryStatus, frozenset[DeliveryStatus]]] = {
    DeliveryStatus.PENDING: frozenset({DeliveryStatus.PROCESSING, DeliveryStatus.FAILED}),
    DeliveryStatus.PROCESSING: frozenset(
        {DeliveryStatus.DELIVERED, DeliveryStatus.RETRYING, DeliveryStatus.FAILED}
    ),
    DeliveryStatus.RETRYING: frozenset({DeliveryStatus.PROCESSING, DeliveryStatus.FAILED}),
    DeliveryStatus.DELIVERED: _NOTHING,
    DeliveryStatus.FAILED: _NOTHING,
}
"""The daemon's transitions. An attempt cut short by a crash continues as `retrying`."""


PROBED_FROM: Final = 5
"""After this many failures in a row, probe a receiver only occasionally, until a delivery succeeds."""

_LONGEST_PAUSE_SECONDS: Final = 3_600.0


def probe_pause(failures: int, delays: Sequence[float]) -> float | None:
    """Return the seconds to leave a failing receiver alone; None: no pause.

    As long as all `delays` of one delivery together, at most an hour.
    """
    if failures < PROBED_FROM or not delays:
        return None
    return min(delays[min(failures - PROBED_FROM, len(delays) - 1)], _LONGEST_PAUSE_SECONDS)


def check_transition(frm: str, to: DeliveryStatus) -> None:
    """Raises Conflict unless a delivery that is `frm` may become `to`."""
    transitions.check_status(TRANSITIONS, DeliveryStatus(frm), to)


def classify_status(status_code: int | None) -> Answer:
    """Return the meaning of a receiver's HTTP status; None is no response at all.

    Any 2xx is delivered, 410 ends all deliveries, everything else (redirects too) may be retried.
    """
    if status_code is not None and 200 <= status_code < 300:
        return Answer.DELIVERED
    return Answer.GONE if status_code == 410 else Answer.RETRY
