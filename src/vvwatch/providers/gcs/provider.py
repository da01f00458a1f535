"""Google Cloud Storage as a provider."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vvwatch.core.locations import bucket_addresses
from vvwatch.providers.gcs.settings import QUEUE_EXAMPLE, GcsConnector, GcsDefaults, Subscription
from vvwatch.providers.provider import Access, Provider, Queues, pick

if TYPE_CHECKING:
    from vvwatch.ports import EventQueue, Storage
    from vvwatch.providers.bodies import Bodies
    from vvwatch.providers.spool import Spool


def _open_storage(access: Access, spool: Spool, _roots: tuple[Path, ...]) -> Storage:
    from vvwatch.providers.gcs.storage import GcsLocation, GcsStorage  # noqa: PLC0415  # only what is asked for

    return GcsStorage(pick(GcsLocation, access.location), access.credentials, spool)


def _open_queue(events: Mapping[str, Any], access: Access) -> EventQueue:
    from vvwatch.providers.gcs.queue import PubSubQueue  # noqa: PLC0415
    from vvwatch.providers.gcs.session import GcsLocation  # noqa: PLC0415

    location, emulator = pick(GcsLocation, access.location), events.get("endpoint_url", "")
    return PubSubQueue(events["queue"], location, access.credentials, emulator)


def _check_credentials(text: str, *, any_host: bool = False, host: str = "") -> str:
    from vvwatch.providers.gcs.credentials import validate_credentials  # noqa: PLC0415

    return validate_credentials(text, any_token_uri=any_host, token_host=host)


def _load_bodies() -> Bodies:
    from vvwatch.providers.gcs.bodies import BODIES  # noqa: PLC0415

    return BODIES


GCS: Final = Provider(
    kind="gcs",
    uri="gs://bucket/key",
    table=GcsConnector,
    defaults=GcsDefaults,
    addresses=lambda location: bucket_addresses("gs", location),
    listed_at_once=1_000,  # objects.list
    open_storage=_open_storage,
    bodies=_load_bodies,
    queues=Queues(
        name=Subscription,
        example=QUEUE_EXAMPLE,
        what="`projects/P/subscriptions/S` for Pub/Sub",
        open=_open_queue,
    ),
    check_credentials=_check_credentials,
    credentials_key="credentials_file",
)
"""Buckets of Google Cloud Storage, with Pub/Sub."""
