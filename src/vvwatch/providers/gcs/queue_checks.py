"""Check that a bucket's notifications reach a subscription completely, and repair them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from yarl import URL

from vvwatch.errors import AccessDenied, StorageError
from vvwatch.ports import Finding
from vvwatch.providers.gcs.queue_requests import (
    CONFIGURE,
    LIST_CONFIGURATIONS,
    LOOK,
    PULL,
    PubSubSession,
    post_request,
    request_json,
)
from vvwatch.providers.gcs.session import GcsSession, Request

_EVENTS: Final = ("OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE")
_LEAST_DEADLINE_SECONDS: Final = 30
_DELETED_TOPIC: Final = "_deleted-topic_"
_SERVICE: Final = "//pubsub.googleapis.com/"


class Examination:
    """Reads the subscription and the bucket's notification configurations."""

    def __init__(self, subscription: str, bucket: str, pubsub: PubSubSession, storage: GcsSession) -> None:
        self._subscription = subscription
        self._bucket = bucket
        self._uri = f"gs://{bucket}"
        self._pubsub = pubsub
        self._storage = storage

    async def findings(self) -> list[Finding]:
        """Return the findings, the subscription first. Never raises: a failed request is a finding."""
        try:
            described = await self._describe()
        except AccessDenied as error:
            return [Finding("queue", "warning", error.message, self._grant(LOOK.role)), await self._right()]
        except StorageError as error:
            return [Finding("queue", "problem", error.message, error.hint)]
        found = [*self._of_subscription(described), await self._right()]
        topic = _topic_of(described)
        return [*found, await self._notifications(topic)] if topic else found

    async def repair(self) -> list[Finding]:
        """Add a notification configuration for every relevant event; return the new findings."""
        try:
            topic = _topic_of(await self._describe())
            if topic and not _relevant_configurations(await self._configurations(), topic):
                content = {
                    "topic": f"{_SERVICE}{topic}",
                    "event_types": _EVENTS,
                    "payload_format": "JSON_API_V1",
                }
                await request_json(
                    self._storage, post_request(self._address(), content), CONFIGURE, self._uri
                )
        except StorageError as error:
            hint = f"{error.hint}; the bucket's service agent needs roles/pubsub.publisher on the topic"
            return [*await self.findings(), Finding("notifications", "problem", error.message, hint)]
        return await self.findings()

    async def _describe(self) -> dict[str, Any]:
        request = Request("GET", self._pubsub.address(self._subscription))
        return await request_json(self._pubsub, request, LOOK, self._subscription)

    async def _configurations(self) -> list[Mapping[str, Any]]:
        request = Request("GET", self._address())
        answer = await request_json(self._storage, request, LIST_CONFIGURATIONS, self._uri)
        items = answer.get("items", ())
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []

    def _address(self) -> URL:
        objects = self._storage.objects()
        return (objects.parent / "notificationConfigs").with_query(objects.query)

    async def _right(self) -> Finding:
        """Check the permission to pull without a pull, which would hold messages back from others."""
        url = self._pubsub.address(self._subscription, "testIamPermissions")
        try:
            request = post_request(url, {"permissions": [PULL.permission]})
            answer = await request_json(self._pubsub, request, PULL, self._subscription)
        except StorageError as error:
            return Finding("rights", "problem", error.message, error.hint)
        if answer.get("permissions") != [PULL.permission]:
            detail = f"this identity has no {PULL.permission} on {self._subscription}"
            return Finding("rights", "problem", detail, self._grant(PULL.role))
        return Finding("rights", "ok", "messages can be received, released and deleted")

    def _of_subscription(self, described: Mapping[str, Any]) -> list[Finding]:
        """Return the subscription's faults; an `ok` when there is none."""
        found: list[Finding] = []
        if _topic_of(described) is None:
            recreate = self._command("create", "--topic=TOPIC --ack-deadline=60")
            fix = f"{self._command('delete')} && {recreate}"
            found.append(Finding("queue", "problem", "its topic was deleted: no more messages arrive", fix))
        push = described.get("pushConfig")
        if isinstance(push, dict) and push.get("pushEndpoint"):
            fix = self._command("modify-push-config", "--push-endpoint=''")
            found.append(Finding("queue", "problem", "it pushes its messages elsewhere", fix))
        if described.get("filter"):
            detail = f"it lets through only what its filter wants: {str(described['filter'])[:256]}"
            found.append(Finding("queue", "warning", detail, "create one without a filter"))
        deadline = described.get("ackDeadlineSeconds")
        if isinstance(deadline, int) and deadline < _LEAST_DEADLINE_SECONDS:
            fix = self._command("update", "--ack-deadline=60")
            detail = f"messages come again after {deadline} seconds, which a busy database may need"
            found.append(Finding("queue", "warning", detail, fix))
        return found or [Finding("queue", "ok", f"it is there, of {_topic_of(described)}")]

    async def _notifications(self, topic: str) -> Finding:
        try:
            configurations = await self._configurations()
        except StorageError as error:
            return Finding("notifications", "warning", error.message, error.hint)
        telling = _relevant_configurations(configurations, topic)
        fix = (
            f"gcloud storage buckets notifications create {self._uri} --topic={topic} "
            f"--event-types={','.join(_EVENTS)} --payload-format=json"
        )
        if not telling:
            detail = f"{self._uri} does not notify {topic} of new objects"
            return Finding("notifications", "problem", detail, fix, repairable=True)
        if prefixes := _prefixes_of(telling):
            detail = f"{self._uri} notifies {topic} only of what is below {', '.join(prefixes)}"
            return Finding("notifications", "warning", detail, fix)
        if not any(each.get("payload_format") == "JSON_API_V1" for each in telling):
            detail = "its notifications have no payload: each new object costs a request"
            return Finding("notifications", "warning", detail, fix)
        return Finding("notifications", "ok", f"{self._uri} notifies {topic} of new objects")

    def _grant(self, role: str) -> str:
        return self._command("add-iam-policy-binding", f"--member=serviceAccount:ACCOUNT --role={role}")

    def _command(self, verb: str, flags: str = "") -> str:
        return f"gcloud pubsub subscriptions {verb} {self._subscription} {flags}".rstrip()


def _topic_of(described: Mapping[str, Any]) -> str | None:
    topic = described.get("topic")
    return topic if isinstance(topic, str) and topic != _DELETED_TOPIC else None


def _relevant_configurations(
    configurations: Sequence[Mapping[str, Any]], topic: str
) -> list[Mapping[str, Any]]:
    """Return the configurations that notify the topic of new objects."""
    return [
        each for each in configurations if each.get("topic") == f"{_SERVICE}{topic}" and _is_relevant(each)
    ]


def _is_relevant(configuration: Mapping[str, Any]) -> bool:
    """Return whether it notifies of new objects; without event types it notifies of everything."""
    types = configuration.get("event_types")
    return not types or (isinstance(types, list) and _EVENTS[0] in types)


def _prefixes_of(telling: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return their prefixes; empty when one of them has none."""
    prefixes = [str(each.get("object_name_prefix") or "") for each in telling]
    return [] if "" in prefixes else [repr(prefix) for prefix in prefixes]
