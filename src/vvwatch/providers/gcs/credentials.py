"""Check a service account's key file, and drop everything that could redirect the sign-in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from vvwatch.errors import InvalidInput

_KEYS: Final = ("type", "project_id", "private_key_id", "private_key", "client_email", "token_uri")
_TOKEN_URIS: Final = ("https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token")
_MAX_CHARACTERS: Final = 65_536
_MAX_KEY_CHARACTERS: Final = 4_096
"""Room for 4,096 bits, the most that Google takes; the time to check a key grows with the cube of its size."""
_HINT: Final = "use the JSON key file of a service account, as the Google Cloud console gives it"


def validate_credentials(text: str, *, any_token_uri: bool = False, token_host: str = "") -> str:
    """Return the service account in `text` as JSON, reduced to what signing in needs.

    Checking the private key takes 50 ms. `any_token_uri` allows token endpoints other than Google's, `token_host`
    those of one host. Raises InvalidInput with what is missing or wrong, and never any of the content.
    """
    data = _parse_object(text)
    if data.get("type") != "service_account":
        raise InvalidInput('the credentials are not of the type "service_account"', _HINT)
    missing = [key for key in _KEYS if not isinstance(data.get(key), str) or not data[key]]
    if missing:
        raise InvalidInput(f"the credentials lack {', '.join(missing)}", _HINT)
    if not any_token_uri and not _is_trusted(data["token_uri"], token_host):
        raise InvalidInput(
            "the token_uri of the credentials is not Google's", f"it should be {_TOKEN_URIS[0]}"
        )
    if load_key(data["private_key"]) is None:
        raise InvalidInput("the private_key of the credentials cannot be loaded", _HINT)
    return json.dumps({key: data[key] for key in _KEYS})


def _is_trusted(token_uri: str, token_host: str) -> bool:
    if token_uri in _TOKEN_URIS:
        return True
    try:
        return bool(token_host) and urlsplit(token_uri).hostname == token_host
    except ValueError:
        return False


def load_key(pem: str) -> RSAPrivateKey | None:
    """Return the private key in `pem`; None if Google cannot have issued it. Takes 50 ms."""
    if len(pem) > _MAX_KEY_CHARACTERS:
        return None
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPrivateKey) else None


def _parse_object(text: str) -> Mapping[str, Any]:
    """Return the JSON object in `text`. Parser errors carry the text, so none is chained."""
    try:
        data = json.loads(text) if len(text) <= _MAX_CHARACTERS else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise InvalidInput("the credentials are not a JSON object", _HINT)
    return data
