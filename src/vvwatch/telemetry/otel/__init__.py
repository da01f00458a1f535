"""OpenTelemetry, driven by the standard `OTEL_*` variables alone; without them nothing of it is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vvwatch.telemetry import Telemetry
    from vvwatch.telemetry.otel.exporting import OtelExporter

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")


def wants(signal: str, environ: Mapping[str, str]) -> bool:
    """Return whether the environment asks for `TRACES` or `METRICS` over OTLP.

    That is so if an endpoint is given, or the exporter is `otlp`. `OTEL_SDK_DISABLED=true` or the exporter `none`
    ends it.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower()
    has_endpoint = any(environ.get(name.format(signal=signal)) for name in _ENDPOINTS)
    return exporter == "otlp" or (not exporter and has_endpoint)


def start_exporting(telemetry: Telemetry, environ: Mapping[str, str], version: str) -> OtelExporter | None:
    """Export what the environment asks for from now on; None if that is nothing.

    Raises ImportError without the packages of the extra `otel`.
    """
    traces, metrics = wants("TRACES", environ), wants("METRICS", environ)
    if not traces and not metrics:
        return None
    from vvwatch.telemetry.otel.exporting import OtelExporter  # noqa: PLC0415  # only what is asked for

    return OtelExporter(telemetry, version, traces=traces, metrics=metrics)
