"""The catalogue holds what the code tells, and moves the metrics it promises."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vvwatch
from vvwatch.errors import StorageUnavailable
from vvwatch.telemetry import CATALOGUE, Telemetry


def sample(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"vvwatch_{name}", labels)


def _emits() -> Iterator[tuple[ast.Call, ast.Module]]:
    """Every call of `emit` in the code that tells events, with its module."""
    root = Path(vvwatch.__file__).parent
    for path in root.rglob("*.py"):
        if path.relative_to(root).parts[0] in ("cli", "telemetry"):
            continue
        module = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "emit":
                yield node, module


def _events_of(expression: ast.expr, module: ast.Module) -> set[str]:
    """The events that `expression` may be, by its texts or those of the table it looks into."""
    if isinstance(expression, ast.Subscript):
        name = ast.unparse(expression.value)
        [table] = [each for each in module.body if re.match(rf"{name}(:[^=]+)? = ", ast.unparse(each))]
        assert isinstance(table, ast.Assign | ast.AnnAssign)
        assert table.value is not None
        return _events_of(table.value, module)
    if isinstance(expression, ast.JoinedStr):
        pattern = "".join(
            str(each.value) if isinstance(each, ast.Constant) else "[a-z_]+" for each in expression.values
        )
        return {event for event in CATALOGUE if re.fullmatch(pattern, event)}
    if isinstance(expression, ast.IfExp):
        return _events_of(expression.body, module) | _events_of(expression.orelse, module)
    return {
        each.value
        for each in ast.walk(expression)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }


def _fields_of(call: ast.Call, module: ast.Module) -> set[str] | None:
    """The names of the fields of a call of `emit`; None if a mapping among them is made in another function."""
    around = [
        node
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and call in ast.walk(node)
    ]
    literals = {
        ast.unparse(target): {str(ast.literal_eval(key)) for key in node.value.keys if key}
        for node in ast.walk(around[-1])
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Dict)
        and node.value.keys
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    }
    fields = set[str]()
    for each in call.keywords:
        if each.arg is None and ast.unparse(each.value) not in literals:
            return None
        fields |= {each.arg} if each.arg else literals[ast.unparse(each.value)]
    return fields


def test_the_catalogue_has_exactly_the_events_that_are_told() -> None:
    told = set[str]().union(*(_events_of(call.args[0], module) for call, module in _emits()))

    assert told == set(CATALOGUE)


def test_the_catalogue_names_the_fields_that_are_told() -> None:
    for call, module in _emits():
        given = _fields_of(call, module)
        if given is None:
            continue
        for event in _events_of(call.args[0], module):
            _, _, brackets = CATALOGUE[event].doc.partition("(")
            assert given == set(brackets.removesuffix(").").split(", ")), event


def test_the_catalogue_speaks_one_language() -> None:
    for event, spec in CATALOGUE.items():
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", event)
        assert spec.level in {"debug", "info", "warning", "error"}
        assert re.fullmatch(r"[^()]+( \([a-z_, ]+\))?\.", spec.doc), spec.doc


def test_metrics_count_what_events_say() -> None:
    telemetry = Telemetry("1.2.3")

    telemetry.emit("scan.finished", automation="a", listed=1000, duration_seconds=0.3)
    telemetry.emit("scan.failed", error=StorageUnavailable("gone"))
    telemetry.emit("change.accepted", objects=2)
    telemetry.emit("change.accepted", objects=40)
    telemetry.emit("change.skipped", reason="temporary_name")
    telemetry.emit("window.closed", reason="quiet", objects=40)
    telemetry.emit("import.file_finished", status="imported")
    telemetry.emit("run.item_finished", status="failed", duration_seconds=2)
    telemetry.emit("export.finished")
    telemetry.emit("delivery.retried", duration_seconds=0.2, error=TimeoutError())
    telemetry.emit("config.rejected")
    telemetry.emit("daemon.measured", windows_open=2, delivery_backlog=5)

    assert sample(telemetry, "build_info", version="1.2.3") == 1
    assert sample(telemetry, "scans_total", outcome="ok") == 1
    assert sample(telemetry, "scans_total", outcome="failed") == 1
    assert sample(telemetry, "objects_listed_total") == 1000
    assert sample(telemetry, "scan_duration_seconds_sum") == 0.3
    assert sample(telemetry, "errors_total", step="scan", error_type="StorageUnavailable") == 1
    assert sample(telemetry, "changes_total") == 42
    assert sample(telemetry, "windows_closed_total", reason="quiet") == 1
    assert sample(telemetry, "changes_skipped_total", reason="temporary_name") == 1
    assert sample(telemetry, "import_files_total", status="imported") == 1
    assert sample(telemetry, "run_items_total", status="failed") == 1
    assert sample(telemetry, "exports_total", status="completed") == 1
    assert sample(telemetry, "deliveries_total", outcome="retrying") == 1
    assert sample(telemetry, "delivery_duration_seconds_count") == 1
    assert sample(telemetry, "config_last_reload_successful") == 0
    assert sample(telemetry, "windows_open") == 2
    assert sample(telemetry, "delivery_backlog") == 5
    assert sample(telemetry, "jobs_due") == 0


def test_only_a_completed_import_is_a_success() -> None:
    telemetry = Telemetry("1")

    for automation, status in (("a", "completed"), ("b", "failed"), ("c", "cancelled")):
        telemetry.emit("import.finished", automation=automation, status=status)

    assert sample(telemetry, "last_success_timestamp_seconds", automation="a")
    assert sample(telemetry, "last_success_timestamp_seconds", automation="b") is None
    assert sample(telemetry, "last_success_timestamp_seconds", automation="c") is None


def test_a_source_is_unhealthy_until_it_recovers() -> None:
    telemetry = Telemetry("1")

    for event, healthy in (("source.degraded", 0), ("source.recovered", 1), ("source.failed", 0)):
        telemetry.emit(event, automation="a")
        assert sample(telemetry, "source_healthy", automation="a") == healthy


def test_a_queue_is_healthy_from_its_first_answer_to_its_first_failure() -> None:
    telemetry = Telemetry("1")

    for event, healthy in (
        ("queue.listening", 1),
        ("queue.degraded", 0),
        ("queue.recovered", 1),
        ("queue.failed", 0),
    ):
        telemetry.emit(event, connector="c")
        assert sample(telemetry, "queue_healthy", connector="c") == healthy


def test_messages_are_counted_by_what_became_of_them() -> None:
    telemetry = Telemetry("1")

    batch: dict[str, Any] = {"messages": 10, "acknowledged": 7, "quarantined": 2}
    telemetry.emit("queue.batch_taken", connector="c", lag_seconds=3, duration_seconds=0.1, **batch)
    telemetry.emit("queue.batch_taken", connector="c", lag_seconds=None, duration_seconds=0.1, **batch)

    assert sample(telemetry, "queue_messages_received_total", connector="c") == 20
    assert sample(telemetry, "queue_messages_acknowledged_total", connector="c") == 14
    assert sample(telemetry, "queue_messages_quarantined_total", connector="c") == 4
    assert sample(telemetry, "event_lag_seconds_sum") == 3
    assert sample(telemetry, "event_lag_seconds_count") == 1


@pytest.mark.parametrize("event", ["delivery.retried", "delivery.failed"])
@pytest.mark.parametrize("error", ["the webhook answered 503", TimeoutError()])
def test_an_error_type_that_is_given_is_the_one_that_counts(event: str, error: Any) -> None:
    telemetry = Telemetry("1")

    telemetry.emit(event, error=error, error_type="http_503")

    assert sample(telemetry, "errors_total", step="delivery", error_type="http_503") == 1
