"""Maps each processor type to the module that opens it, and holds what all processors receive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from vvwatch.config import Config, Secret
from vvwatch.config.processors import TechnicalProcessorTable
from vvwatch.core.processors import TECHNICAL, Rates
from vvwatch.errors import ProcessorPaused
from vvwatch.ports import Clock
from vvwatch.ports.processing import Limiter, Processor
from vvwatch.processors.media.cutting import Cutter
from vvwatch.processors.media.forking import Template
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.technical.early import EarlyResults

_MODULES: Final[Mapping[str, str]] = {
    "command": "vvwatch.processors.command.processor",
    "openai": "vvwatch.processors.openai.processor",
    "technical": "vvwatch.processors.technical.processor",
    "videovector": "vvwatch.processors.videovector.processor",
}
"""The module of each type, loaded only if configured; its function `open_processor` is an Opener."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What the daemon gives to processors.

    `limits` bounds a confined child; `work_dir` holds private folders, and files there are left over from a crash if
    nothing is processed. `limiter` makes a processor's limiter from its name and rates. `emit` records telemetry.
    `template` forks confined children. `early` has results of probes.
    """

    limits: Limits
    work_dir: Path
    clock: Clock
    limiter: Callable[[str, Rates], Limiter]
    emit: Callable[..., None]
    template: Template | None = None
    early: EarlyResults | None = None


class Opener(Protocol):
    """Makes a processor from its name, its table (of its type) and its API key; connects to nothing yet."""

    def __call__(self, name: str, table: Any, api_key: Secret | None, resources: Resources, /) -> Processor:
        """Return the processor. Raises InvalidInput when a package that it needs is not installed."""
        ...


class ClosedLimiter:
    """Implements `Limiter` for callers that only need forecasts: no call is ever made."""

    def slot(self, tokens: int = 0) -> AbstractAsyncContextManager[None]:  # noqa: ARG002  # the port's name
        """Raise ProcessorPaused."""
        raise ProcessorPaused("no processor is called here", "start the daemon: vvwatch run")

    def hold_back(self, seconds: float) -> None:
        """Do nothing."""

    async def pause(self, error: Exception) -> None:
        """Do nothing."""


_: type[Limiter] = ClosedLimiter


def open_cutter(resources: Resources) -> Cutter:
    """Return what cuts media and extracts pictures and sound."""
    return Cutter(limits=resources.limits, work_dir=resources.work_dir, template=resources.template)


def open_processors(config: Config, resources: Resources) -> dict[str, Processor]:
    """Return all processors by name, the built-in one included. Raises InvalidInput."""
    return {name: open_processor(config, name, resources) for name in (TECHNICAL, *config.processors)}


def open_processor(config: Config, name: str, resources: Resources) -> Processor:
    """Return the processor of this name. Raises InvalidInput."""
    table = config.processors.get(name, TechnicalProcessorTable())
    return _load_opener(table.type)(name, table, config.processor_secrets.get(name), resources)


def _load_opener(kind: str) -> Opener:
    opener: Opener = import_module(_MODULES[kind]).open_processor
    return opener
