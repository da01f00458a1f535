"""Examine the daemon: the host, the database, and everything it talks to. Examining changes nothing.

Each part has a time limit. A part that exceeds it is reported and left behind, so it holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread

from vvwatch.errors import OnAnotherNode, StorageThrottled, VvwatchError
from vvwatch.ports import Clock, EventQueue, Finding, SourceHealth, Storage
from vvwatch.ports.processing import Examinable
from vvwatch.store.admin import attention, audit, nodes, shortages, status_queries
from vvwatch.store.admin.database_queries import read_condition
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.models.admin import Failure
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.delivery import Webhook
from vvwatch.store.models.runs import PausedProcessor
from vvwatch.store.models.watching import (
    ExportAutomation,
    ImportAutomation,
    RefusedCount,
    StoredScanReport,
    WatchedAutomation,
)
from vvwatch.store.runs import processor_states
from vvwatch.store.watching import automations, watch_queries
from vvwatch.workflow.upkeep import findings, host, sandbox_report

T = TypeVar("T")
_AT_ONCE: Final = 32
_LONGEST_SECONDS: Final = 10.0
_LONGEST_REPAIR_SECONDS: Final = 20.0
_REFUSED_WITHIN_SECONDS: Final = 86_400.0
_SUBJECTS: Final = {
    "host": "host",
    "database": "writing",
    "connector": "access",
    "queue": "queue",
    "processor": "answers",
    "receiver": "access",
}
_USES: Final = {"import": "listed and read", "export": "written to"}
_LOG: Final = "journalctl -u vvwatch"


@dataclass(frozen=True, slots=True)
class Found:
    """A finding about a subject.

    The subject is `host`, `database`, `node`, `processor`, `connector`, `queue`, `automation`, `webhook`, `receiver`
    (of alerts), `address` (of clients), or what failed: `import_job`, `prompt_run`, `export`, `delivery`. `id` is that
    of the node, processor, receiver, connector (also for its queue) or resource; empty for host and database.
    """

    about: str
    id: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was repaired (`mended`), and all findings about the queues afterwards."""

    mended: Sequence[Found]
    found: Sequence[Found]


@dataclass(frozen=True, slots=True)
class Health:
    """The health of event sources: those of automations, and the queues of connectors."""

    automations: Mapping[str, SourceHealth]
    connectors: Mapping[str, SourceHealth]

    def of(self, row: ImportAutomation) -> SourceHealth | None:
        """Return the source that reports changes to this automation; None if only listings do."""
        return self.automations.get(row.id) or self.connectors.get(row.connector_id)


@dataclass(frozen=True, slots=True)
class _Part:
    about: str
    id: str
    work: Callable[[], Awaitable[Iterable[Finding]]]


@dataclass(frozen=True, slots=True)
class _Rows:
    connectors: Sequence[Connector]
    automations: Sequence[WatchedAutomation]
    sweeps: Mapping[str, StoredScanReport]
    refused: Sequence[RefusedCount]
    webhooks: Sequence[Webhook]
    exporting: Mapping[str, ExportAutomation]
    failures: Sequence[Failure]
    nodes: Sequence[nodes.Node]
    paused: Sequence[PausedProcessor]
    shortages: Sequence[shortages.WaitingWork]
    bad_keys: Sequence[audit.BadKeys]


class Examiner:
    """Examines and repairs. `open_storage` and `open_queue` take a connector's row and may block.

    `open_queue` opens a queue for one examination, or returns None if the connector has none. `state_dir` holds the
    database and the spool. `processors` are those that can check their dependencies, `receivers` those of alerts.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        open_storage: Callable[[Connector], Storage],
        open_queue: Callable[[Connector], EventQueue | None],
        state_dir: Path | None,
        seconds: float = _LONGEST_SECONDS,
        processors: Mapping[str, Examinable] = MappingProxyType({}),
        receivers: Mapping[str, Callable[[], Awaitable[Iterable[Finding]]]] = MappingProxyType({}),
    ) -> None:
        self._database = database
        self._clock = clock
        self._open_storage = open_storage
        self._open_queue = open_queue
        self._state_dir = state_dir
        self._seconds = seconds
        self._processors = processors
        self._receivers = receivers

    async def examine(self, health: Health, connector_id: str | None = None) -> list[Found]:
        """Return all findings; with `connector_id` only those of it and what uses it. Raises NotFound."""
        rows = await self._database.read(_read_rows, connector_id, self._clock.now())
        parts = [] if connector_id else [*self._host(rows), self._its_database(), *self._upstreams()]
        parts += [each for row in rows.connectors for each in self._connector(row)]
        found = await _run_parts(parts, self._seconds)
        return found + _check_rows(rows, health, self._clock.now())

    async def repair(self, connector_id: str | None = None) -> Repaired:
        """Repair what the queues call repairable. Raises NotFound."""
        rows = await self._database.read(_read_rows, connector_id, self._clock.now())
        mended: list[Found] = []
        parts = [
            _Part("queue", row.id, partial(self._repaired, row, mended))
            for row in _keep_with_queues(rows.connectors)
        ]
        found = await _run_parts(parts, max(self._seconds, _LONGEST_REPAIR_SECONDS))
        return Repaired(mended, found)

    def _host(self, rows: _Rows) -> list[_Part]:
        """Return the parts of the host. Counting folders may hang, so it is a part of its own."""
        watched = {row.connector_id for row in rows.automations}
        roots = [Path(row.settings["root"]) for row in rows.connectors if row.id in watched and _is_own(row)]
        looks = (
            partial(host.check_host, self._state_dir),
            partial(host.check_watching, roots),
            sandbox_report.check_sandbox,
        )
        return [
            _Part("host", "", partial(anyio.to_thread.run_sync, look, abandon_on_cancel=True))
            for look in looks
        ]

    def _its_database(self) -> _Part:
        async def look() -> Iterable[Finding]:
            await self._database.check()
            return [
                Finding("writing", "ok", "a transaction succeeds"),
                *findings.database_findings(await self._database.read(read_condition)),
            ]

        return _Part("database", "", look)

    def _upstreams(self) -> list[_Part]:
        """Return the parts of what work depends on: endpoints, programs, other services, receivers of alerts."""
        return [
            _Part("processor", name, partial(_check_processor, processor))
            for name, processor in self._processors.items()
        ] + [_Part("receiver", name, look) for name, look in self._receivers.items()]

    def _connector(self, row: Connector) -> list[_Part]:
        if row.status == catalog.DISABLED:
            return [_Part("connector", row.id, _disabled)]
        parts = [_Part("connector", row.id, partial(self._access, row))]
        return parts + [
            _Part("queue", each.id, partial(self._queue, each)) for each in _keep_with_queues([row])
        ]

    async def _access(self, row: Connector) -> Iterable[Finding]:
        """Test the connector's access without recording it as a test."""
        storage = await anyio.to_thread.run_sync(self._open_storage, row, abandon_on_cancel=True)
        below = (row.export_base_path or "") if "export" in row.scopes else None
        await storage.check(read="import" in row.scopes, write_below=below)
        use = " and ".join(words for scope, words in _USES.items() if scope in row.scopes)
        return [Finding("access", "ok", f"can be {use}"), findings.clock_finding(storage.clock_ahead_seconds)]

    async def _queue(self, row: Connector) -> Iterable[Finding]:
        queue = await self._opened(row)
        if queue is None:
            return ()
        try:
            return await queue.examine()
        finally:
            await queue.aclose()

    async def _repaired(self, row: Connector, mended: list[Found]) -> Iterable[Finding]:
        queue = await self._opened(row)
        if queue is None:
            return ()
        try:
            before = await queue.examine()
            wrong = [each for each in before if each.repairable and each.state != "ok"]
            after = await queue.repair() if wrong else before
        finally:
            await queue.aclose()
        ill = {each.subject for each in after if each.state != "ok"}
        mended += [Found("queue", row.id, each) for each in wrong if each.subject not in ill]
        return after

    async def _opened(self, row: Connector) -> EventQueue | None:
        return await anyio.to_thread.run_sync(self._open_queue, row, abandon_on_cancel=True)


def _read_rows(tx: Tx, connector_id: str | None, now: float) -> _Rows:
    if connector_id is not None:
        catalog.get_connector(tx, connector_id)
    there = [row for row in catalog.list_connectors(tx) if connector_id in (None, row.id)]
    wanted = {row.id for row in there}
    refused = watch_queries.count_refused_messages(tx, now - _REFUSED_WITHIN_SECONDS)
    return _Rows(
        connectors=there,
        automations=[row for row in watch_queries.list_watched(tx) if row.connector_id in wanted],
        sweeps=watch_queries.map_last_complete_scans(tx),
        refused=[row for row in refused if row.connector_id in wanted],
        webhooks=() if connector_id else status_queries.list_troubled_webhooks(tx),
        exporting={
            row.id: row
            for row in automations.list_export_automations(tx)
            if row.destination_connector_id in wanted
        },
        failures=() if connector_id else attention.list_failures(tx, now - attention.RECENT_SECONDS).found,
        nodes=() if connector_id else nodes.list_lost(tx),
        paused=() if connector_id else processor_states.list_paused(tx),
        shortages=() if connector_id else shortages.list_waiting(tx),
        bad_keys=() if connector_id else audit.list_bad_keys(tx),
    )


def _keep_with_queues(rows: Iterable[Connector]) -> list[Connector]:
    return [row for row in rows if row.events and row.status != catalog.DISABLED]


def _is_own(row: Connector) -> bool:
    """Return whether the kernel reports all changes in the connector's folder: not those of others to a share."""
    return row.provider == "local" and not row.settings.get("shared")


def _check_rows(rows: _Rows, health: Health, now: float) -> list[Found]:
    """Return the findings that need only the database."""
    found = [Found("host", "", findings.shortage_finding(each)) for each in rows.shortages]
    found += [Found("queue", row.connector_id, findings.refused_finding(row)) for row in rows.refused]
    for row in rows.automations:
        judged = findings.automation_findings(row, health.of(row), rows.sweeps.get(row.id), now)
        found += [Found("automation", row.id, each) for each in judged]
    for export in rows.exporting.values():
        found += [Found("automation", export.id, each) for each in findings.export_findings(export)]
    found += [Found(each.kind, each.id, findings.failure_finding(each)) for each in rows.failures]
    found += [Found("processor", row.name, findings.pause_finding(row)) for row in rows.paused]
    found += [Found("address", each.address, findings.bad_keys_finding(each)) for each in rows.bad_keys]
    found += [Found("node", node.name, findings.node_finding(node)) for node in rows.nodes]
    return found + [Found("webhook", row.id, findings.webhook_finding(row)) for row in rows.webhooks]


async def _check_processor(processor: Examinable) -> Iterable[Finding]:
    wrong = await processor.examine()
    if not wrong:
        return [Finding("answers", "ok", "can do its work")]
    return [Finding("answers", "problem", error.message, error.hint or _LOG) for error in wrong]


async def _disabled() -> Iterable[Finding]:
    return [Finding("access", "ok", "is disabled: nothing is asked of it")]


async def _run_parts(parts: Sequence[_Part], seconds: float) -> list[Found]:
    """Return the findings of the parts in order, each within this many seconds."""
    results: list[Iterable[Finding]] = [()] * len(parts)
    slots = anyio.Semaphore(_AT_ONCE)

    async def one(place: int, part: _Part) -> None:
        async with slots:
            results[place] = await _run_part(part, seconds)

    async with anyio.create_task_group() as tasks:
        for place, part in enumerate(parts):
            tasks.start_soon(one, place, part)
    return [
        Found(part.about, part.id, each)
        for part, result in zip(parts, results, strict=True)
        for each in result
    ]


async def _run_part(part: _Part, seconds: float) -> Iterable[Finding]:
    subject = _SUBJECTS[part.about]
    try:
        return await _run_within(seconds, part.work)
    except TimeoutError:
        which = "" if part.about == "processor" else part.id
        fix = f"vvwatch doctor {which}".rstrip()
        return [Finding(subject, "problem", f"no answer within {seconds:g} s", fix)]
    except OnAnotherNode as error:
        return [Finding(subject, "ok", error.message)]
    except VvwatchError as error:
        state = "warning" if isinstance(error, StorageThrottled) else "problem"
        return [Finding(subject, state, error.message, error.hint or _LOG)]
    except Exception as error:  # noqa: BLE001  # what breaks here must not hide the rest; it may hold secrets
        return [Finding(subject, "problem", f"the examination broke: {type(error).__name__}", _LOG)]


async def _run_within(seconds: float, work: Callable[[], Awaitable[T]]) -> T:
    """Return the result of `work`. Raises TimeoutError, and leaves a thread behind that still blocks."""
    task = asyncio.ensure_future(work())
    task.add_done_callback(_ignore_result)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    if not done:
        raise TimeoutError
    return task.result()


def _ignore_result(task: asyncio.Future[Any]) -> None:
    """Ignore the error of a task that was left behind."""
    if not task.cancelled():
        task.exception()
