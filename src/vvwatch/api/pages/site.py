"""All pages of the dashboard, and what they need of the application."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI

from vvwatch.api.pages import (
    action_routes,
    assets,
    attention,
    automation_forms,
    automations,
    connectors,
    deliveries,
    explanations,
    exports,
    jobs,
    live,
    login,
    media,
    media_files,
    overview,
    runs,
    windows,
)
from vvwatch.api.pages.access import render_error
from vvwatch.api.pages.live import OpenPages
from vvwatch.api.pages.login import Logins

ROUTERS: Final = (
    assets.router,
    login.router,
    login.pages,
    action_routes.router,
    live.router,
    overview.router,
    automation_forms.router,  # before the pages of one automation: its /new is no id
    automations.router,
    connectors.router,
    attention.router,
    jobs.router,
    runs.router,
    media.router,
    media_files.router,
    explanations.router,
    deliveries.router,
    exports.router,
    windows.router,
)


def install_pages(app: FastAPI) -> None:
    """Add the pages to the application."""
    app.state.logins = Logins()
    app.state.open_pages = OpenPages()
    app.state.error_page = render_error
    for router in ROUTERS:
        app.include_router(router)
