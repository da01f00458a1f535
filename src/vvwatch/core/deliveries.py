"""The statuses of a webhook delivery, its signature, and the meaning of a receiver's response."""

from __future__ import annotations

import base64
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


SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # the start of every one
"""The start of the secrets of Standard Webhooks."""

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


def sign_message(secret: str, message_id: str, sent_at: int, body: bytes) -> str:
    """Return `v1,` and the base64 signature of Standard Webhooks; `sent_at` is in epoch seconds.

    The key of a secret that is `whsec_` and base64 is what the base64 encodes, as verifiers read it. The key of any
    other secret is the whole text: its receiver gives a verifier `whsec_` and the base64 of the text.
    """
    message = f"{message_id}.{sent_at}.".encode() + body
    digest = hmac.new(_decode_secret(secret), message, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def signature_headers(secret: str, message_id: str, sent_at: int, body: bytes) -> dict[str, str]:
    """Return the headers that sign exactly the bytes sent, in both schemes; `sent_at` is in epoch seconds."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": sign_message(secret, message_id, sent_at, body),
        "X-Webhook-Signature": sign_body(secret, body),
    }


def _decode_secret(secret: str) -> bytes:
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        return base64.b64decode(encoded, validate=True) if encoded != secret else secret.encode()
    except ValueError:
        return secret.encode()
