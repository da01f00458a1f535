"""Azure Blob Storage as a provider."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vvwatch.core.locations import Address
from vvwatch.providers.azure.settings import (
    QUEUE_EXAMPLE,
    AzureConnector,
    AzureDefaults,
    QueueUrl,
    address_of,
)
from vvwatch.providers.provider import Access, Provider, Queues, pick

if TYPE_CHECKING:
    from vvwatch.ports import EventQueue, Storage
    from vvwatch.providers.azure.client import AzureAccountKey, AzureClientSecret, AzureLocation
    from vvwatch.providers.bodies import Bodies
    from vvwatch.providers.spool import Spool


def _list_addresses(location: Mapping[str, Any]) -> tuple[Address, ...]:
    place = location["storage_account"], location["container"]
    return address_of(*place, location.get("endpoint_url", "")), address_of(*place)


def _read_access(access: Access) -> tuple[AzureLocation, AzureAccountKey | AzureClientSecret | None]:
    from vvwatch.providers.azure import client  # noqa: PLC0415  # only what is asked for

    location = pick(client.AzureLocation, access.location)
    if access.credentials is None:
        return location, None
    parts = json.loads(access.credentials)
    kind = client.AzureAccountKey if "account_key" in parts else client.AzureClientSecret
    return location, kind(**parts)


def _open_storage(access: Access, spool: Spool, _roots: tuple[Path, ...]) -> Storage:
    from vvwatch.providers.azure.storage import AzureStorage  # noqa: PLC0415

    return AzureStorage(*_read_access(access), spool)


def _open_queue(events: Mapping[str, Any], access: Access) -> EventQueue:
    from vvwatch.providers.azure.queue import StorageQueue  # noqa: PLC0415

    return StorageQueue(events["queue"], *_read_access(access))


def _load_bodies() -> Bodies:
    from vvwatch.providers.azure.bodies import BODIES  # noqa: PLC0415

    return BODIES


AZURE: Final = Provider(
    kind="azure",
    uri="https://ACCOUNT.blob.core.windows.net/container/key",
    table=AzureConnector,
    defaults=AzureDefaults,
    addresses=_list_addresses,
    listed_at_once=5_000,  # List Blobs
    open_storage=_open_storage,
    bodies=_load_bodies,
    queues=Queues(
        name=QueueUrl,
        example=QUEUE_EXAMPLE,
        what="the URL of a storage queue that Event Grid fills",
        hosts=re.compile(r"[a-z0-9]{3,24}\.queue\.core\.windows\.net"),
        open=_open_queue,
    ),
)
"""Containers of Azure Blob Storage, with Storage Queues."""
