"""Probes and metrics for machines. Only metrics with names need a key."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from vvwatch.api.http.auth import authorize, has_key
from vvwatch.api.http.context import Context
from vvwatch.api.http.errors import REFUSALS
from vvwatch.core.keys import Scope
from vvwatch.core.networks import is_loopback
from vvwatch.telemetry import CONTENT_TYPE

_FORWARDED: Final = frozenset(
    {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}
)

router = APIRouter(tags=["operation"], responses=REFUSALS)


@router.get("/healthz", response_class=PlainTextResponse, name="is_healthy")
@router.get("/livez", response_class=PlainTextResponse, name="is_alive")
async def alive() -> str:
    """Answer while the event loop runs. Failing dependencies do not fail it, so they cause no restart."""
    return "ok\n"


@router.get("/readyz", response_class=PlainTextResponse, name="is_ready")
async def ready(context: Context, verbose: Annotated[str | None, Query()] = None) -> PlainTextResponse:
    """Return whether vvwatch is ready; with `?verbose`, or if it is not, each condition with `+` or `-`."""
    conditions = context.readiness()
    is_ready = all(conditions.values())
    lines = [
        f"[{'+' if met else '-'}]{name} {'ok' if met else 'not yet'}" for name, met in conditions.items()
    ]
    shown = [*lines, "ready" if is_ready else "not ready"] if verbose is not None or not is_ready else ["ok"]
    return PlainTextResponse("\n".join(shown) + "\n", 200 if is_ready else 503)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    name="get_metrics",
    openapi_extra={"security": [{}, {"ApiKey": []}, {"Bearer": []}]},
)
async def metrics(request: Request, context: Context) -> Response:
    """Return the metrics in the Prometheus text format.

    A key with the scope `read`, or a request from this machine, gets the names of automations, connectors and
    processors; others get totals.
    """
    with_names = is_local(request) or has_key(request)
    if with_names and not is_local(request):
        await authorize(request, Scope.READ, counted=False)
    return Response(context.metrics(with_names=with_names), media_type=CONTENT_TYPE)


def is_local(request: Request) -> bool:
    """Return whether a request comes from this machine and not through a proxy, which might forward others."""
    if not _FORWARDED.isdisjoint(request.headers):
        return False
    return request.client is not None and is_loopback(request.client.host)
