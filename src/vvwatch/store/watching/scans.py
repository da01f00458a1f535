"""Reports of full scans: results, and whether they prove deletions. The last 200 of an automation are kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import first_of, models_of
from vvwatch.store.models.watching import ImportAutomation, ScanReport, StoredScanReport
from vvwatch.store.schema import reconciles
from vvwatch.store.watching import absences

MAX_KEPT_REPORTS: Final = 200

_NEWS: Final = ("created", "changed", "gone", "recovered")
_STANDING: Final = ("complete", "proof", "remark")
_SEEN: Final = ("left_out", "odd")


def record_report(tx: Tx, automation: ImportAutomation, report: ScanReport) -> None:
    """Keep the report. One without news replaces the one before if both say the same."""
    if report.proof:
        absences.drop_stale_absences(tx, automation.scope_id, report.id)
    last = first_of(StoredScanReport, tx.execute(_select_reports(automation.id).limit(1)))
    values = {**asdict(report), "left_out": dict(report.left_out or {}), "odd": list(report.odd or ())}
    if last is not None and _is_repeat(last, values):
        tx.execute(sa.delete(reconciles).where(reconciles.c.seq == last.seq))
    tx.insert(reconciles, automation_id=automation.id, **values)
    _forget_oldest(tx, automation.id)


def _is_repeat(row: StoredScanReport, values: dict[str, Any]) -> bool:
    quiet = not any(getattr(row, name) or values[name] for name in _NEWS)
    names_absent = (
        values["proof"] and values["remark"]
    )  # absences refer to it as the first scan that missed them
    is_same = all((getattr(row, name) or type(values[name])()) == values[name] for name in _SEEN)
    return (
        quiet
        and is_same
        and not names_absent
        and all(getattr(row, name) == values[name] for name in _STANDING)
    )


def _select_reports(automation_id: str) -> sa.Select[Any]:
    its = sa.select(reconciles).where(reconciles.c.automation_id == automation_id)
    return its.order_by(reconciles.c.seq.desc())


def _forget_oldest(tx: Tx, automation_id: str) -> None:
    old = (
        _select_reports(automation_id)
        .with_only_columns(reconciles.c.id)
        .offset(MAX_KEPT_REPORTS)
        .limit(MAX_KEPT_REPORTS)
    )
    tx.execute(sa.delete(reconciles).where(reconciles.c.id.in_(tx.execute(old).scalars().all())))


def list_reports(tx: Tx, automation_id: str, most: int) -> list[StoredScanReport]:
    """List at most `most` reports of an automation, newest first."""
    return models_of(StoredScanReport, tx.all(_select_reports(automation_id).limit(most)))
