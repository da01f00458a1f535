"""OpenTelemetry: nothing without OTEL_*, spans and metrics with it, decoded by its own protocol."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tests import samples
from tests.daemon_process import wait_until
from tests.e2e.conftest import Make
from tests.e2e.conftest import make as make  # noqa: PLC0414  # the fixture
from tests.otlp_collector import Collector
from tests.receiver import Receiver
from vvwatch.core.traces import find_subject, format_parent, make_span_id, make_trace_id
from vvwatch.daemon.exporting import exporting
from vvwatch.telemetry import Telemetry
from vvwatch.telemetry.otel import start_exporting, wants

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "traces", "metrics"),
    [
        ({}, False, False),
        ({"OTEL_SERVICE_NAME": "watch"}, False, False),
        (ENDPOINT, True, True),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True, True),
        ({**ENDPOINT, "OTEL_METRICS_EXPORTER": "none"}, True, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "console"}, False, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x/v1/traces"}, True, False),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, False, True),
    ],
)
def test_only_the_environment_decides(environ: Mapping[str, str], traces: bool, metrics: bool) -> None:
    assert (wants("TRACES", environ), wants("METRICS", environ)) == (traces, metrics)


def test_without_a_wish_nothing_is_imported() -> None:
    code = (
        "import sys; from vvwatch.telemetry import Telemetry; from vvwatch.telemetry.otel import start_exporting;"
        "assert start_exporting(Telemetry('1'), {'OTEL_SDK_DISABLED': 'true', 'OTEL_TRACES_EXPORTER': 'otlp'}, '1')"
        " is None; import vvwatch.daemon.lifecycle;"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


@pytest.mark.anyio
async def test_without_the_packages_it_is_reported_and_the_daemon_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "vvwatch.telemetry.otel.exporting", None)
    telemetry, told = Telemetry("1"), list[tuple[str, Mapping[str, Any]]]()
    telemetry.subscribe(lambda event, fields: told.append((event, fields)))
    async with exporting(telemetry, ENDPOINT):
        [(event, fields)] = told
    assert event == "otel.unavailable"
    assert "opentelemetry-sdk" in fields["hint"]


def test_ids_follow_from_names() -> None:
    assert format_parent("run_1", "del_1-1", is_sampled=True) == (
        f"00-{make_trace_id('run_1'):032x}-{make_span_id('del_1-1'):016x}-01"
    )
    assert make_trace_id("run_1") != make_trace_id("run_2")
    assert find_subject({"run_id": "run_1", "import_job_id": "job_1"}) == "run_1"
    assert find_subject({"import_job_id": "job_1", "run_id": None}) == "job_1"
    assert find_subject({}) == ""


def start(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, *, keys: bool = True, **environ: str
) -> tuple[Telemetry, Any]:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **environ}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    telemetry = Telemetry("1.2.3", keys=keys)
    return telemetry, start_exporting(telemetry, variables, "1.2.3")


def emit_a_batch(telemetry: Telemetry) -> None:
    telemetry.emit("window.opened", automation="auto_1", window="win_1")
    telemetry.emit("window.closed", automation="auto_1", window="win_1", objects=2, import_job="job_1")
    telemetry.emit("import.started", import_job="job_1", files=2)
    telemetry.emit(
        "import.file_failed", import_job="job_1", object_key="secret-film.mp4", reason="media_damaged"
    )
    telemetry.emit("import.finished", import_job="job_1", automation="auto_1", status="completed")
    telemetry.emit("run.started", run="run_1", import_job="job_1", items=1)
    telemetry.emit("run.item_finished", run="run_1", media="vid_1", status="completed", duration_seconds=2.5)
    telemetry.emit("run.finished", run="run_1", status="completed")
    telemetry.emit("export.started", export="exp_1", run="run_1")
    telemetry.emit("export.failed", export="exp_1", run="run_1", error=OSError("no room"))
    telemetry.emit("delivery.sent", delivery="del_1", attempt=1, about="run_1", duration_seconds=0.2)
    telemetry.emit("scan.finished", automation="auto_1", listed=5, duration_seconds=1.5)


def test_a_batch_and_its_run_are_two_traces_with_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        telemetry, exporter = start(monkeypatch, collector, OTEL_SERVICE_NAME="watch-folders")
        emit_a_batch(telemetry)
        exporter.close()
    assert collector.service["service.name"] == "watch-folders"
    spans = {span.name: span for span in collector.spans}
    job, run = (make_trace_id(name).to_bytes(16, "big") for name in ("job_1", "run_1"))
    assert {name for name, span in spans.items() if span.trace_id == job} == {
        "window",
        "import",
        "file failed",
    }
    assert {name for name, span in spans.items() if span.trace_id == run} == {
        "run",
        "item",
        "export",
        "delivery",
    }
    assert spans["import"].span_id == make_span_id("job_1").to_bytes(8, "big")
    assert {name for name, span in spans.items() if not span.parent_span_id} == {"import", "run", "scan"}
    assert spans["window"].parent_span_id == spans["import"].span_id
    assert spans["delivery"].parent_span_id == spans["run"].span_id
    [link] = spans["run"].links
    assert (link.trace_id, link.span_id) == (job, spans["import"].span_id)
    lasted = {name: span.end_time_unix_nano - span.start_time_unix_nano for name, span in spans.items()}
    assert (lasted["item"], lasted["scan"]) == (2_500_000_000, 1_500_000_000)
    assert (spans["export"].status.code, spans["export"].status.message) == (2, "no room")


def test_metrics_have_bounds_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        telemetry, exporter = start(monkeypatch, collector, OTEL_TRACES_EXPORTER="none")
        emit_a_batch(telemetry)
        exporter.close()
    assert collector.spans == []
    assert telemetry.name_parent is None
    [point] = collector.metrics["vvwatch_delivery_duration_seconds"].histogram.data_points
    assert list(point.explicit_bounds)[:4] == [0.005, 0.01, 0.025, 0.05]
    assert (point.count, sum(point.bucket_counts), point.sum) == (1, 1, 0.2)
    assert point.bucket_counts[list(point.explicit_bounds).index(0.25)] == 1
    counted = collector.metrics["vvwatch_import_files_failed"].sum
    assert counted.is_monotonic
    assert counted.data_points[0].as_double == 1
    assert collector.metrics["vvwatch_scan_duration_seconds"].unit == "s"


def test_object_names_stay_out_of_spans_where_they_stay_out_of_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Collector() as collector:
        telemetry, exporter = start(monkeypatch, collector, keys=False, OTEL_METRICS_EXPORTER="none")
        emit_a_batch(telemetry)
        exporter.close()
    assert collector.named("file failed")
    assert "secret-film" not in str(collector.spans)


def test_a_sampler_leaves_out_whole_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        telemetry, exporter = start(
            monkeypatch, collector, OTEL_TRACES_SAMPLER="always_off", OTEL_METRICS_EXPORTER="none"
        )
        emit_a_batch(telemetry)
        assert telemetry.name_parent is not None
        assert telemetry.name_parent("run_1", "del_1-1").endswith("-00")
        exporter.close()
    assert collector.spans == []


def test_a_collector_that_is_away_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        telemetry, exporter = start(monkeypatch, collector, OTEL_EXPORTER_OTLP_TIMEOUT="1")
    emit_a_batch(telemetry)
    exporter.close()


@pytest.mark.timeout(200)
def test_a_daemon_traces_what_it_does_and_webhooks_name_their_spans(make: Make) -> None:
    with Collector() as collector, Receiver() as receiver:
        daemon = make(webhook_url=receiver.url)
        daemon.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        samples.image(daemon.incoming / "good.jpg")
        with daemon:
            wait_until(lambda: any("export" in each.event["event"] for each in receiver.received), "told", 90)
            assert daemon.stop() == 0
    for name in ("scan", "window", "import", "run", "item", "export", "delivery"):
        assert collector.named(name), name
    sent = {f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01" for span in collector.named("delivery")}
    named = {
        {name.lower(): value for name, value in each.headers.items()}["traceparent"]
        for each in receiver.received
    }
    assert named <= sent
    assert collector.service["service.name"] == "vvwatch"
    [run] = collector.named("run")
    assert run.trace_id in {span.trace_id for span in collector.named("delivery")}
    assert "vvwatch_scans" in collector.metrics
