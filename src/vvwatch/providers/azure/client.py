"""Requests to one container of Azure Blob Storage, with the SDK's signing, retries and transport.

The SDK's own methods are not used: they parse a listing twice, hold whole blobs, and hide needed headers.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential
from azure.storage.blob.aio import ContainerClient, LinearRetry

from vvwatch.errors import CredentialsRefused, StorageUnavailable
from vvwatch.providers.azure.errors import (
    READ,
    Operation,
    RequestContext,
    ServiceRefusal,
    sign_in_failed,
    translate_errors,
)
from vvwatch.providers.azure.settings import address_of
from vvwatch.providers.replies import MOST_BYTES, MOST_REFUSAL_BYTES, new_session, read_beginning, read_body

_CONNECT_SECONDS: Final = 10
_READ_SECONDS: Final = 60
_RETRIES: Final = 2
_WAIT_SECONDS: Final = 0.5
_PUBLIC_AUTHORITY: Final = "https://login.microsoftonline.com"
NOTHING_IN_RANGE: Final = 416

logging.getLogger("azure").setLevel(logging.WARNING)  # below, it has several lines for each request
logging.getLogger("azure.identity").setLevel(logging.ERROR)  # failures there are raised and reported by us


@dataclass(frozen=True, slots=True)
class AzureLocation:
    """A container. `endpoint_url` is the address of its account, `authority_url` that of Entra ID.

    Empty addresses mean the public cloud; `ca_file` and `proxy` apply to both.
    """

    storage_account: str
    container: str
    endpoint_url: str = ""
    authority_url: str = ""
    ca_file: str = ""
    proxy: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AzureClientSecret:
    """The secret of an Entra ID application, which obtains tokens."""

    tenant_id: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AzureAccountKey:
    """A key of the storage account, with full access."""

    account_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the container, or to the blob at `key`; without a body when `content` is None."""

    method: str
    key: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None


class AzureClient:
    """Requests to one container. `credentials` None: the machine's identity.

    Needs no event loop until the first request. Reads files: create it in a worker thread. Raises CredentialsRefused
    for credentials that are unusable or would travel unencrypted, StorageUnavailable if the CA file is unreadable.
    """

    def __init__(
        self, location: AzureLocation, credentials: AzureClientSecret | AzureAccountKey | None
    ) -> None:
        self.address = address_of(location.storage_account, location.container, location.endpoint_url)
        self._by_key = isinstance(credentials, AzureAccountKey)
        self._container_url = self.address.base.removesuffix("/")
        account_url = self._container_url.removesuffix(f"/{location.container}")
        tls = _tls_setting(location.ca_file)
        self._tokens: _Tokens | None = None
        if isinstance(credentials, AzureAccountKey):
            key = {"account_name": location.storage_account, "account_key": credentials.account_key}
        else:
            self._tokens = _open_tokens(location, credentials, account_url, tls)
        self._client = ContainerClient(
            account_url,
            location.container,
            credential=self._tokens or key,
            transport=_open_transport(tls, tokens=False),
            retry_policy=_retry_policy(),
            proxies=_find_proxies(account_url, location.proxy),
            permit_redirects=False,
        )
        self._pipeline = self._client._client._client  # noqa: SLF001 - nothing public sends a request of one's own

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.close()
        if self._tokens:
            await self._tokens.close()

    def asked(self, operation: Operation, key: str = "") -> RequestContext:
        """Return the context of a request; without a key it concerns the container."""
        return RequestContext(operation, self.address.of(key) if key else self._container_url, self._by_key)

    @asynccontextmanager
    async def answer(self, operation: Operation, request: Request) -> AsyncIterator[AsyncHttpResponse]:
        """Yield the response with its body in transfer, also one with an empty range.

        Raises StorageError for any other unsuccessful response, and for none.
        """
        asked = self.asked(operation, request.key)
        with translate_errors(asked):
            response = await self._pipeline.send_request(self._build_request(request), stream=True)
        try:
            if response.status_code >= 300 and response.status_code != NOTHING_IN_RANGE:
                await self._require_there(request, response.status_code)
                with translate_errors(asked):
                    raise ServiceRefusal(response.status_code, response.headers)
            yield response
        finally:
            await response.close()

    async def _require_there(self, request: Request, status: int) -> None:
        """Raise ObjectNotFound if a missing blob is why a condition failed; Azure does not say."""
        if status == 412 and "If-Match" in request.headers:
            async with self.answer(READ, Request("HEAD", request.key)):
                return

    async def chunks(
        self, operation: Operation, key: str, response: AsyncHttpResponse
    ) -> AsyncGenerator[bytes]:
        """Yield the body as it arrives, undecoded. Raises StorageUnavailable if it breaks off."""
        with translate_errors(self.asked(operation, key)):
            async for chunk in response.iter_raw():
                yield chunk

    async def whole(self, operation: Operation, key: str, response: AsyncHttpResponse) -> bytes:
        """Return the whole body within the limits, or the start of a refusal. Raises StorageUnavailable."""
        with translate_errors(self.asked(operation, key)):
            chunks = self.chunks(operation, key, response)
            if response.status_code >= 300:
                return await read_beginning(chunks, MOST_REFUSAL_BYTES)
            return await read_body(chunks, MOST_BYTES)

    def _build_request(self, request: Request) -> HttpRequest:
        path = f"/{quote(request.key)}" if request.key else ""
        query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
        headers = {"x-ms-version": self._client.api_version, **request.headers}
        content = None
        if request.content is not None:
            headers |= {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(len(request.content)),
            }
            content = BytesIO(request.content) if request.content else None  # sent in pieces
        return HttpRequest(
            request.method, self._container_url + path + query, headers=headers, content=content
        )


class _Transport(AioHttpTransport):  # type: ignore[misc]  # the SDK hides its type
    """The SDK's transport with one TLS context: the SDK creates one per request, so no connection is reused."""

    def __init__(self, tls: ssl.SSLContext | bool, *, tokens: bool, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls
        self._tokens = tokens
        self.session: aiohttp.ClientSession | None

    async def open(self) -> None:
        """Open the SDK's transport in a session with limits. Blobs arrive undecoded, tokens decoded."""
        if self.session is None and not self._has_been_opened:
            jar = aiohttp.DummyCookieJar()
            self.session = new_session(tokens=self._tokens, cookie_jar=jar, auto_decompress=self._tokens)
        await super().open()

    def _build_ssl_config(self, cert: object, verify: object) -> ssl.SSLContext | bool:  # noqa: ARG002
        return self._tls


class _Tokens(AsyncTokenCredential):
    """A credential whose failures the pipeline does not retry."""

    def __init__(self, credential: AsyncTokenCredential, *, ambient: bool) -> None:
        self._credential = credential
        self._ambient = ambient

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return a valid token. Raises StorageUnavailable, which is no error of the SDK."""
        try:
            return await self._credential.get_token(*scopes, **options)
        except AzureError as error:
            raise sign_in_failed(error, ambient=self._ambient) from None

    async def close(self) -> None:
        """Close the connections to the token endpoint."""
        await self._credential.close()

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _open_tokens(
    location: AzureLocation, secret: AzureClientSecret | None, account_url: str, tls: ssl.SSLContext | bool
) -> _Tokens:
    if not account_url.startswith("https://"):
        raise CredentialsRefused(
            f"{account_url!r} is never sent a token, which would travel unencrypted",
            "use an https:// endpoint_url, or an account key",
        )
    options: dict[str, Any] = {
        "transport": _open_transport(tls, tokens=True),
        "proxies": _find_proxies(location.authority_url or _PUBLIC_AUTHORITY, location.proxy),
        "retry_total": _RETRIES,
        "retry_status": 0,  # it would wait for as long as the answer says
        "retry_backoff_factor": _WAIT_SECONDS,
    }
    if location.authority_url:
        options |= {"authority": location.authority_url, "disable_instance_discovery": True}
    if secret is None:
        return _Tokens(DefaultAzureCredential(**options), ambient=True)
    try:
        credential = ClientSecretCredential(
            secret.tenant_id, secret.client_id, secret.client_secret, **options
        )
    except ValueError:
        raise CredentialsRefused(
            "the credentials cannot be those of an application",
            "check tenant_id, client_id and authority_url",
        ) from None
    return _Tokens(credential, ambient=False)


def _retry_policy() -> LinearRetry:
    """Return retries after a random pause of up to twice `_WAIT_SECONDS`, a float in spite of the SDK's types."""
    wait: Any = _WAIT_SECONDS
    return LinearRetry(wait, retry_total=_RETRIES, random_jitter_range=wait)


def _open_transport(tls: ssl.SSLContext | bool, *, tokens: bool) -> _Transport:
    """Return a transport that ignores environment settings: they would read ~/.netrc on each request."""
    return _Transport(
        tls,
        tokens=tokens,
        connection_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        use_env_settings=False,
    )


def _tls_setting(ca_file: str) -> ssl.SSLContext | bool:
    """Return the TLS context; True is the shared default."""
    try:
        return ssl.create_default_context(cafile=ca_file) if ca_file else True
    except OSError as error:
        reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise StorageUnavailable(
            f"the CA file {ca_file!r} cannot be used: {reason}",
            "give ca_file the certificate of an authority, as PEM",
        ) from None


def _find_proxies(url: str, proxy: str) -> dict[str, str]:
    """Return the proxy for `url`: the configured one, or the environment's."""
    parts = urlsplit(url)
    if not proxy and not proxy_bypass(parts.hostname or ""):
        proxy = getproxies().get(parts.scheme, "")
    return {parts.scheme: proxy} if proxy else {}
