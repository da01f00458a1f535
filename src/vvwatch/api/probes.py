"""What machines ask: is it alive, is it ready, what are its figures. No key is needed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse

from vvwatch.api.context import Context
from vvwatch.api.errors import REFUSALS
from vvwatch.telemetry import CONTENT_TYPE

router = APIRouter(tags=["operation"], responses=REFUSALS)


@router.get("/healthz", response_class=PlainTextResponse, name="is_healthy")
@router.get("/livez", response_class=PlainTextResponse, name="is_alive")
async def alive() -> str:
    """That the event loop answers, and nothing else: what vvwatch depends on does not make it restart."""
    return "ok\n"


@router.get("/readyz", response_class=PlainTextResponse, name="is_ready")
async def ready(context: Context, verbose: Annotated[str | None, Query()] = None) -> PlainTextResponse:
    """Whether work is taken; with `?verbose`, or when it is not, each condition with `+` or `-`."""
    conditions = context.readiness()
    is_ready = all(conditions.values())
    lines = [
        f"[{'+' if met else '-'}]{name} {'ok' if met else 'not yet'}" for name, met in conditions.items()
    ]
    shown = [*lines, "ready" if is_ready else "not ready"] if verbose is not None or not is_ready else ["ok"]
    return PlainTextResponse("\n".join(shown) + "\n", 200 if is_ready else 503)


@router.get("/metrics", response_class=PlainTextResponse, name="get_metrics")
async def metrics(context: Context) -> Response:
    """The figures in Prometheus' text format."""
    return Response(context.metrics(), media_type=CONTENT_TYPE)
