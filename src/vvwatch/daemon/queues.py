"""Opens the event queues of connectors."""

from __future__ import annotations

from vvwatch.daemon.storages import Storages
from vvwatch.errors import InvalidInput
from vvwatch.ports import EventQueue
from vvwatch.providers.provider import require_extra
from vvwatch.providers.registry import PROVIDERS
from vvwatch.store.models.catalog import Connector


def open_queue(storages: Storages, connector: Connector) -> EventQueue:
    """Return a new queue of a connector with events; blocks while it imports what the provider needs.

    Raises InvalidInput for a connector without events or an impossible queue, and the errors of opening its storage
    for credentials.
    """
    provider = PROVIDERS.get(connector.provider)
    if not connector.events or provider is None or provider.queues is None:
        raise InvalidInput(
            f"connector {connector.id!r} has no queue of events", "its objects are found by listing alone"
        )
    access = storages.access(connector)
    with require_extra(provider.kind):
        return provider.queues.open(connector.events, access)
