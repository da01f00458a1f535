"""What the API stands on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import anyio.to_thread
import sqlalchemy as sa
from fastapi import Depends, Request

from vvwatch.core.budgets import NO_BUDGETS, Budgets
from vvwatch.core.locations import Address, addresses_of
from vvwatch.core.networks import PUBLIC_ONLY, AddressPolicy
from vvwatch.core.rate_limits import Limits
from vvwatch.ports import Clock, EventQueue, Reply, Storage
from vvwatch.ports.processing import Processor
from vvwatch.store.db.database import Database
from vvwatch.store.db.encryption import SecretBox
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.uploads import Uploads
from vvwatch.workflow.upkeep.refusals import RefusedRequests


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the configuration says about the API.

    No connector may reach `state_dir`, where the database and the keys are. `node` is the name of this node, and
    empty where there is no other. `limits`: how often one key may ask; None for as often as it likes. `store_hosts`:
    provider to the host of its usual endpoint, where the configuration names one; queues and token endpoints that are
    named over the API lie there or with the provider. `any_download_url`: addresses with which exports are downloaded
    without a key are also given to who came by plain http. `webhook_policy` and `attachment_policy`: where URLs of
    webhooks and of files to fetch may lead. `max_streams_per_key`: how many event streams one API key may keep open.
    """

    local_roots: tuple[Path, ...] = ()
    webhook_policy: AddressPolicy = PUBLIC_ONLY
    attachment_policy: AddressPolicy = PUBLIC_ONLY
    debounce_scale: float = 1.0
    listen_host: str = "127.0.0.1"
    public_url: str | None = None
    max_body_bytes: int = 1 << 20
    max_upload_bytes: int = 10 << 30
    upload_wait_seconds: float = 0.0
    state_dir: Path | None = None
    node: str = ""
    store_hosts: Mapping[str, str] = field(default_factory=dict)
    limits: Limits | None = None
    any_download_url: bool = False
    max_streams_per_key: int = 100


class Metrics(Protocol):
    """Returns the figures as Prometheus text."""

    def __call__(self, *, with_names: bool) -> bytes:
        """With the names of automations, connectors and processors, or as totals over them."""
        ...


def own_addresses(connector: sa.Row[Any]) -> Sequence[Address]:
    """What a person may call the objects of a connector, as far as its own row tells."""
    return addresses_of(connector.provider, connector.settings)


def no_queue(_connector: sa.Row[Any]) -> EventQueue | None:
    """There is none."""
    return None


async def no_test(_webhook: sa.Row[Any]) -> Reply:
    """Nothing can be sent."""
    return Reply(None, "", "this server sends nothing", 0.0)


@dataclass(frozen=True, slots=True)
class ApiContext:
    """Everything that answers need; the daemon wires it.

    `storages` opens the storage of a connector's row, `document` finds (or builds again) a part of an export,
    `status` tells what the daemon is doing, `readiness` each condition of being ready, `metrics` the Prometheus text,
    `addresses` what a person may call the objects of a connector's row, without opening anything. `queues` opens the
    event queue of a connector's row anew, for who asks to close; None where there is none. `test_webhook` sends a
    test event to the webhook of a row. `uploads` keeps what is sent in, `refused` counts
    requests that are refused. `budgets`: what runs may cost.
    `calls_in_flight`: how many calls of each processor are under way on this node.
    """

    database: Database
    clock: Clock
    box: SecretBox
    storages: Callable[[sa.Row[Any]], Storage]
    document: Callable[[sa.Row[Any], int], Awaitable[Path]]
    processors: Mapping[str, Processor]
    settings: ApiSettings
    status: Callable[[], Awaitable[dict[str, Any]]]
    readiness: Callable[[], dict[str, bool]]
    metrics: Metrics
    telemetry: Telemetry
    uploads: Uploads
    refused: RefusedRequests
    addresses: Callable[[sa.Row[Any]], Sequence[Address]] = own_addresses
    budgets: Budgets = NO_BUDGETS
    queues: Callable[[sa.Row[Any]], EventQueue | None] = no_queue
    calls_in_flight: Callable[[], dict[str, int]] = dict
    test_webhook: Callable[[sa.Row[Any]], Awaitable[Reply]] = no_test

    async def open_storage(self, connector: sa.Row[Any]) -> Storage:
        """The storage of a connector's row; finding out where a folder really lies may block, so not here."""
        return await anyio.to_thread.run_sync(self.storages, connector)


async def context_of(request: Request) -> ApiContext:
    """The context of the application that answers `request`."""
    context: ApiContext = request.app.state.context
    return context


Context = Annotated[ApiContext, Depends(context_of)]
