"""The API's dependencies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import anyio.to_thread
from fastapi import Depends, Request

from vvwatch.core.budgets import NO_BUDGETS, Budgets
from vvwatch.core.locations import Address
from vvwatch.core.networks import PUBLIC_ONLY, AddressPolicy
from vvwatch.core.rate_limits import Limits
from vvwatch.ports import Clock, EventQueue, Reply, Storage
from vvwatch.ports.processing import Examinable, Processor
from vvwatch.processors.embedding.embedder import Embedder
from vvwatch.providers.registry import addresses_of
from vvwatch.store.db.database import Database
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.delivery import Export, Webhook
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.clips import Clips
from vvwatch.workflow.pipeline.uploads import Uploads
from vvwatch.workflow.upkeep.alerting import Alerts
from vvwatch.workflow.upkeep.refusals import RefusedRequests


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The API part of the configuration.

    No connector may reach `state_dir`, which holds the database and the keys. `node` is this node's name, empty if it
    is the only one. `limits`: rate limits of one key, None for none. `store_hosts`: provider to the host of its
    endpoint, if the configuration names one; queues and token endpoints given over the API must be there or at the
    provider. `any_download_url`: clients on plain http get download links too. `webhook_policy` and
    `attachment_policy`: where webhook URLs and download URLs may lead. `max_streams_per_key`: how many event streams
    one API key may open.
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
    """Renders metrics as Prometheus text."""

    def __call__(self, *, with_names: bool) -> bytes:
        """Return the metrics, per automation, connector and processor or only as totals."""
        ...


def own_addresses(connector: Connector) -> Sequence[Address]:
    """Return the addresses of a connector that its own row yields."""
    return addresses_of(connector.provider, connector.settings)


def no_queue(_connector: Connector) -> EventQueue | None:
    """Return None: there is no queue."""
    return None


async def no_test(_webhook: Webhook) -> Reply:
    """Send nothing."""
    return Reply(None, "", "this server sends nothing", 0.0)


@dataclass(frozen=True, slots=True)
class ApiContext:
    """Everything that routes need; the daemon wires it.

    `storages` opens the storage of a connector's row, `document` finds (or builds again) a part of an export, `status`
    returns the daemon's state, `readiness` each readiness condition, `metrics` the Prometheus text, `addresses` the
    addresses of a connector's row without opening it. `queues` opens the event queue of a connector's row, which the
    caller closes; None if it has none. `test_webhook` sends a test event to the webhook of a row. `uploads` stores
    uploaded files, `refused` counts refused requests. `budgets`: what runs may cost. `calls_in_flight`: calls of each
    processor under way on this node. `clips` cuts segments for download, None where they cannot be.
    `embedder` makes vectors of texts, None without a model. `alerts` alerts people, None where nobody is.
    `dependencies` are parts beside processors that can check themselves, by their names in the configuration.
    """

    database: Database
    clock: Clock
    box: SecretBox
    storages: Callable[[Connector], Storage]
    document: Callable[[Export, int], Awaitable[Path]]
    processors: Mapping[str, Processor]
    settings: ApiSettings
    status: Callable[[], Awaitable[dict[str, Any]]]
    readiness: Callable[[], dict[str, bool]]
    metrics: Metrics
    telemetry: Telemetry
    uploads: Uploads
    refused: RefusedRequests
    addresses: Callable[[Connector], Sequence[Address]] = own_addresses
    budgets: Budgets = NO_BUDGETS
    queues: Callable[[Connector], EventQueue | None] = no_queue
    calls_in_flight: Callable[[], dict[str, int]] = dict
    test_webhook: Callable[[Webhook], Awaitable[Reply]] = no_test
    clips: Clips | None = None
    embedder: Embedder | None = None
    alerts: Alerts | None = None
    dependencies: Mapping[str, Examinable] = field(default_factory=dict)

    async def open_storage(self, connector: Connector) -> Storage:
        """Open the storage of a connector's row, in a thread: resolving a folder may block."""
        return await anyio.to_thread.run_sync(self.storages, connector)


async def context_of(request: Request) -> ApiContext:
    """Return the context of the application that serves `request`."""
    context: ApiContext = request.app.state.context
    return context


Context = Annotated[ApiContext, Depends(context_of)]
