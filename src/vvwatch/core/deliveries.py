"""The statuses of a webhook delivery, its signature, and the meaning of a receiver's response."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from enum import StrEnum
from typing import Final


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


def classify_status(status_code: int | None) -> Answer:
    """Return the meaning of a receiver's HTTP status; None is no response at all.

    Any 2xx is delivered, 410 ends all deliveries, everything else (redirects too) may be retried.
    """
    if status_code is not None and 200 <= status_code < 300:
        return Answer.DELIVERED
    return Answer.GONE if status_code == 410 else Answer.RETRY


def sign_body(secret: str, body: bytes) -> str:
    """Return `sha256=` and the hex HMAC-SHA256 of exactly the bytes sent; the whole secret is the key."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
