"""Exports spans and metrics by OTLP over HTTP, in threads of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from vvwatch.telemetry import Telemetry
from vvwatch.telemetry.otel.readings import MetricsPusher
from vvwatch.telemetry.otel.spans import ChosenIds, Spans

_NAME = "vvwatch"


class OtelExporter:
    """Exports until it is closed. Endpoint, headers, sampling and the service's name come from the environment."""

    def __init__(self, telemetry: Telemetry, version: str, *, traces: bool, metrics: bool) -> None:
        resource = _describe_service(version)
        self._closers: list[Callable[[], object]] = []
        if traces:
            self._trace(telemetry, resource, version)
        if metrics:
            pusher = MetricsPusher(telemetry.registry, OTLPMetricExporter(), resource, version)
            self._closers.append(pusher.close)
        self.signals = [name for name, wanted in (("traces", traces), ("metrics", metrics)) if wanted]
        """What is exported."""

    def _trace(self, telemetry: Telemetry, resource: Resource, version: str) -> None:
        ids = ChosenIds()
        provider = TracerProvider(resource=resource, id_generator=ids, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        spans = Spans(
            provider.get_tracer(_NAME, version), provider.sampler, ids, names_objects=telemetry.names_objects
        )
        unsubscribe = telemetry.subscribe(spans.note)
        telemetry.name_parent = spans.name_parent
        self._closers += [unsubscribe, partial(setattr, telemetry, "name_parent", None), provider.shutdown]

    def close(self) -> None:
        """Send what is left, and end; takes as long as OTEL_EXPORTER_OTLP_TIMEOUT if nobody answers."""
        for close in self._closers:
            close()
        self._closers.clear()


def _describe_service(version: str) -> Resource:
    """Return the resource; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES rule over our name."""
    found = Resource.create({"service.version": version})
    if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
        return found.merge(Resource({"service.name": _NAME}))
    return found
