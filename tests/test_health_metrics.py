"""The figures by which one can be woken: what a source is, how old the last complete sweep, what is stretched."""

from __future__ import annotations

import io

import pytest
from prometheus_client import CollectorRegistry

from vvwatch.telemetry import Telemetry, configure_logging
from vvwatch.telemetry.metrics import NAME_LABELS, make_metrics


def sample(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"vvwatch_{name}", labels)


@pytest.mark.parametrize(("kind", "label"), [("source", "automation"), ("queue", "connector")])
def test_exactly_one_state_holds(kind: str, label: str) -> None:
    telemetry = Telemetry("1")
    for event, state in (("degraded", "degraded"), ("failed", "failed"), ("recovered", "healthy")):
        telemetry.emit(f"{kind}.{event}", **{label: "a"})
        states = {
            each: sample(telemetry, f"{kind}_state", **{label: "a", "state": each})
            for each in ("starting", "healthy", "degraded", "failed")
        }
        assert {each for each, value in states.items() if value} == {state}


def test_only_a_complete_sweep_counts_as_one() -> None:
    telemetry = Telemetry("1")
    for automation, complete in (("a", True), ("b", False)):
        telemetry.emit("reconcile.finished", automation=automation, complete=complete, recovered=2)
    assert sample(telemetry, "last_complete_sweep_timestamp_seconds", automation="a")
    assert sample(telemetry, "last_complete_sweep_timestamp_seconds", automation="b") is None
    assert sample(telemetry, "objects_recovered_total") == 4


def test_what_is_stretched_shows_until_it_is_not() -> None:
    telemetry = Telemetry("1")
    for stretched in (True, False):
        telemetry.emit("scan.finished", automation="a", stretched=stretched)
        assert sample(telemetry, "stretched", automation="a") == stretched


def test_totals_name_nobody_and_tell_the_worst() -> None:
    telemetry = Telemetry("1")
    for name in ("secret-project", "other-project"):
        telemetry.emit("source.failed" if name == "other-project" else "source.recovered", automation=name)
        telemetry.emit("queue.recovered", connector=name)
        telemetry.emit("scan.finished", automation=name, stretched=name == "other-project")
        telemetry.emit("processor.paused", processor=name, reason="key_refused")
    named, text = telemetry.exposition().decode(), telemetry.exposition(with_names=False).decode()
    assert "project" in named
    assert "project" not in text
    lines = set(text.splitlines())
    assert {
        "vvwatch_source_healthy 0.0",
        "vvwatch_queue_healthy 1.0",
        'vvwatch_source_state{state="failed"} 1.0',
        'vvwatch_source_state{state="healthy"} 1.0',
        "vvwatch_stretched 1.0",
        'vvwatch_processor_pauses_total{reason="key_refused"} 2.0',
        'vvwatch_scans_total{outcome="ok"} 2.0',
    } <= lines
    assert text.count("# TYPE") == named.count("# TYPE")
    oldest = min(
        sample(telemetry, "last_scan_timestamp_seconds", automation=name) or 0.0
        for name in ("secret-project", "other-project")
    )
    [told] = [line for line in lines if line.startswith("vvwatch_last_scan_timestamp_seconds")]
    assert float(told.split()[1]) == oldest


def test_each_label_is_one_of_names_or_of_words_of_ours() -> None:
    """Look at a new label here: values that people chose belong to NAME_LABELS, and need a key to be seen."""
    ours = {"version", "state", "outcome", "reason", "status", "step", "error_type", "le", "stage", "period"}
    labels = {label for metric in make_metrics(CollectorRegistry()).values() for label in metric._labelnames}
    assert labels - ours == set(NAME_LABELS)


def test_measured_values_replace_those_measured_before() -> None:
    telemetry = Telemetry("1")
    for spent, failing in (({("", "day"): 2.5, ("gpt", "day"): 2.0}, {"a": True}), ({("", "day"): 3.0}, {})):
        telemetry.emit("daemon.measured", spend_usd=spent, automation_failing=failing)
    telemetry.emit("daemon.measured", nodes_up=2)
    assert sample(telemetry, "spend_usd", processor="", period="day") == 3
    assert sample(telemetry, "spend_usd", processor="gpt", period="day") is None
    assert sample(telemetry, "automation_failing", automation="a") is None


@pytest.mark.parametrize("format_", ["console", "journal", "json"])
def test_measurements_can_be_logged(format_: str) -> None:
    stream = io.StringIO()
    telemetry = Telemetry("1", configure_logging(format_, "debug", stream, {}))
    heard: list[object] = []
    telemetry.subscribe(lambda _, fields: heard.append(fields["spend_usd"]))
    telemetry.emit("daemon.measured", spend_usd={("", "day"): 2.5, ("gpt", "day"): 2.0})
    assert heard == [{"day": 2.5, "gpt day": 2.0}]
    assert "gpt day" in stream.getvalue()


def test_the_total_spending_is_that_of_all_processors_not_their_sum() -> None:
    telemetry = Telemetry("1")
    telemetry.emit("daemon.measured", spend_usd={("", "day"): 5.0, ("gpt", "day"): 3.0})
    assert b'vvwatch_spend_usd{period="day"} 5.0' in telemetry.exposition(with_names=False)


def test_outcomes_are_counted_from_zero() -> None:
    telemetry = Telemetry("1")
    assert sample(telemetry, "deliveries_total", outcome="failed") == 0
    assert sample(telemetry, "import_files_total", status="failed") == 0


def test_failed_files_are_counted_by_reason_and_unproven_scans_each_time() -> None:
    telemetry = Telemetry("1")
    for reason in ("media_damaged", "media_damaged", "media_limit"):
        telemetry.emit("import.file_failed", reason=reason, object_key="a.mp4")
    for _ in range(2):
        telemetry.emit("reconcile.doubted", automation="a", remark="30 of 53 are missing")
    assert sample(telemetry, "import_files_failed_total", reason="media_damaged") == 2
    assert sample(telemetry, "scans_unproven_total") == 2


def test_what_is_there_no_more_is_not_told_of() -> None:
    telemetry = Telemetry("1")
    for name in ("gone", "there"):
        telemetry.emit("source.failed", automation=name)
        telemetry.emit("scan.finished", automation=name)
    assert telemetry.list_reported("automation") == {"gone", "there"}
    telemetry.forget("automation", {"gone"})
    assert telemetry.list_reported("automation") == {"there"}
    assert b'"gone"' not in telemetry.exposition()
    assert telemetry.registry.get_sample_value("vvwatch_scans_total", {"outcome": "ok"}) == 2
