"""Google tokens by the SDK, restricted to one caller at a time, one attempt and no busy loop."""

from __future__ import annotations

import io
import re
import time
from typing import Any, Final

import aiohttp
from anyio import Lock
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from gcloud.aio.auth import AioSession, Token
from gcloud.aio.auth.token import Type

from vvwatch.errors import CredentialsRefused, StorageUnavailable
from vvwatch.providers.gcs.credentials import load_key
from vvwatch.providers.gcs.errors import ServiceRefusal, unexpected_response
from vvwatch.providers.replies import NoRedirects, new_session

_SCOPES: Final = ("https://www.googleapis.com/auth/devstorage.read_write",)
_TIMEOUT_SECONDS: Final = 10
_NO_IDENTITY: Final = (
    "set GOOGLE_APPLICATION_CREDENTIALS to a readable key file, run on a machine that has a service account, "
    "or give the connector credentials"
)


class GcsToken(Token):
    """The SDK's token for a service account's JSON, or for the machine's identity if None.

    Reads files and takes 50 ms: create it in a worker thread. Raises CredentialsRefused. The SDK itself would parse
    the private key for each token, share a fetch with callers that may be cancelled, and try five times.
    """

    def __init__(self, credentials: str | None) -> None:
        try:
            super().__init__(None if credentials is None else io.StringIO(credentials), scopes=[*_SCOPES])
            if "private_key" in self.service_data:
                self.service_data["private_key"] = _load_key(self.service_data["private_key"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            raise CredentialsRefused("this machine's own credentials cannot be read", _NO_IDENTITY) from None
        self._turn = Lock(fast_acquire=True)

    def attach(self, connector: aiohttp.TCPConnector, proxy: str | None) -> None:
        """Fetch tokens through `connector`; only the machine's metadata server bypasses the proxy."""
        through: dict[str, Any] = {"connector": connector, "connector_owner": False, "proxy": proxy}
        if self.token_type is Type.GCE_METADATA:
            through = {}
        self._sign_in = NoRedirects(new_session(tokens=True, **through))
        self.session = AioSession(self._sign_in)  # type: ignore[arg-type]  # typed for its other build

    async def close(self) -> None:
        """Close the connections of `attach`."""
        await self._sign_in.close()

    async def ensure_token(self) -> None:
        """Fetch a token unless the present one lasts. Raises StorageUnavailable, ServiceRefusal, aiohttp's errors."""
        async with self._turn:
            if time.time() >= self.access_token_refresh_after:
                await self._fetch()

    async def _fetch(self) -> None:
        try:
            fresh = await self.refresh(timeout=_TIMEOUT_SECONDS)
        except aiohttp.ClientHttpProxyError:
            raise
        except aiohttp.ClientResponseError as error:
            raise _translate_refusal(error) from None
        except aiohttp.ClientConnectorError:
            if self.token_type is Type.GCE_METADATA:
                raise CredentialsRefused("this machine has no credentials of its own", _NO_IDENTITY) from None
            raise
        except (LookupError, ValueError, TypeError):
            raise unexpected_response("signing in") from None
        self.access_token = fresh.value
        self.access_token_refresh_after = int(time.time() + fresh.expires_in * self.force_refresh_after)


def _load_key(pem: str) -> RSAPrivateKey:
    key = load_key(pem)
    if key is None:
        raise ValueError("no private key")
    return key


def _translate_refusal(error: aiohttp.ClientResponseError) -> StorageUnavailable | ServiceRefusal:
    """Return why there is no token; the SDK's error holds the whole response in its message."""
    if error.status < 400:
        return unexpected_response("signing in")
    if error.status in (408, 429) or error.status >= 500:
        return ServiceRefusal(error.status)
    code = re.search(r'"error"\s*:\s*"(\w{1,40})"', error.message)
    hint = "the key may be deleted, disabled or expired: make a new one for the service account"
    if "iat and exp" in error.message:
        hint = "the clock of this machine is wrong: set it"
    return CredentialsRefused(f"signing in was refused: {code[1] if code else error.status}", hint)
