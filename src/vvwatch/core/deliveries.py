"""The state machine of a webhook delivery, and what a receiver's answer means for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from vvwatch.core import transitions


class DeliveryStatus(StrEnum):
    """Where a delivery stands; `retrying` waits for its next attempt."""

    PENDING = "pending"
    PROCESSING = "processing"
    DELIVERED = "delivered"
    FAILED = "failed"
    RETRYING = "retrying"


class Answer(StrEnum):
    """What one attempt came to; after `gone` the receiver wants nothing more."""

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
"""What the daemon does by itself. An attempt cut short by a crash goes on as `retrying`."""


PROBED_FROM: Final = 5
"""After so many failures in a row a receiver is asked now and then only, until it takes something."""

_LONGEST_PAUSE_SECONDS: Final = 3_600.0


def probe_pause(failures: int, delays: Sequence[float]) -> float | None:
    """Seconds in which a receiver that failed so often in a row is left alone; None: it need not be.

    As long as the `delays` of a single delivery, one after the other, but never longer than an hour.
    """
    if failures < PROBED_FROM or not delays:
        return None
    return min(delays[min(failures - PROBED_FROM, len(delays) - 1)], _LONGEST_PAUSE_SECONDS)


def check_transition(frm: str, to: DeliveryStatus) -> None:
    """Raises Conflict unless a delivery that is `frm` may become `to`."""
    transitions.check_status(TRANSITIONS, DeliveryStatus(frm), to)


def classify_status(status_code: int | None) -> Answer:
    """What a receiver's HTTP status means; None is no answer at all.

    Any 2xx is delivered, 410 asks never to be told again, all else (redirects too) may be retried.
    """
    if status_code is not None and 200 <= status_code < 300:
        return Answer.DELIVERED
    return Answer.GONE if status_code == 410 else Answer.RETRY
