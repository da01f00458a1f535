"""What the database tells, judged."""

from __future__ import annotations

import pytest

from vvwatch.store.admin.database_queries import Condition
from vvwatch.store.db import migrations
from vvwatch.workflow.upkeep.findings import clock_finding, database_findings

LATEST = migrations.LATEST


@pytest.mark.parametrize(
    ("condition", "states"),
    [
        (Condition("sqlite", LATEST, 1000, 0), {"schema": "ok", "size": "ok", "write-ahead log": "ok"}),
        (Condition("postgresql", LATEST, 1000, None), {"schema": "ok", "size": "ok"}),
        (
            Condition("sqlite", LATEST - 1, 1000, 1 << 30),
            {"schema": "problem", "size": "ok", "write-ahead log": "warning"},
        ),
    ],
)
def test_a_database_is_judged_by_its_schema_and_by_what_waits(
    condition: Condition, states: dict[str, str]
) -> None:
    found = list(database_findings(condition))
    assert {each.subject: each.state for each in found} == states
    assert all(bool(each.fix) is (each.state != "ok") for each in found)


@pytest.mark.parametrize(
    ("ahead", "state"), [(0, "ok"), (-59, "ok"), (60, "warning"), (-899, "warning"), (900, "problem")]
)
def test_a_clock_is_wrong_before_stores_refuse_what_it_signs(ahead: float, state: str) -> None:
    assert clock_finding(ahead).state == state
