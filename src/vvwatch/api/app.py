"""The application: guards, routes and the one place where errors become answers."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import FastAPI

from vvwatch import __version__
from vvwatch.api import (
    api_keys,
    authentication,
    automations,
    connectors,
    deletions,
    doctor,
    errors,
    explain,
    exports,
    import_jobs,
    indexes,
    probes,
    prompt_runs,
    prompts,
    quarantine,
    rate_limits,
    reconciles,
    segments,
    status,
    videos,
    webhooks,
    windows,
)
from vvwatch.api.context import ApiContext, ApiSettings
from vvwatch.api.guards import BoundedBody, OwnHost, RequestIds
from vvwatch.core.rate_limits import Meter

_RESOURCES: Final = (
    automations,
    deletions,
    indexes,
    connectors,
    quarantine,
    prompts,
    segments,
    videos,
    import_jobs,
    prompt_runs,
    exports,
    webhooks,
    windows,
    reconciles,
    explain,
    status,
    doctor,
    authentication,
    rate_limits,
    api_keys,
    probes,
)
_SECURITY: Final = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "sk_live_ and 48 hex digits"},
}


class _Api(FastAPI):
    """Adds to the description of the API how one authenticates."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        document["components"]["securitySchemes"] = _SECURITY
        return document


def create_app(context: ApiContext) -> FastAPI:
    """The application that answers from `context`. Documentation pages are off: they would load foreign scripts."""
    app = _Api(
        title="vvwatch",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.context = context
    app.state.under_way = set()
    app.state.meter = None if context.settings.limits is None else Meter(context.settings.limits)
    errors.install(app)
    for resource in _RESOURCES:
        app.include_router(resource.router)
    _guard(app, context.settings)
    return app


def _guard(app: FastAPI, settings: ApiSettings) -> None:
    """The guard that is added last stands first."""
    public = urlsplit(settings.public_url) if settings.public_url else None
    names = {"localhost", settings.listen_host.lower(), (public and public.hostname) or "localhost"}
    origin = f"{public.scheme}://{public.netloc}".lower() if public else None
    app.add_middleware(BoundedBody, most_bytes=settings.max_body_bytes)
    app.add_middleware(OwnHost, names=names, public_origin=origin)
    app.add_middleware(RequestIds)
