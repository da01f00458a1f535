"""Build the application: guards, routes and the error handlers."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import FastAPI

from vvwatch.api.compat import (
    authentication,
    failed_segments,
    lexical,
    llm_calls,
    processing,
    search,
    sql,
    unavailable,
    usage,
)
from vvwatch.api.http import errors
from vvwatch.api.http.broadcast import Broadcast
from vvwatch.api.http.context import ApiContext, ApiSettings
from vvwatch.api.http.guards import BoundedBody, Failures, Heads, OwnHost, RequestIds
from vvwatch.api.openapi import reference
from vvwatch.api.openapi.description import app_options, complete_document
from vvwatch.api.pages.site import ROUTERS, install_pages
from vvwatch.api.routes import (
    alerts,
    api_keys,
    attachments,
    attention,
    attention_groups,
    audit_trail,
    automation_list,
    automations,
    connectors,
    deletions,
    doctor,
    event_stream,
    explain,
    exports,
    identifiers,
    import_actions,
    import_jobs,
    import_object,
    indexes,
    media_contents,
    media_grants,
    pictures,
    probes,
    processors,
    prompt_runs,
    prompts,
    quarantine,
    rate_limits,
    run_requests,
    run_results,
    scans,
    segment_contents,
    segments,
    status,
    uploads,
    video_actions,
    videos,
    webhooks,
    windows,
)
from vvwatch.core.rate_limits import Meter

RESOURCES: Final = (
    automation_list,
    automations,
    deletions,
    indexes,
    connectors,
    quarantine,
    prompts,
    segments,
    uploads,
    attachments,
    import_object,
    video_actions,
    videos,
    identifiers,
    import_jobs,
    import_actions,
    run_requests,
    prompt_runs,
    failed_segments,
    lexical,
    llm_calls,
    processing,
    processors,
    exports,
    media_grants,
    media_contents,
    pictures,
    segment_contents,
    webhooks,
    event_stream,
    search,
    sql,
    run_results,
    usage,
    unavailable,
    windows,
    scans,
    explain,
    status,
    alerts,
    attention_groups,
    attention,
    audit_trail,
    doctor,
    authentication,
    rate_limits,
    api_keys,
    reference,
    probes,
)


class _Api(FastAPI):
    """The application; it builds its OpenAPI document once."""

    @cached_property
    def _described(self) -> dict[str, Any]:
        return complete_document(super().openapi())

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return self._described

    @cached_property
    def document_bytes(self) -> bytes:
        """The OpenAPI document as JSON."""
        return json.dumps(self.openapi(), ensure_ascii=False).encode()

    @cached_property
    def document_page(self) -> str:
        """The HTML page that shows the document."""
        return reference.render_page(self.openapi())


def create_app(context: ApiContext) -> FastAPI:
    """Create the application from `context`, without FastAPI's own pages: they load scripts from other sites."""
    app = _Api(
        **app_options(context.settings.public_url),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.context = context
    app.state.under_way = set()
    app.state.broadcast = Broadcast(context.settings.max_streams_per_key)
    app.state.meter = None if context.settings.limits is None else Meter(context.settings.limits)
    errors.install_handlers(app)
    app.state.methods = defaultdict(set)
    for router in (*(resource.router for resource in RESOURCES), reference.pages):
        app.include_router(router)
    install_pages(app)
    for router in (*(resource.router for resource in RESOURCES), reference.pages, *ROUTERS):
        for route in router.routes:
            app.state.methods[route.path] |= route.methods
    _add_guards(app, context.settings)
    _build_routes(app)
    return app


def _build_routes(app: FastAPI) -> None:
    """Build each route now: FastAPI would do it during the first request and block all others for 0.3 s."""
    for route in app.router.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []})


def _add_guards(app: FastAPI, settings: ApiSettings) -> None:
    """Add the guards; the last one added runs first."""
    public = urlsplit(settings.public_url) if settings.public_url else None
    names = {"localhost", settings.listen_host.lower(), (public and public.hostname) or "localhost"}
    origin = f"{public.scheme}://{public.netloc}".lower() if public else None
    larger = dict.fromkeys(uploads.BODIES, settings.max_upload_bytes)
    app.add_middleware(BoundedBody, most_bytes=settings.max_body_bytes, uploads=larger)
    app.add_middleware(OwnHost, names=names, public_origin=origin)
    app.add_middleware(Failures)
    app.add_middleware(RequestIds)
    app.add_middleware(Heads)
