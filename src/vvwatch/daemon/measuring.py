"""Measures what only metrics show: ages of waiting work, spending, room on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

from anyio import to_thread

from vvwatch.config import Config
from vvwatch.config.processors import budgets_of
from vvwatch.core.budgets import Budget, day_scope, month_scope
from vvwatch.daemon.wiring import Components
from vvwatch.store.admin import gauges

ALL_PROCESSORS = ""


class Measurements:
    """Takes the gauges of a daemon."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._is_first = True

    async def take(self) -> dict[str, Any]:
        """Return the values by gauge; the first time with the last successes, for which all jobs are read.

        Raises StoreUnavailable.
        """
        components = self._components
        found = await components.database.read(gauges.read_gauges)
        disk = await to_thread.run_sync(shutil.disk_usage, components.config.state_dir)
        values: dict[str, Any] = {
            "automation_failing": found.failing,
            "scan_unproven": found.unproven,
            "oldest_waiting_seconds": found.oldest_seconds,
            "nodes_up": found.nodes_up,
            "spool_used_bytes": components.storages.spool.taken_bytes,
            "spool_limit_bytes": components.config.processing.spool_bytes,
            "state_dir_free_bytes": disk.free,
            "state_dir_size_bytes": disk.total,
            **await self._measure_spending(),
        }
        if self._is_first:
            values["last_success_timestamp_seconds"] = await components.database.read(
                gauges.map_last_successes
            )
            self._is_first = False
        return values

    async def _measure_spending(self) -> dict[str, dict[tuple[str, str], float]]:
        components = self._components
        now, config = components.clock.now(), components.config
        scopes = {
            (name, period): scope(now, name)
            for name in (ALL_PROCESSORS, *config.processors)
            for period, scope in (("day", day_scope), ("month", month_scope))
        }
        spent = await components.database.read(gauges.read_spent, tuple(scopes.values()))
        usd = {key: spent.get(scope, 0.0) for key, scope in scopes.items()}
        used = {key: usd[key] / limit for key, limit in _list_limits(config) if limit}
        return {"spend_usd": usd, "budget_used_ratio": used}


def _list_limits(config: Config) -> Iterator[tuple[tuple[str, str], float | None]]:
    found = budgets_of(config.processing.budget, config.processors)
    for name, budget in {ALL_PROCESSORS: found.overall, **found.by_processor}.items():
        yield from (((name, period), limit) for period, limit in _by_period(budget))


def _by_period(budget: Budget) -> tuple[tuple[str, float | None], ...]:
    return ("day", budget.per_day_usd), ("month", budget.per_month_usd)
