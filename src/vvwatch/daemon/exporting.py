"""Exports spans and metrics to OpenTelemetry while the daemon runs, if the environment asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
from anyio import to_thread

from vvwatch import __version__
from vvwatch.extras import install_command
from vvwatch.telemetry import Telemetry
from vvwatch.telemetry.otel import start_exporting

_LAST_SECONDS = 5


@asynccontextmanager
async def exporting(telemetry: Telemetry, environ: Mapping[str, str]) -> AsyncIterator[None]:
    """Export until the block ends; what is left is sent for five seconds at most.

    Without the packages the daemon runs all the same, and says which are missing.
    """
    exporter = None
    try:
        exporter = await to_thread.run_sync(start_exporting, telemetry, environ, __version__)
    except ImportError as missing:
        problem = f"{missing.name or 'opentelemetry'} is not installed"
        telemetry.emit("otel.unavailable", problem=problem, hint=install_command("otel"))
    if exporter is not None:
        telemetry.emit("otel.started", signals=exporter.signals)
    try:
        yield
    finally:
        if exporter is not None:
            with anyio.move_on_after(_LAST_SECONDS, shield=True):
                await to_thread.run_sync(exporter.close, abandon_on_cancel=True)
