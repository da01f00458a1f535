"""The processor that delegates to a hosted VideoVector or another vvwatch."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from importlib import metadata
from typing import Final

import anyio

from vvwatch.config import Secret
from vvwatch.config.ids import connector_id
from vvwatch.config.processors import VideoVectorProcessor as VideoVectorTable
from vvwatch.core.media import ProcessingResult, RunSettings
from vvwatch.core.money import Forecast, Workload
from vvwatch.core.processors import ProcessorInfo
from vvwatch.errors import InvalidInput, ProcessorError
from vvwatch.extras import install_command, list_requirements
from vvwatch.ports import Clock
from vvwatch.ports.processing import Item, Limiter, Processor, Prompt
from vvwatch.processors.registry import Opener, Resources
from vvwatch.processors.videovector.delegation import Delegation
from vvwatch.processors.videovector.prompts import Prompts, check_prompt
from vvwatch.processors.videovector.service import Terms, UpstreamService
from vvwatch.processors.videovector.upstream import Address, Upstream

__all__ = ["Address", "Terms", "VideoVectorProcessor"]

_SECONDS_A_MINUTE: Final = 60.0


class VideoVectorProcessor:
    """Implements `Processor` by the official SDK: imports an item there, runs a prompt, and takes the results.

    `usd_per_minute` is the approximate cost of a minute of media, for forecasts; before each item the upstream itself
    is asked.
    """

    def __init__(
        self,
        info: ProcessorInfo,
        address: Address,
        terms: Terms,
        limiter: Limiter,
        *,
        clock: Clock,
        usd_per_minute: float | None = None,
        sample: Callable[[], float] = random.random,
    ) -> None:
        self.info = info
        self._terms = terms
        self._usd_per_minute = usd_per_minute
        self._upstream = Upstream(address, limiter)
        self._service = UpstreamService(
            name=info.name,
            upstream=self._upstream,
            prompts=Prompts(self._upstream, terms.prompt_id),
            terms=terms,
            uploads=anyio.CapacityLimiter(terms.uploads_in_flight),
            clock=clock,
            sample=sample,
        )

    def check_prompt(self, prompt: Prompt) -> None:
        """Raise InvalidInput for what a VideoVector does not take; with a fixed prompt there, ours is not sent."""
        if self._terms.prompt_id is None:
            check_prompt(prompt)

    def forecast(self, workload: Workload, prompt: Prompt, settings: RunSettings) -> Forecast:  # noqa: ARG002
        """Return one call for each item, and the cost by the minute if the price is known."""
        price = self._usd_per_minute
        cost = None if price is None else price * workload.seconds / _SECONDS_A_MINUTE
        return Forecast(calls=workload.items, cost_usd=cost)

    async def process(self, item: Item) -> ProcessingResult:
        """Return the upstream's results. Requests made before a restart are not repeated."""
        delegation = Delegation(item, self._service, self._model(item.settings))
        if item.only is not None:
            return await delegation.result_of_retry(item.only)
        return await delegation.result()

    async def examine(self) -> tuple[ProcessorError, ...]:
        """Return the problems of the upstream or the way to it: the key, the index, the connectors."""
        wrong: list[ProcessorError] = []
        for look in self._looks():
            try:
                await look()
            except ProcessorError as error:
                wrong.append(error)
        return tuple(wrong)

    def _looks(self) -> Iterator[Callable[[], Awaitable[None]]]:
        yield self._upstream.authenticate
        yield partial(self._upstream.index, self._terms.index_id)
        for connector in sorted(set(self._terms.connectors.values())):
            yield partial(self._upstream.connector, connector)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._upstream.aclose()

    def _model(self, settings: RunSettings) -> str | None:
        """Return the model to request: the configured one, unless that is our own name."""
        wanted = settings.processing_model
        return self._terms.model if wanted in {None, self.info.name} else wanted


def open_processor(
    name: str, table: VideoVectorTable, api_key: Secret | None, resources: Resources
) -> VideoVectorProcessor:
    """Return the processor of a table. Raises InvalidInput when the SDK is not installed."""
    _require_sdk(name)
    key = api_key or Secret("")
    address = Address(name, table.base_url, key, timeout_seconds=table.timeout_seconds)
    terms = Terms(
        index_id=table.index_id,
        connectors={_connector_id(ours): theirs for ours, theirs in (table.connectors or {}).items()},
        prompt_id=table.prompt_id,
        model=table.model,
        deadline_seconds=table.deadline_seconds,
        segment_retries=table.segment_retries,
        uploads_in_flight=table.uploads_in_flight,
        usd_per_mt=table.usd_per_mt,
    )
    return VideoVectorProcessor(
        table.info(name),
        address,
        terms,
        resources.limiter(name, table.rates),
        usd_per_minute=table.usd_per_minute,
        clock=resources.clock,
    )


def _require_sdk(name: str) -> None:
    """Raise InvalidInput unless the SDK is installed in exactly the supported version."""
    wanted = list_requirements("videovector")
    found = {f"videovector=={version}" for version in _sdk_versions()}
    if not found.issuperset(wanted):
        what = f"and {', '.join(found)} is installed" if found else "which is not installed"
        raise InvalidInput(
            f"the processor {name!r} needs {', '.join(wanted)}, {what}", install_command("videovector")
        )


def _sdk_versions() -> list[str]:
    try:
        return [metadata.version("videovector")]
    except metadata.PackageNotFoundError:
        return []


def _connector_id(name: str) -> str:
    """Return the id of our connector, which the file names or contains."""
    return name if name.startswith("conn_") else connector_id(name)


_: type[Processor] = VideoVectorProcessor
_opens: Opener = open_processor
