"""The AWS SDK's network transport, with the limits of `replies` for services and credential providers."""

from __future__ import annotations

from typing import Any

from aiobotocore import utils
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.exceptions import HTTPClientError
from botocore.loaders import create_loader

from vvwatch.providers.replies import LARGE_BYTES, NoRedirects, ReplyRefused, ReplyTooLarge, new_session

_MODELS = create_loader()
"""The service descriptions, loaded once for all buckets and queues."""


_LISTING = "list-type=2"
"""A mark in the URL of a listing, which the SDK does not parse."""

_MOST_TAGS = 100_000
_MOST_MARKS = 1_100_000
"""Brackets and commas of JSON: one message may consist of them."""


class AwsTransport(AIOHTTPSession):  # type: ignore[misc]  # the SDK ships no types
    """Sends the SDK's requests. A redirect is an ordinary response: the SDK itself finds a bucket's region."""

    tokens = False

    async def send(self, request: Any) -> Any:
        """Send as the SDK does. ReplyRefused passes through unchanged, so that it is not retried at once."""
        try:
            response = await super().send(request)
        except HTTPClientError as error:
            cause = error.kwargs.get("error")
            if isinstance(cause, ReplyRefused):
                raise cause from None
            raise
        if not (request.stream_output or _LISTING in request.url):
            _require_few_values(await response.content)
        return response

    async def _get_session(self, proxy_url: str | None) -> Any:
        async with self._sessions_lock:
            if proxy_url not in self._sessions:
                session = new_session(
                    tokens=self.tokens,
                    connector=await self._create_connector(proxy_url),
                    timeout=self._timeout,
                    skip_auto_headers={"Content-Type"},
                    auto_decompress=False,
                )
                self._sessions[proxy_url] = NoRedirects(await self._exit_stack.enter_async_context(session))
            return self._sessions[proxy_url]


def _require_few_values(body: bytes) -> None:
    """Raise ReplyTooLarge for a response that would occupy the SDK's parser, and the event loop, for long."""
    if len(body) <= LARGE_BYTES:
        return
    is_json = body[:1] in (b"{", b"[")
    marks = sum(map(body.count, (b"[", b"{", b","))) if is_json else body.count(b"<")
    if marks > (_MOST_MARKS if is_json else _MOST_TAGS):
        raise ReplyTooLarge("the reply has more values than are read of one", "check endpoint_url and proxy")


class _TokenTransport(AwsTransport):
    """AwsTransport for services that give credentials."""

    tokens = True


class _MetadataTransport(utils._RefCountedSessionMixin, _TokenTransport):  # type: ignore[misc]  # noqa: SLF001
    """The SDK's own transport for the metadata of a machine or a container."""


for _fetcher in (utils.AioIMDSFetcher, utils.AioContainerMetadataFetcher):
    _fetcher._ref_counted_session_cls = _MetadataTransport  # noqa: SLF001  # nothing public sets it


def aws_session(**components: object) -> AioSession:
    """Return an SDK session that creates clients; `components` replace the SDK's."""
    session = AioSession()
    session.set_default_client_config(AioConfig(http_session_cls=_TokenTransport))
    session.register_component("data_loader", _MODELS)
    for name, component in components.items():
        session.register_component(name, component)
    return session
