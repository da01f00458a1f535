"""Tokens that grant a permission until a moment: `v1.<claims>.<signature>`, both in URL-safe base64.

A holder may do what the claims say, without a key. The signature alone proves a token, so nothing is stored, and
every node with the same secret accepts it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vvwatch.core.events import canonical_json
from vvwatch.errors import InvalidInput, TokenRefused

LONGEST: Final = 2048
"""The longest token, in characters."""

_VERSION: Final = "v1"
_EXPIRES_AT: Final = "expires_at"


def mint_token(secret: bytes, claims: Mapping[str, Any], expires_at: float) -> str:
    """Return the token of these claims, valid until `expires_at` (epoch seconds).

    Raises InvalidInput if it is too long.
    """
    signed = f"{_VERSION}.{_encode(canonical_json({**claims, _EXPIRES_AT: expires_at}))}"
    token = f"{signed}.{_sign(secret, signed)}"
    if len(token) > LONGEST:
        raise InvalidInput(f"a token has {LONGEST:,} characters at most, this one {len(token):,}")
    return token


def verify_token(secrets: Sequence[bytes], token: str, now: float) -> dict[str, Any]:
    """Return the claims of a valid, unexpired token signed with one of `secrets`. Raises TokenRefused."""
    signed, _, signature = token.rpartition(".")
    whole = len(token) <= LONGEST and token.isascii() and signed.startswith(f"{_VERSION}.")
    if not whole or not any(hmac.compare_digest(_sign(each, signed), signature) for each in secrets):
        raise TokenRefused("the token is not one of this server", "ask for a new address")
    claims = _read_claims(signed.removeprefix(f"{_VERSION}."))
    if now >= claims.pop(_EXPIRES_AT):
        raise TokenRefused("the token has expired", "ask for a new address")
    return claims


def _sign(secret: bytes, signed: str) -> str:
    return _encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _read_claims(text: str) -> dict[str, Any]:
    """Return the claims; only `mint_token` signs, so signed claims are well-formed."""
    try:
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        raise TokenRefused("the token is not one of this server", "ask for a new address") from None
    return claims
