"""Opens the event queues of connectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vvwatch.daemon.storages import Storages, azure_access, gcs_access, require_extra, s3_access
from vvwatch.errors import InvalidInput
from vvwatch.ports import EventQueue
from vvwatch.store.models.catalog import Connector


def open_queue(storages: Storages, connector: Connector) -> EventQueue:
    """Return a new queue of a connector with events; blocks while it imports what the provider needs.

    Raises InvalidInput for a connector without events or an impossible queue, and the errors of opening its storage
    for credentials.
    """
    opener = _OPENERS.get(connector.provider)
    if not connector.events or opener is None:
        raise InvalidInput(
            f"connector {connector.id!r} has no queue of events", "its objects are found by listing alone"
        )
    return opener(connector.events, *storages.way(connector))


def _open_sqs(events: Mapping[str, Any], location: Mapping[str, Any], credentials: str | None) -> EventQueue:
    with require_extra("s3"):
        from vvwatch.providers.s3.queue import SqsQueue  # noqa: PLC0415  # only what is asked for
    return SqsQueue(events["queue"], *s3_access(location, credentials))


def _open_pubsub(
    events: Mapping[str, Any], location: Mapping[str, Any], credentials: str | None
) -> EventQueue:
    with require_extra("gcs"):
        from vvwatch.providers.gcs.queue import PubSubQueue  # noqa: PLC0415
    return PubSubQueue(events["queue"], gcs_access(location), credentials, events.get("endpoint_url", ""))


def _open_storage_queue(
    events: Mapping[str, Any], location: Mapping[str, Any], credentials: str | None
) -> EventQueue:
    with require_extra("azure"):
        from vvwatch.providers.azure.queue import StorageQueue  # noqa: PLC0415
    return StorageQueue(events["queue"], *azure_access(location, credentials))


_OPENERS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any], str | None], EventQueue]] = {
    "s3": _open_sqs,
    "gcs": _open_pubsub,
    "azure": _open_storage_queue,
}
