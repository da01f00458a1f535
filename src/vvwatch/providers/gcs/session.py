"""Requests to Cloud Storage's JSON API: the SDK's headers, one session, a few attempts."""

from __future__ import annotations

import io
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
from anyio import CancelScope, Lock, sleep, to_thread
from gcloud.aio.storage import Storage
from yarl import URL

from vvwatch.errors import StorageUnavailable
from vvwatch.providers.gcs.credentials import validate_credentials
from vvwatch.providers.gcs.errors import FAILURES, ServiceRefusal, is_transient
from vvwatch.providers.gcs.token import GcsToken
from vvwatch.providers.replies import is_redirect, new_session

_SERVICE: Final = "https://storage.googleapis.com"
_CONNECTIONS: Final = 64
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
_PAUSES_SECONDS: Final = (0.1, 0.4)
_RESUME: Final = 308
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class GcsLocation:
    """A bucket and how to reach it; `user_project` pays where the requester pays."""

    bucket: str
    endpoint_url: str = ""
    ca_file: str = ""
    proxy: str = field(default="", repr=False)
    user_project: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A request. The body of a `raw` response stays as stored."""

    method: str
    url: URL
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bool = False


class Answer(NamedTuple):
    """A successful response, or the 308 of an unfinished upload."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class GcsSession:
    """Requests about one bucket; connects on first use.

    An `http://` endpoint gets no credentials. Raises InvalidInput for unusable credentials; its methods raise
    ServiceRefusal, aiohttp's errors, TimeoutError and StorageUnavailable.
    """

    def __init__(self, location: GcsLocation, credentials: str | None) -> None:
        self._location = location
        self._root = (location.endpoint_url or _SERVICE).rstrip("/")
        self._in_clear = not self._root.lower().startswith("https://")
        if credentials is not None:
            credentials = validate_credentials(credentials, any_token_uri=bool(location.endpoint_url))
        self._credentials = credentials
        self._turn = Lock(fast_acquire=True)
        self._storage: Storage | None = None

    def objects(self, key: str | None = None, **query: str) -> URL:
        """Return the address of the bucket's listing, or of the object at `key`."""
        name = "" if key is None else "/" + quote(key, safe="")
        return self._url(f"/storage/v1/b/{self._bucket}/o{name}", query)

    def uploads(self, **query: str) -> URL:
        """Return the address for new objects."""
        return self._url(f"/upload/storage/v1/b/{self._bucket}/o", query)

    def at_root(self, address: str) -> URL:
        """Return `address`, from the service, at the configured host, whatever host it names.

        Raises ValueError if it is no address.
        """
        return URL(f"{URL(self._root).origin()}{URL(address, encoded=True).raw_path_qs}", encoded=True)

    async def ask(self, request: Request) -> Answer:
        """Return the whole response. Raises ReplyRefused for one beyond the limits."""
        return await _retry_patiently(lambda: self.ask_once(request))

    async def ask_once(self, request: Request) -> Answer:
        """As `ask`, without retries."""
        async with await self._send(request) as response:
            return Answer(response.status, response.headers, await response.read())

    async def open(self, request: Request) -> aiohttp.ClientResponse:
        """Return the response with an unread body; enter it as a context."""
        return await _retry_patiently(lambda: self._send(request))

    async def aclose(self) -> None:
        """Close all connections."""
        storage, self._storage = self._storage, None
        if storage is not None:
            with CancelScope(shield=True):  # to close the first session must not end before the second one
                await storage.token.close()
                await storage.session.session.close()

    @property
    def _bucket(self) -> str:
        return quote(self._location.bucket, safe="")

    def _url(self, path: str, query: Mapping[str, str]) -> URL:
        named = {**query, "userProject": self._location.user_project}
        encoded = urlencode({name: value for name, value in named.items() if value})
        return URL(f"{self._root}{path}?{encoded}", encoded=True)

    async def _send(self, request: Request) -> aiohttp.ClientResponse:
        storage = await self._connect()
        headers = {**request.headers, **await storage._headers()}  # noqa: SLF001  # the SDK's own requests add them
        response = await storage.session.session.request(
            request.method,
            request.url,
            headers=headers,
            data=io.BytesIO(request.body) if request.body else None,
            allow_redirects=False,
            auto_decompress=not request.raw,
        )
        resumes = response.status == _RESUME and not is_redirect(_RESUME, response.headers)
        if response.status < 300 or resumes:
            return response
        if response.status == 401:
            storage.token.access_token_refresh_after = 0  # another one is fetched for the next attempt
        async with response:
            raise ServiceRefusal(response.status, await response.read(), response.headers)

    async def _connect(self) -> Storage:
        async with self._turn:
            if self._storage is None:
                tls, token = await to_thread.run_sync(self._prepare)
                connector = aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=tls)
                proxy = self._location.proxy or None
                session = new_session(connector=connector, timeout=_TIMEOUT, proxy=proxy)
                token.attach(connector, proxy)
                self._storage = Storage(
                    token=token,
                    session=session,  # type: ignore[arg-type]  # typed for the SDK's other build
                    api_root=self._root,
                    api_is_dev=self._in_clear,
                )
            return self._storage

    def _prepare(self) -> tuple[ssl.SSLContext | bool, GcsToken]:
        """What reads files."""
        return _build_tls(self._location.ca_file), GcsToken("{}" if self._in_clear else self._credentials)


async def _retry_patiently(attempt: Callable[[], Awaitable[_T]]) -> _T:
    for pause in _PAUSES_SECONDS:
        try:
            return await attempt()
        except FAILURES as error:
            if not is_transient(error):
                raise
        await sleep(pause)
    return await attempt()


def _build_tls(ca_file: str) -> ssl.SSLContext | bool:
    """Return the usual authorities plus `ca_file`: tokens may come from another host than objects."""
    if not ca_file:
        return True
    try:
        context = ssl.create_default_context()
        context.load_verify_locations(ca_file)
    except OSError as error:
        raise StorageUnavailable(
            f"the ca_file {ca_file!r} cannot be read: {error.strerror or error}",
            "it should be readable, and hold certificates in PEM form",
        ) from error
    return context
