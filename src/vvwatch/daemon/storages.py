"""The storages of connectors, opened on demand and replaced when a connector changes, and their event queues."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from vvwatch.config import Config
from vvwatch.core.locations import Address
from vvwatch.errors import (
    Conflict,
    CredentialsRefused,
    InvalidInput,
    OnAnotherNode,
    StorageUnavailable,
    StoreError,
)
from vvwatch.ports import EventQueue, Storage
from vvwatch.providers.provider import Access, require_extra
from vvwatch.providers.registry import PROVIDERS, addresses_of
from vvwatch.providers.spool import Spool
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.models.catalog import Connector

_CLOSING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Opened:
    """A storage and the settings it was opened with: other settings replace it."""

    wanted: tuple[object, ...]
    storage: Storage


class Storages:
    """Opens the storage of a connector once for each setting: a storage remembers what it learnt.

    `config` returns the current configuration, `box` opens credentials, `spool` stores downloads.
    """

    def __init__(self, config: Callable[[], Config], box: SecretBox, spool: Spool) -> None:
        self._config = config
        self._box = box
        self.spool = spool
        self._opened: dict[str, _Opened] = {}
        self._replaced: list[Storage] = []
        self._opening = threading.Lock()

    def __call__(self, connector: Connector) -> Storage:
        """Return the storage; blocks while it imports what the provider needs.

        Raises OnAnotherNode for another node's folder, CredentialsRefused without credentials, StoreError for ones
        sealed with another key, Conflict for a deleted connector, and InvalidInput for an unknown provider or a
        missing package.
        """
        self._require_within_reach(connector)
        location = self._location(connector)
        roots = self._roots(connector)
        wanted = (connector.provider, json.dumps(location, sort_keys=True), connector.credentials, roots)
        with self._opening:
            known = self._opened.get(connector.id)
            if known is None or known.wanted != wanted:
                storage = self._open(connector, location)
                self._opened[connector.id] = _Opened(wanted, storage)
                self._replaced += (
                    [] if known is None else [known.storage]
                )  # what is under way may still read there
            return self._opened[connector.id].storage

    def for_work(self, connector: Connector) -> Storage:
        """Return the storage for the daemon's own work, which waits for whatever a person must repair.

        Raises StorageUnavailable also for a disabled connector, and for one that cannot be opened on this node.
        """
        if connector.status == "disabled":
            raise StorageUnavailable(
                f"connector {connector.id!r} is disabled",
                "set its status to active: everything that uses it resumes",
            )
        try:
            return self(connector)
        except (InvalidInput, StoreError) as error:
            raise StorageUnavailable(error.message, error.hint) from error

    def access(self, connector: Connector) -> Access:
        """Return what a client of the connector's store needs. Raises as a call does."""
        self._require_within_reach(connector)
        location = self._location(connector)
        return Access(location, self._credentials(connector, location))

    def addresses(self, connector: Connector) -> tuple[Address, ...]:
        """Return `addresses_of` with the current endpoint of the connector."""
        return addresses_of(connector.provider, self._location(connector))

    async def aclose(self) -> None:
        """Close all storages, even when cancelled; slow ones are left to the end of the process."""
        with anyio.move_on_after(_CLOSING_SECONDS, shield=True):
            async with anyio.create_task_group() as tasks:
                for storage in (*self._replaced, *(each.storage for each in self._opened.values())):
                    tasks.start_soon(_close_storage, storage)

    def _require_within_reach(self, connector: Connector) -> None:
        here = self._config().node.name
        if connector.status == "deleted":
            raise Conflict(f"connector {connector.id!r} was deleted", "create another connector and use that")
        if connector.node not in ("", here):
            raise OnAnotherNode(
                f"the folder of connector {connector.id!r} is on the node {connector.node!r}; this one is {here!r}",
                f"ask the vvwatch on {connector.node!r}, or declare it shared = true where all nodes mount it",
            )

    def _location(self, connector: Connector) -> dict[str, Any]:
        """Return where the objects are, with the provider's usual endpoint if the connector names none."""
        own: dict[str, Any] = connector.settings
        usual = self._config().storage.of(connector.provider)
        if usual is None or "endpoint_url" in own:
            return own
        return {**usual.model_dump(mode="json", exclude_defaults=True), **own}

    def _roots(self, connector: Connector) -> tuple[Path, ...]:
        """Return where a folder may be; the built-in folder of uploads has its own root."""
        if connector.builtin:
            return (Path(connector.settings["root"]),)
        return tuple(self._config().local.roots) if connector.provider == "local" else ()

    def _open(self, connector: Connector, location: Mapping[str, Any]) -> Storage:
        provider = PROVIDERS.get(connector.provider)
        if provider is None:
            raise InvalidInput(
                f"no storage for provider {connector.provider!r}", "a newer vvwatch may have it"
            )
        access = Access(location, self._credentials(connector, location))
        with require_extra(provider.kind):
            return provider.open_storage(access, self.spool, self._roots(connector))

    def _credentials(self, connector: Connector, location: Mapping[str, Any]) -> str | None:
        """Return the connector's credentials; None for the machine's identity and for an emulator."""
        if connector.credentials is not None:
            return self._box.open(connector.credentials)
        needs_none = PROVIDERS[connector.provider].table.needs_no_credentials(
            location.get("endpoint_url", "")
        )
        if not (connector.settings.get("ambient") or needs_none):
            raise CredentialsRefused(
                f"connector {connector.id!r} has no credentials", "give it some: PATCH it"
            )
        return None


async def _close_storage(storage: Storage) -> None:
    with suppress(Exception):  # the process ends, and the others want to be closed as well
        await storage.aclose()


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
