"""The SDK's client of one bucket: created on first use, with our own parser for listings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.parsers import AioResponseParserFactory, AioRestXMLParser
from anyio import Lock, to_thread
from botocore.exceptions import ClientError
from botocore.handlers import _handle_200_error

from vvwatch.core.known_pages import PageMemory
from vvwatch.core.locations import bucket_address
from vvwatch.providers.replies import LARGE_BYTES, MOST_REFUSAL_BYTES
from vvwatch.providers.s3.errors import (
    LIST,
    READ,
    NotOffered,
    Operation,
    has_no_reason,
    translate_errors,
    unexpected_response,
)
from vvwatch.providers.s3.listing import Listing, NoListing, parse_listing
from vvwatch.providers.s3.transport import AwsTransport, aws_session

_CONNECTIONS: Final = 64
_CONNECT_SECONDS: Final = 10
_READ_SECONDS: Final = 60
_ATTEMPTS: Final = 3

for _sdk in ("aiobotocore", "botocore"):
    logging.getLogger(_sdk).setLevel(logging.INFO)  # at DEBUG they log session tokens and signatures


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket and how to reach it. A bucket at an `endpoint_url` always uses path addresses."""

    bucket: str
    region: str
    endpoint_url: str = ""
    path_style: bool = False
    ca_file: str = ""
    proxy: str = field(default="", repr=False)
    requester_pays: bool = False


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """An access key; a session token makes it a temporary one."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


class Answer(dict[str, Any]):
    """A response by the SDK's names. A missing field raises StorageUnavailable."""

    def __init__(self, said: Mapping[str, Any], what: str) -> None:
        super().__init__(said)
        self._what = what

    def __missing__(self, name: str) -> Any:
        """Raise: a service may return fewer fields than S3 does."""
        raise unexpected_response(self._what, f"the answer has no {name}")


class S3Client:
    """Requests about the objects of one bucket. Raises the errors of `errors`.

    Without credentials the SDK's chain of environment, files and roles applies.
    """

    def __init__(self, location: S3Location, credentials: S3Credentials | None) -> None:
        self.address = bucket_address("s3", location.bucket, location.endpoint_url)
        self._location = location
        self._credentials = credentials
        self._common = {"Bucket": location.bucket} | (
            {"RequestPayer": "requester"} if location.requester_pays else {}
        )
        self._made = AsyncExitStack()
        self._making = Lock(fast_acquire=True)
        self._parsing = Lock()
        self._client: Any = None

    def translate_errors(self, operation: Operation, key: str) -> AbstractContextManager[None]:
        """Translate the block's failures at `key`."""
        return translate_errors(operation, self._location.bucket, self.address.of(key))

    async def ask(self, name: str, operation: Operation, key: str, **parameters: Any) -> Answer:
        """Return the response to the SDK operation `name` on the object at `key`."""
        with self.translate_errors(operation, key):
            request = getattr(await self._connect(), name)
            return self._answer(operation, key, await request(**self._common, Key=key, **parameters))

    async def ask_if(
        self, condition: Mapping[str, str], name: str, operation: Operation, key: str, **parameters: Any
    ) -> Answer:
        """As `ask`, with a condition, omitted for a server that does not support it."""
        try:
            return await self.ask(name, operation, key, **condition, **parameters)
        except NotOffered:
            return await self.ask(name, operation, key, **parameters)

    async def head(self, key: str) -> Answer:
        """Return the response to a HEAD of the object at `key`."""
        with self.translate_errors(READ, key):
            client = await self._connect()
            try:
                answer = await client.head_object(**self._common, Key=key)
            except ClientError as error:
                if not has_no_reason(error):
                    raise
                answer = await client.get_object(**self._common, Key=key)  # a refusal says why
                answer["Body"].close()
            return self._answer(READ, key, answer)

    async def list(self, prefix: str, parameters: Mapping[str, Any]) -> tuple[Listing, str | None]:
        """Return a page of the keys that start with `prefix`, and the server's Date."""
        with self.translate_errors(LIST, prefix):
            client = await self._connect()
            try:
                answer = await client.list_objects_v2(
                    **self._common,
                    Prefix=prefix,
                    EncodingType="url",  # else XML could not carry every key
                    OptionalObjectAttributes=["RestoreStatus"],
                    **parameters,
                )
            except NoListing as error:
                raise unexpected_response(
                    f"{self.address.of(prefix)!r} cannot be listed", str(error)
                ) from None
        return answer["Listing"], answer["ResponseMetadata"]["HTTPHeaders"].get("date")

    async def aclose(self) -> None:
        """Close all connections."""
        await self._made.aclose()

    def _answer(self, operation: Operation, key: str, said: Mapping[str, Any]) -> Answer:
        return Answer(said, f"{self.address.of(key)!r} cannot be {operation.verb}")

    async def _connect(self) -> Any:
        async with self._making:
            if self._client is None:
                self._client = await to_thread.run_sync(self._make)
            return self._client

    def _make(self) -> Any:
        """Create the client in a thread: it reads files and takes a while. The client is not bound to a loop yet."""
        client = asyncio.run(self._made.enter_async_context(self._new_client()))
        client.meta.events.unregister("before-parse.s3.*", _handle_200_error)
        client.meta.events.register("before-parse.s3.*", _find_error)
        client.meta.events.register("before-call.s3.HeadBucket", refuse_redirect)
        return client

    def _new_client(self) -> Any:
        options = client_options(
            self._location,
            self._credentials,
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        return aws_session(response_parser_factory=_Parsers(self._parsing)).create_client("s3", **options)


def client_options(location: S3Location, key: S3Credentials | None, **config: Any) -> dict[str, Any]:
    """Return the options of an SDK client for the location; `config` completes its AioConfig."""
    by_path = location.path_style or location.endpoint_url
    return {
        "region_name": location.region or None,
        "endpoint_url": location.endpoint_url or None,
        "verify": location.ca_file or None,
        "aws_access_key_id": key and key.access_key_id,
        "aws_secret_access_key": key and key.secret_access_key,
        "aws_session_token": (key and key.session_token) or None,
        "config": AioConfig(
            proxies={"http": location.proxy, "https": location.proxy} if location.proxy else None,
            s3={"addressing_style": "path" if by_path else "auto"},
            user_agent="vvwatch",  # the SDK's own is put together for every request
            http_session_cls=AwsTransport,
            ignore_configured_endpoint_urls=True,  # the location has the address
            request_checksum_calculation="when_required",  # some compatible servers know only MD5
            response_checksum_validation="when_required",  # the MD5 covers what arrives
            **config,
        ),
    }


class _Parsers(AioResponseParserFactory):  # type: ignore[misc]  # the SDK ships no types
    """The SDK's parsers, with ours for S3. Pages are parsed one at a time, so that no loop turn parses many."""

    def __init__(self, parsing: Lock) -> None:
        super().__init__()
        self._parsing = parsing
        self._memory = PageMemory()

    def create_parser(self, name: str) -> Any:
        """Return the parser of a protocol."""
        if name != "rest-xml":
            return super().create_parser(name)
        return _Parser(self._parsing, self._memory, **self._defaults)


class _Parser(AioRestXMLParser):  # type: ignore[misc]  # the SDK ships no types
    def __init__(self, parsing: Lock, memory: PageMemory, **defaults: Any) -> None:
        super().__init__(**defaults)
        self._parsing = parsing
        self._memory = memory

    async def parse(self, response: dict[str, Any], shape: Any) -> Any:
        """Parse as the SDK does, except a page of a listing. Raises NoListing."""
        if response["status_code"] != 200 or not _is_listing(shape):
            return await super().parse(response, shape)
        body, metadata = response["body"], {"HTTPStatusCode": 200, "HTTPHeaders": response["headers"]}
        async with self._parsing:
            large = len(body) > LARGE_BYTES
            given = body, self._memory
            listing = await to_thread.run_sync(parse_listing, *given) if large else parse_listing(*given)
        return {"Listing": listing, "ResponseMetadata": metadata}


def _is_listing(shape: Any) -> bool:
    return shape is not None and shape.name == "ListObjectsV2Output"


def _find_error(operation_model: Any, response_dict: dict[str, Any], **context: Any) -> None:
    """Turn a 200 response with an error in its body into an error, so that it is retried.

    The SDK parses every response for that; a listing's own parser detects it.
    """
    body, listing = response_dict["body"], _is_listing(operation_model.output_shape)
    if not listing or (len(body) <= MOST_REFUSAL_BYTES and b"<ListBucketResult" not in body[:200]):
        _handle_200_error(operation_model=operation_model, response_dict=response_dict, **context)


def refuse_redirect(**context: Any) -> None:  # noqa: ARG001
    """Stop the SDK from looking up a redirect's target by a HEAD of the bucket.

    If that is redirected too, it would ask again without end.
    """
    raise ClientError({"ResponseMetadata": {"HTTPHeaders": {}}}, "HeadBucket")
