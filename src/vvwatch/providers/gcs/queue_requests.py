"""Requests to Pub/Sub's REST interface in the storage's session, with translated errors."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol
from urllib.parse import quote

from yarl import URL

from vvwatch.errors import AccessDenied, ObjectChanged, StorageError, StorageUnavailable
from vvwatch.providers.failures import LATER
from vvwatch.providers.gcs import errors
from vvwatch.providers.gcs.errors import ServiceRefusal
from vvwatch.providers.gcs.session import Answer, GcsLocation, GcsSession, Request
from vvwatch.providers.gcs.token import GcsToken

_SERVICE: Final = "https://pubsub.googleapis.com"
_SCOPE: Final = "https://www.googleapis.com/auth/pubsub"


@dataclass(frozen=True, slots=True)
class Right:
    """An operation on a resource, and the permission it needs."""

    verb: str
    permission: str
    role: str


PULL: Final = Right("pulled from", "pubsub.subscriptions.consume", "roles/pubsub.subscriber")
LOOK: Final = Right("looked at", "pubsub.subscriptions.get", "roles/pubsub.viewer")
LIST_CONFIGURATIONS: Final = Right(
    "asked what it notifies of", "storage.buckets.get", "roles/storage.legacyBucketReader"
)
CONFIGURE: Final = Right("made to notify", "storage.buckets.update", "roles/storage.legacyBucketOwner")


class Requester(Protocol):
    """Sends requests; a session of the storage."""

    async def ask(self, request: Request) -> Answer:
        """Return the whole response. Raises ServiceRefusal, aiohttp's errors, TimeoutError and StorageUnavailable."""
        ...


class PubSubSession(GcsSession):
    """A session for Pub/Sub with its own scope, at `endpoint_url` or the public address; see GcsSession."""

    def __init__(self, location: GcsLocation, credentials: str | None, endpoint_url: str) -> None:
        super().__init__(replace(location, endpoint_url=endpoint_url, user_project=""), credentials)
        self._service = (endpoint_url or _SERVICE).rstrip("/")

    def address(self, resource: str, verb: str = "") -> URL:
        """Return the address of a resource such as `projects/P/subscriptions/S`, or of an operation on it."""
        return URL(f"{self._service}/v1/{quote(resource)}{':' * bool(verb)}{verb}", encoded=True)

    def _prepare(self) -> tuple[ssl.SSLContext | bool, GcsToken]:
        tls, token = super()._prepare()
        token.scopes = _SCOPE
        return tls, token


def post_request(url: URL, content: Mapping[str, Any]) -> Request:
    """Return a request with a JSON body."""
    return Request("POST", url, {"Content-Type": "application/json"}, json.dumps(content).encode())


async def request_json(session: Requester, request: Request, right: Right, resource: str) -> dict[str, Any]:
    """Return the JSON object of the response. Raises StorageError."""
    with translate_errors(right, resource):
        answer = await session.ask(request)
    try:
        found = json.loads(answer.body or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise errors.unexpected_response(f"{resource!r} cannot be {right.verb}")
    return found


@contextmanager
def translate_errors(right: Right, resource: str) -> Iterator[None]:
    """Translate errors of Pub/Sub, of the notification configuration and of the network for `resource`."""
    operation = errors.Operation(right.verb, right.permission, right.role, ObjectChanged, of_object=False)
    with errors.translate_errors(operation, resource, resource):
        try:
            yield
        except ServiceRefusal as refused:
            meaning = _translate(refused, right, resource)
            if meaning is None:
                raise
            raise meaning from None


def _translate(refused: ServiceRefusal, right: Right, resource: str) -> StorageError | None:
    what = f"{resource!r} cannot be {right.verb}"
    if refused.status == 403:
        return AccessDenied(
            f"{what}: this identity lacks permission",
            f"grant {right.permission} on {resource!r}, which the role {right.role} has",
        )
    if refused.status == 404:
        make = f"gcloud pubsub subscriptions create {resource} --topic=TOPIC --ack-deadline=60"
        hint = make if resource.startswith("projects/") else "create it or correct its name"
        return StorageUnavailable(f"{what}: it is not there", hint)
    if refused.status == 400:
        return StorageUnavailable(
            f"{what}: the service does not understand (400)", f"check the name; {LATER}"
        )
    return None
