"""Pushes the metrics of the Prometheus registry by OTLP: the same names and bounds of buckets, in seconds.

No instruments of OpenTelemetry: their usual bounds are made for milliseconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from threading import Event, Thread
from typing import Any, Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family

_DEFAULT_MILLISECONDS: Final = 60_000.0
_UNITS: Final = {"seconds": "s", "bytes": "By", "ratio": "1", "usd": "USD"}
_NANOS: Final = 1_000_000_000


class MetricsPusher:
    """Pushes every OTEL_METRIC_EXPORT_INTERVAL milliseconds (60,000), and once more when it is closed."""

    def __init__(
        self, registry: CollectorRegistry, exporter: MetricExporter, resource: Resource, version: str
    ) -> None:
        self._registry = registry
        self._exporter = exporter
        self._resource = resource
        self._scope = InstrumentationScope("vvwatch", version)
        self._started = time.time_ns()
        self._closing = Event()
        self._thread = Thread(target=self._run, name="otel metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Push the last values and end."""
        self._closing.set()
        self._thread.join()
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._closing.wait(_interval_seconds(os.environ)):
            self._push()
        self._push()

    def _push(self) -> None:
        metrics = [convert(family, self._started, time.time_ns()) for family in self._registry.collect()]
        scoped = ScopeMetrics(self._scope, [each for each in metrics if each is not None], "")
        self._exporter.export(MetricsData([ResourceMetrics(self._resource, [scoped], "")]))


def _interval_seconds(environ: Mapping[str, str]) -> float:
    try:
        return float(environ.get("OTEL_METRIC_EXPORT_INTERVAL") or _DEFAULT_MILLISECONDS) / 1000
    except ValueError:
        return _DEFAULT_MILLISECONDS / 1000


def convert(family: Family, started: int, now: int) -> Metric | None:
    """Return the family as a metric of OpenTelemetry, moments in nanoseconds; None for one without values."""
    data: Sum | Gauge | Histogram
    if family.type == "histogram":
        data = Histogram(list(_list_histograms(family, started, now)), AggregationTemporality.CUMULATIVE)
    else:
        points = [
            NumberDataPoint(dict(sample.labels), started, now, sample.value)
            for sample in family.samples
            if not sample.name.endswith("_created")
        ]
        is_sum = family.type == "counter"
        data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True) if is_sum else Gauge(points)
    if not data.data_points:
        return None
    unit = _UNITS.get(family.name.rpartition("_")[2], "")
    return Metric(family.name, family.documentation, unit, data)


def _list_histograms(family: Family, started: int, now: int) -> Iterator[HistogramDataPoint]:
    for labels, samples in _group(family).items():
        buckets = sorted(
            (float(sample.labels["le"]), sample.value)
            for sample in samples
            if sample.name.endswith("_bucket")
        )
        counts = [int(value) for _, value in buckets]
        least: Any = None  # the protocol allows none, the annotation does not
        yield HistogramDataPoint(
            attributes=dict(labels),
            start_time_unix_nano=started,
            time_unix_nano=now,
            count=counts[-1],
            sum=next(sample.value for sample in samples if sample.name.endswith("_sum")),
            bucket_counts=[count - before for before, count in zip([0, *counts], counts, strict=False)],
            explicit_bounds=[bound for bound, _ in buckets[:-1]],
            min=least,
            max=least,
        )


def _group(family: Family) -> dict[tuple[tuple[str, str], ...], list[Any]]:
    found: dict[tuple[tuple[str, str], ...], list[Any]] = {}
    for sample in family.samples:
        labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        found.setdefault(labels, []).append(sample)
    return found
