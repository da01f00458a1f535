"""Sign webhooks, so receivers can verify their origin."""

from __future__ import annotations

import hashlib
import hmac


def sign_body(secret: str, body: bytes) -> str:
    """Return `sha256=` and the hex HMAC-SHA256 of exactly the bytes sent; the whole secret is the key."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
