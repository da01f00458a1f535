"""S3 and compatible stores as a provider."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vvwatch.core.locations import bucket_addresses
from vvwatch.providers.provider import Access, Provider, Queues, pick
from vvwatch.providers.s3.settings import QUEUE_EXAMPLE, QueueUrl, S3Connector, S3Defaults

if TYPE_CHECKING:
    from vvwatch.ports import EventQueue, Storage
    from vvwatch.providers.bodies import Bodies
    from vvwatch.providers.s3.client import S3Credentials, S3Location
    from vvwatch.providers.spool import Spool


def _read_access(access: Access) -> tuple[S3Location, S3Credentials | None]:
    from vvwatch.providers.s3.client import S3Credentials, S3Location  # noqa: PLC0415  # only what is asked for

    own = None if access.credentials is None else S3Credentials(**json.loads(access.credentials))
    return pick(S3Location, access.location), own


def _open_storage(access: Access, spool: Spool, _roots: tuple[Path, ...]) -> Storage:
    from vvwatch.providers.s3.storage import S3Storage  # noqa: PLC0415

    return S3Storage(*_read_access(access), spool)


def _open_queue(events: Mapping[str, Any], access: Access) -> EventQueue:
    from vvwatch.providers.s3.queue import SqsQueue  # noqa: PLC0415

    return SqsQueue(events["queue"], *_read_access(access))


def _load_bodies() -> Bodies:
    from vvwatch.providers.s3.bodies import BODIES  # noqa: PLC0415

    return BODIES


S3: Final = Provider(
    kind="s3",
    uri="s3://bucket/key",
    table=S3Connector,
    defaults=S3Defaults,
    addresses=lambda location: bucket_addresses("s3", location),
    listed_at_once=1_000,  # ListObjectsV2
    open_storage=_open_storage,
    bodies=_load_bodies,
    queues=Queues(
        name=QueueUrl,
        example=QUEUE_EXAMPLE,
        what="the URL of an SQS queue",
        hosts=re.compile(r"sqs\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?"),
        open=_open_queue,
    ),
)
"""Buckets of S3 and of compatible stores, with SQS."""
