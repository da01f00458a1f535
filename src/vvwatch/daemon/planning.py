"""Forecasts what a configuration takes: lists each location once, writes nothing."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio
import anyio.to_thread

from vvwatch.config import CloudConnector, Config, LocalConnector, ids
from vvwatch.config import Connector as DeclaredConnector
from vvwatch.config.models import Automation
from vvwatch.core.costs import Detection, Forecast, Watch, calls_of, forecast_calls
from vvwatch.core.durations import parse_duration
from vvwatch.core.filters import ObjectFilter
from vvwatch.daemon.forecasting import USUAL_SECONDS, Forecaster, Work
from vvwatch.daemon.storages import Storages
from vvwatch.errors import VvwatchError
from vvwatch.ports import Storage
from vvwatch.providers.registry import PROVIDERS
from vvwatch.providers.spool import Spool
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.models.catalog import Connector
from vvwatch.workflow.listings import closing

_MOST_OBJECTS: Final = 1_000_000
_LONGEST_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Size:
    """The objects below a prefix and the requests that listed them; if not `complete`, there are more."""

    objects: int
    calls: int
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Planned:
    """An automation and what it takes; without `size` and `forecast`, `error` says why that is unknown.

    `work` is the processing of everything there; None if the prompt is not in the file.
    """

    name: str
    automation: Automation
    learnt_by: Detection
    size: Size | None = None
    forecast: Forecast | None = None
    work: Work | None = None
    error: VvwatchError | None = None


async def plan_automations(
    config: Config, objects: int | None = None, media_seconds: float = USUAL_SECONDS
) -> list[Planned]:
    """Return a forecast for each automation, with `objects` in its location; None: count them.

    Counting ends at a million objects or after two minutes. Assumes that each object is a video of `media_seconds`;
    opens none.
    """
    with TemporaryDirectory() as folder:
        box = SecretBox(base64.urlsafe_b64encode(secrets.token_bytes(32)))
        storages = Storages(lambda: config, box, Spool(Path(folder), config.processing.spool_bytes))
        try:
            async with Forecaster(config, Path(folder), media_seconds) as forecaster:
                planner = _Planner(config, storages, box, objects, forecaster)
                return [await planner.plan(*each) for each in config.automations.items()]
        finally:
            await storages.aclose()


class _Planner:
    """Plans the automations of a configuration; counts a location once that several watch alike."""

    def __init__(
        self,
        config: Config,
        storages: Storages,
        box: SecretBox,
        objects: int | None,
        forecaster: Forecaster,
    ) -> None:
        self._forecaster = forecaster
        self._config = config
        self._storages = storages
        self._box = box
        self._objects = objects
        self._counted: dict[tuple[object, ...], Size] = {}

    async def plan(self, name: str, automation: Automation) -> Planned:
        """Return the plan of one automation; a problem becomes its `error`."""
        connector = self._config.connectors[automation.connector]
        learnt_by = _learning_of(connector)
        try:
            storage = await anyio.to_thread.run_sync(self._storages, self._row(automation.connector))
            size = await self._size(automation, PROVIDERS[connector.type].listed_at_once, storage)
        except VvwatchError as error:
            return Planned(name, automation, learnt_by, error=error)
        events = connector.events if isinstance(connector, CloudConnector) else None
        watch = Watch(
            calls=size.calls,
            scan_seconds=automation.scan_seconds,
            learnt_by=learnt_by,
            sweep_seconds=automation.scan_seconds
            if events is None
            else parse_duration(events.sweep_interval),
            settle_seconds=0.0 if storage.capabilities.atomic_writes else automation.settle_seconds,
            calls_per_hour=automation.max_list_calls_per_hour,
            polls=storage.capabilities.start_after,
            usd_per_call=storage.capabilities.list_usd,
        )
        work = self._forecaster.work(automation, size.objects)
        return Planned(name, automation, learnt_by, size, forecast_calls(watch), work)

    def _row(self, name: str) -> Connector:
        """Return the connector as the database would."""
        wanted, secret = self._config.connectors[name], self._config.connector_secrets.get(name)
        sealed = None if secret is None else self._box.seal(secret.reveal())
        node = wanted.node if isinstance(wanted, LocalConnector) and self._config.replicated else None
        return Connector(
            id=ids.connector_id(name),
            name=name,
            provider=wanted.type,
            status="active",
            scopes=list(wanted.scopes),
            import_mode=wanted.import_mode,
            export_base_path=wanted.export_base_path,
            settings=dict(wanted.location),
            node=node or "",
            events=None,
            credentials=sealed,
            declared=True,
            builtin=False,
            created_at=0.0,
            updated_at=0.0,
            last_tested_at=None,
            last_test_result=None,
            last_test_error=None,
        )

    async def _size(self, automation: Automation, at_once: int | None, storage: Storage) -> Size:
        if self._objects is not None:
            return Size(self._objects, calls_of(at_once, self._objects))
        place = automation.connector, automation.prefix, automation.recursive, automation.exclude
        if place not in self._counted:
            found = await _count_objects(storage, automation)
            calls = max(found.calls, calls_of(at_once, found.objects))
            self._counted[place] = replace(found, calls=calls)
        return self._counted[place]


async def _count_objects(storage: Storage, automation: Automation) -> Size:
    """Return the size by one listing. Raises StorageError if the location cannot be listed."""
    found = Size(0, 0, complete=False)
    rules = ObjectFilter(automation.prefix, automation.pattern, automation.recursive, automation.exclude)
    with anyio.move_on_after(_LONGEST_SECONDS):
        listing = storage.list(automation.prefix, recursive=automation.recursive, skips=rules.skips)
        async with closing(listing) as pages:
            async for page in pages:
                found = Size(found.objects + len(page.objects), found.calls + page.calls, complete=False)
                if found.objects >= _MOST_OBJECTS:
                    return found
        return replace(found, complete=True)
    return found


def _learning_of(connector: DeclaredConnector) -> Detection:
    if isinstance(connector, LocalConnector):
        return Detection.LISTING if connector.shared else Detection.NOTICES
    events = isinstance(connector, CloudConnector) and connector.events is not None
    return Detection.EVENTS if events else Detection.LISTING
