"""What machines ask: is it alive, is it ready, what are its figures, what can be asked. No key is needed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from vvwatch.api.context import Context
from vvwatch.api.errors import REFUSALS
from vvwatch.telemetry import CONTENT_TYPE

router = APIRouter(tags=["operation"], responses=REFUSALS)


@router.get("/healthz", response_class=PlainTextResponse)
@router.get("/livez", response_class=PlainTextResponse)
async def alive() -> str:
    """That the event loop answers, and nothing else: what vvwatch depends on does not make it restart."""
    return "ok\n"


@router.get("/readyz", response_class=PlainTextResponse)
async def ready(context: Context, verbose: Annotated[str | None, Query()] = None) -> PlainTextResponse:
    """Whether work is taken; with `?verbose`, or when it is not, each condition with `+` or `-`."""
    conditions = context.readiness()
    is_ready = all(conditions.values())
    lines = [
        f"[{'+' if met else '-'}]{name} {'ok' if met else 'not yet'}" for name, met in conditions.items()
    ]
    shown = [*lines, "ready" if is_ready else "not ready"] if verbose is not None or not is_ready else ["ok"]
    return PlainTextResponse("\n".join(shown) + "\n", 200 if is_ready else 503)


@router.get("/metrics", response_class=Response)
async def metrics(context: Context) -> Response:
    """The figures in Prometheus' text format."""
    return Response(context.metrics(), media_type=CONTENT_TYPE)


@router.get("/openapi.json", include_in_schema=False)
def description(request: Request) -> JSONResponse:
    """The OpenAPI document. Not a coroutine: describing everything takes a while, so it is left to a thread."""
    return JSONResponse(request.app.openapi())
