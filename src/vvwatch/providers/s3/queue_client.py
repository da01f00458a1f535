"""The SDK's clients of a queue and of its bucket, each created on first use."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Final

from anyio import Lock, to_thread

from vvwatch.providers.s3.client import S3Credentials, S3Location, client_options, refuse_redirect
from vvwatch.providers.s3.queue_address import QueueAddress
from vvwatch.providers.s3.queue_errors import QueueRequest, translate_errors
from vvwatch.providers.s3.transport import aws_session

LONG_POLL_SECONDS: Final = 20
"""The longest SQS poll."""

_CONNECTIONS: Final = 32
_CONNECT_SECONDS: Final = 10
_READ_SECONDS: Final = LONG_POLL_SECONDS + 20
_ATTEMPTS: Final = 3


class SqsClient:
    """Requests about a queue and a bucket's notifications. Raises the errors of `queue_errors`.

    Without credentials the SDK's chain of environment, files and roles applies.
    """

    def __init__(
        self, address: QueueAddress, location: S3Location, credentials: S3Credentials | None
    ) -> None:
        self.address = address
        self.location = location
        self._credentials = credentials
        self._made = AsyncExitStack()
        self._making = Lock(fast_acquire=True)
        self._clients: dict[str, Any] = {}

    async def of_queue(self, name: str, permission: str, **parameters: Any) -> dict[str, Any]:
        """Return the response to the SDK operation `name` on the queue."""
        address = self.address
        missing = f"aws sqs create-queue --queue-name {address.name} --region {address.region}"
        errand = QueueRequest(f"queue {address.url!r} cannot be used", permission, address.arn, missing)
        return await self._ask(errand, "sqs", name, QueueUrl=address.url, **parameters)

    async def of_bucket(self, name: str, permission: str, **parameters: Any) -> dict[str, Any]:
        """Return the response to the SDK operation `name` on the bucket."""
        bucket = self.location.bucket
        what = f"the notifications of bucket {bucket!r} cannot be seen or set"
        missing = "create the bucket or correct its name"
        errand = QueueRequest(what, permission, f"arn:{self.address.partition}:s3:::{bucket}", missing)
        return await self._ask(errand, "s3", name, Bucket=bucket, **parameters)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._made.aclose()

    async def _ask(self, errand: QueueRequest, service: str, name: str, **parameters: Any) -> dict[str, Any]:
        with translate_errors(errand):
            client = await self._connect(service)
            answer: dict[str, Any] = await getattr(client, name)(**parameters)
            return answer

    async def _connect(self, service: str) -> Any:
        async with self._making:
            if service not in self._clients:
                self._clients[service] = await to_thread.run_sync(self._make, service)
            return self._clients[service]

    def _make(self, service: str) -> Any:
        """Create the client in a thread: it reads files and takes a while. The client is not bound to a loop yet."""
        client = asyncio.run(self._made.enter_async_context(self._new_client(service)))
        client.meta.events.register("before-call.s3.HeadBucket", refuse_redirect)
        return client

    def _new_client(self, service: str) -> Any:
        options = client_options(
            self.location,
            self._credentials,
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            parameter_validation=False,  # it costs a quarter of a request's time
        )
        if service == "sqs":
            options |= {"region_name": self.address.region, "endpoint_url": self.address.endpoint_url}
        return aws_session().create_client(service, **options)
