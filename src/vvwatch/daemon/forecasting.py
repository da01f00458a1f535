"""Forecasts the calls, tokens and US dollars of processing an automation's media."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vvwatch.clock import SystemClock
from vvwatch.config import Config
from vvwatch.config.models import Automation
from vvwatch.config.processors import budgets_of
from vvwatch.core import budgets
from vvwatch.core.budgets import Spent
from vvwatch.core.media import RunSettings, with_lengths
from vvwatch.core.money import Forecast, Workload
from vvwatch.core.segments import Amount, segments_between
from vvwatch.ports.processing import Processor
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.registry import ClosedLimiter, Resources, open_processors
from vvwatch.workflow.pipeline.prompts import choose_prompt

USUAL_SECONDS = 600.0
"""How long a media item is supposed to be when nobody says."""

_NOTHING: Mapping[str, Spent] = {}


@dataclass(frozen=True, slots=True)
class Work:
    """The most that processing takes, and the budgets it would reach."""

    processor: str
    items: int
    media_seconds: float
    forecast: Forecast
    shortages: tuple[str, ...]


class Forecaster:
    """Forecasts with the configured processors, without a network."""

    def __init__(self, config: Config, work_dir: Path, media_seconds: float) -> None:
        self._config = config
        self._work_dir = work_dir
        self._media_seconds = media_seconds
        self._budgets = budgets_of(config.processing.budget, config.processors)
        self._processors: dict[str, Processor] = {}
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the processors. Raises InvalidInput."""
        clock, limits = SystemClock(), Limits()
        resources = Resources(
            limits, self._work_dir, clock, lambda *_: ClosedLimiter(), lambda *_, **__: None
        )
        self._processors = open_processors(self._config, resources)
        for processor in self._processors.values():
            self._closing.push_async_callback(processor.aclose)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close them."""
        await self._closing.aclose()

    def work(self, automation: Automation, items: int) -> Work | None:
        """Return what processing so many videos takes; None if the prompt exists only in the API."""
        name, prompt = choose_prompt(self._config, automation)
        if prompt is None:
            return None
        preset = automation.prompt.model_dump(exclude={"prompt_id"}, exclude_none=True)
        settings = RunSettings(**with_lengths(preset))
        amount = Amount("video", items, items * self._media_seconds)
        workload = Workload("video", items, amount.seconds, *segments_between(amount, settings))
        forecast = self._processors[name].forecast(workload, prompt, settings)
        known = self._budgets, name, SystemClock().now(), _NOTHING
        return Work(
            name, items, self._media_seconds, forecast, tuple(budgets.list_exceeded(*known, forecast, items))
        )
