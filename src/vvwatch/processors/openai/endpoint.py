"""One endpoint over HTTP(S): requests, and responses bounded in time and size."""

from __future__ import annotations

import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2

import vvwatch
from vvwatch.config import Secret
from vvwatch.errors import InvalidInput
from vvwatch.ports import Clock
from vvwatch.processors.openai.prompting import encode_body
from vvwatch.processors.openai.replies import Reply, parse_body, read_reply
from vvwatch.processors.openai.troubles import Kind, Trouble, classify_trouble, clean_message
from vvwatch.processors.validation import call_in_thread

_MOST_BYTES: Final = 16 << 20
_MOST_ERROR_BYTES: Final = 64 << 10
_CHAT: Final = "chat/completions"
_MODELS: Final = "models"
_SPEECH: Final = "audio/transcriptions"
_KEPT_SECONDS: Final = (
    4.0  # many servers close idle connections after five; a request sent at that moment is lost
)
_GZIP_OR_ZLIB: Final = 47


@dataclass(frozen=True, slots=True)
class Address:
    """The address of an endpoint and its TLS settings. Proxies of the environment are not used."""

    base_url: str
    api_key: Secret | None = None
    timeout_seconds: float = 120.0
    proxy: str | None = None
    ca_file: Path | None = None


class Endpoint:
    """Posts chats and reads the answers. Follows no redirect; the key is sent in one header and nowhere else.

    Each call has its own client with one connection: a pool checks the sockets of all connections at each request.
    """

    def __init__(self, address: Address, clock: Clock) -> None:
        """Raise InvalidInput for an unusable key or certificate file."""
        self._clock = clock
        self._seconds = address.timeout_seconds
        self._key = address.api_key
        root = address.base_url.rstrip("/")
        self._chat, self._models = httpx2.URL(f"{root}/{_CHAT}"), httpx2.URL(f"{root}/{_MODELS}")
        self._speech = httpx2.URL(f"{root}/{_SPEECH}")
        self._settings: dict[str, Any] = {
            "headers": {"User-Agent": f"vvwatch/{vvwatch.__version__}", "Accept-Encoding": "identity"},
            "auth": _Bearer(address.api_key),
            "verify": _build_tls_context(address),
            "proxy": address.proxy,
            "trust_env": False,
            "follow_redirects": False,
            "timeout": httpx2.Timeout(None, connect=_connect_seconds(address)),
            "limits": httpx2.Limits(max_connections=1, keepalive_expiry=_KEPT_SECONDS),
        }
        self._idle: list[httpx2.AsyncClient] = []

    async def aclose(self) -> None:
        """Close all idle connections."""
        while self._idle:
            await self._idle.pop().aclose()

    async def chat(self, body: Mapping[str, Any], key: str) -> Reply:
        """Return the answer to one chat; `key` is the idempotency key of all its attempts. Raises Trouble."""
        content = encode_body(body)
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        answer = await self._exchange("POST", self._chat, content=content, headers=headers)
        return await call_in_thread(len(answer), read_reply, answer)

    async def transcribe(self, fields: Mapping[str, Any], sound: bytes, key: str) -> bytes:
        """Return the answer about one WAV file, to which `fields` belong; as `chat`."""
        files = {"file": ("sound.wav", sound, "audio/wav")}
        headers = {"Idempotency-Key": key}
        return await self._exchange("POST", self._speech, data=fields, files=files, headers=headers)

    async def models(self) -> tuple[str, ...]:
        """Return the names of the endpoint's models; empty if it does not list them. Raises Trouble."""
        said = parse_body(await self._exchange("GET", self._models))
        listed = said.get("data") if isinstance(said, dict) else None
        named = (
            [each.get("id") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        )
        return tuple(name for name in named if isinstance(name, str))

    async def _exchange(self, method: str, url: httpx2.URL, **request: Any) -> bytes:
        client = self._idle.pop() if self._idle else httpx2.AsyncClient(**self._settings)
        is_answered = False
        try:
            with anyio.fail_after(self._seconds):
                async with client.stream(method, url, **request) as response:
                    is_answered = response.status_code == httpx2.codes.OK
                    return await self._answer(response)
        except TimeoutError:
            raise Trouble(Kind.AWAY, f"no whole answer within {self._seconds:g} s", is_paid=True) from None
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            message = f"the connection failed: {_describe_cause(error)}"
            raise Trouble(Kind.AWAY, message, is_paid=is_answered) from None
        finally:
            self._idle.append(client)

    async def _answer(self, response: httpx2.Response) -> bytes:
        if response.status_code == httpx2.codes.OK:
            body = await _read_body(response)
            if _is_html(response, body):
                raise Trouble(
                    Kind.AWAY, "the endpoint answered with a web page: does base_url lead to the API?"
                )
            return body
        if response.is_redirect:
            raise Trouble(
                Kind.ADDRESS, f"the endpoint answered {response.status_code}: a redirect to another address"
            )
        said = parse_body(await _read_error_body(response))
        raise self._without_key(
            classify_trouble(response.status_code, said, response.headers, self._clock.now())
        )

    def _without_key(self, trouble: Trouble) -> Trouble:
        key = self._key.reveal() if self._key else ""
        if key and key in trouble.message:
            message = trouble.message.replace(key, "•••")
            return Trouble(trouble.kind, message, trouble.retry_after_seconds, is_paid=trouble.is_paid)
        return trouble


class _Bearer(httpx2.Auth):
    """Puts the key into its header. A separate object, so that no client shows the key."""

    def __init__(self, key: Secret | None) -> None:
        text = key.reveal() if key else ""
        if not (text.isascii() and text.isprintable()) or text != text.strip():
            hint = "it is one line of printable ASCII"
            raise InvalidInput("the API key holds characters that a header cannot contain", hint)
        self._key = key

    def auth_flow(self, request: httpx2.Request) -> Any:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        yield request


def _connect_seconds(address: Address) -> float:
    """Return the connect time-out: less than that of an answer, because nothing sent means nothing paid."""
    return min(10.0, 0.9 * address.timeout_seconds)


def _build_tls_context(address: Address) -> ssl.SSLContext:
    """Return the TLS context of this machine's authorities and `ca_file`; empty without TLS: loading is slow."""
    if not address.base_url.startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca_file = address.ca_file
    context = httpx2.create_ssl_context(trust_env=False)
    context.load_default_certs()
    try:
        if ca_file is not None:
            context.load_verify_locations(ca_file)
    except OSError as error:  # including those of TLS
        raise InvalidInput(
            f"the ca_file {str(ca_file)!r} cannot be used: {error.strerror or error}",
            "it must be readable, and hold certificates in PEM form",
        ) from error
    return context


async def _read_body(response: httpx2.Response) -> bytes:
    body = await _read_bounded(response, _MOST_BYTES)
    plain = _decompress(body, response.headers.get("content-encoding", ""), _MOST_BYTES)
    if max(len(body), len(plain)) > _MOST_BYTES:
        size = f"{_MOST_BYTES >> 20} MiB"
        raise Trouble(Kind.REFUSED, f"the endpoint's answer is longer than {size}", is_paid=True)
    return plain


async def _read_error_body(response: httpx2.Response) -> bytes:
    """Return the start of an error's body; if it cannot be decompressed, the status still counts."""
    body = await _read_bounded(response, _MOST_ERROR_BYTES)
    try:
        return _decompress(body, response.headers.get("content-encoding", ""), _MOST_ERROR_BYTES)
    except Trouble:
        return b""


async def _read_bounded(response: httpx2.Response, most_bytes: int) -> bytes:
    """Return the body, or more than `most_bytes` of it."""
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > most_bytes:
            break
    return bytes(body)


def _decompress(body: bytes, coding: str, most_bytes: int) -> bytes:
    """Return a body that was compressed against our request, never much more than `most_bytes`."""
    if coding.lower() in {"", "identity"}:
        return body
    if coding.lower() not in {"gzip", "deflate", "x-gzip"}:
        raise Trouble(Kind.REFUSED, "the endpoint answered in a coding that was not asked for")
    try:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(body, most_bytes + 1)
    except zlib.error:
        raise Trouble(Kind.GARBLED, "the endpoint's answer is damaged") from None


def _is_html(response: httpx2.Response, body: bytes) -> bool:
    return "html" in response.headers.get("content-type", "") or body[:200].lstrip().startswith(b"<")


def _describe_cause(error: Exception) -> str:
    """Return the cause: TLS and network errors name neither the request nor the key."""
    return clean_message(str(error)) or type(error).__name__
