"""The state of everything in one answer, with a fixed number of queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic

import sqlalchemy as sa

from vvwatch.errors import NotFound
from vvwatch.store.admin import audit, shortages
from vvwatch.store.admin.attention import MOST_COUNTED, list_failures, list_newest, list_waiting
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import Model, models_of
from vvwatch.store.models.admin import Failures
from vvwatch.store.models.delivery import Export, Webhook
from vvwatch.store.models.imports import ImportJob
from vvwatch.store.models.runs import Run
from vvwatch.store.models.watching import ExportAutomation, NamedAutomation, StoredScanReport, Window
from vvwatch.store.runs import processor_states
from vvwatch.store.schema import (
    connectors,
    export_automations,
    exports,
    import_automations,
    import_jobs,
    indexes,
    prompt_runs,
    webhooks,
    windows,
)
from vvwatch.store.watching import watch_queries

NEWEST: Final = 50
"""How much of the work under way is listed for each kind; the rest is counted."""


@dataclass(frozen=True, slots=True)
class UnderWay(Generic[Model]):
    """Unfinished work: the newest of it, and how much there is (at most `MOST_COUNTED`)."""

    newest: Sequence[Model]
    count: int


@dataclass(frozen=True, slots=True)
class State:
    """Everything in the database that shows how the daemon is doing.

    `automations` are all import automations with their index (`index_name`) and connector (`connector_status`,
    `events`). `exporting` is by index, `windows` (open ones) and `sweeps` (the last full scans) by automation,
    `refused` (irrelevant messages) by connector. `webhooks` are those whose last attempts failed, `processors` the
    paused ones and the runs that wait for one, `shortages` what waits for a machine, `bad_keys` the addresses that
    send invalid keys.
    """

    automations: Sequence[NamedAutomation]
    exporting: Mapping[str, ExportAutomation]
    windows: Mapping[str, Window]
    sweeps: Mapping[str, StoredScanReport]
    refused: Mapping[str, int]
    jobs: UnderWay[ImportJob]
    runs: UnderWay[Run]
    exports: UnderWay[Export]
    failures: Failures
    webhooks: Sequence[Webhook]
    processors: processor_states.Blocked
    shortages: Sequence[shortages.WaitingWork]
    bad_keys: Sequence[audit.BadKeys]


def read_state(
    tx: Tx, since: float, automation_ids: Sequence[str] | None = None, most_failures: int | None = None
) -> State:
    """Return the state of everything; failures and refused messages are those after `since`.

    With `automation_ids`, `automations`, `exporting`, `windows` and `sweeps` have only these. With `most_failures`,
    `failures` has the newest of each kind alone, as `list_newest` returns them; with 0, only what waits.
    """
    automations = _automations(tx, automation_ids)
    return State(
        automations=automations,
        exporting=_map_exporting(
            tx, None if automation_ids is None else [row.index_id for row in automations]
        ),
        windows=_map_windows(tx, automation_ids),
        sweeps=watch_queries.map_last_scans(tx, automation_ids),
        refused=_select_refused(tx, since),
        jobs=_under_way(tx, ImportJob, import_jobs),
        runs=_under_way(tx, Run, prompt_runs),
        exports=_under_way(tx, Export, exports),
        failures=_read_failures(tx, since, most_failures),
        webhooks=list_troubled_webhooks(tx),
        processors=processor_states.read_blocked(tx),
        shortages=shortages.list_waiting(tx),
        bad_keys=audit.list_bad_keys(tx),
    )


def find_automation(tx: Tx, automation_id: str) -> NamedAutomation:
    """Return an import automation. Raises NotFound."""
    found = _automations(tx, [automation_id])
    if not found:
        raise NotFound("automation", automation_id)
    return found[0]


def list_troubled_webhooks(tx: Tx) -> list[Webhook]:
    """Return webhooks whose last attempts failed."""
    wanted = webhooks.c.failure_count > 0, webhooks.c.status != "deleted"
    return models_of(Webhook, tx.all(sa.select(webhooks).where(*wanted).order_by(webhooks.c.id)))


def _read_failures(tx: Tx, since: float, most: int | None) -> Failures:
    if most is None:
        return list_failures(tx, since)
    return list_newest(tx, since, most) if most else Failures(list_waiting(tx), {})


def _map_exporting(tx: Tx, index_ids: Sequence[str] | None) -> dict[str, ExportAutomation]:
    chosen = sa.select(export_automations).where(_is_among(export_automations.c.index_id, index_ids))
    return {row.index_id: row for row in models_of(ExportAutomation, tx.all(chosen))}


def _map_windows(tx: Tx, automation_ids: Sequence[str] | None) -> dict[str, Window]:
    wanted = windows.c.state == "open", _is_among(windows.c.automation_id, automation_ids)
    return {row.automation_id: row for row in models_of(Window, tx.all(sa.select(windows).where(*wanted)))}


def _is_among(column: sa.ColumnElement[str], ids: Sequence[str] | None) -> sa.ColumnElement[bool]:
    return sa.true() if ids is None else column.in_(ids)


def _automations(tx: Tx, automation_ids: Sequence[str] | None) -> list[NamedAutomation]:
    table = import_automations
    extra = (
        indexes.c.name.label("index_name"),
        connectors.c.status.label("connector_status"),
        connectors.c.events,
    )
    joined = sa.select(table, *extra).join(indexes, indexes.c.id == table.c.index_id)
    joined = joined.join(connectors, connectors.c.id == table.c.connector_id).order_by(table.c.index_id)
    return models_of(NamedAutomation, tx.all(joined.where(_is_among(table.c.id, automation_ids))))


def _select_refused(tx: Tx, since: float) -> dict[str, int]:
    refused: dict[str, int] = {}
    for row in watch_queries.count_refused_messages(tx, since):
        refused[row.connector_id] = refused.get(row.connector_id, 0) + row.messages
    return refused


def _under_way(tx: Tx, model: type[Model], table: sa.Table) -> UnderWay[Model]:
    goes_on = table.c.completed_at.is_(None)
    chosen = sa.select(table).where(goes_on).order_by(table.c.id.desc()).limit(NEWEST)
    newest = models_of(model, tx.all(chosen))
    if len(newest) < NEWEST:
        return UnderWay(newest, len(newest))
    some = sa.select(table.c.id).where(goes_on).limit(MOST_COUNTED).subquery()
    return UnderWay(newest, int(tx.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()))
