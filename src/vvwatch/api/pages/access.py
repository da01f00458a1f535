"""Who may open a page: each needs a session, each form its token, and errors become pages."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote, urlsplit

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse
from fastapi.routing import APIRoute

from vvwatch.api.http.auditing import note_refusal
from vvwatch.api.http.auth import note_use
from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.errors import ApiError, ErrorBody
from vvwatch.api.pages.actions import ActionForm, build_form
from vvwatch.api.pages.banners import find_banners
from vvwatch.api.pages.rendering import render_html
from vvwatch.api.pages.sessions import Flash, Session, clear_flash, find_flash, find_session
from vvwatch.core.audit import Reason
from vvwatch.core.keys import Scope

NAVIGATION: Final = (
    ("/", "Overview"),
    ("/attention", "Needs attention"),
    ("/automations", "Automations"),
    ("/connectors", "Connectors"),
    ("/windows", "Windows"),
    ("/jobs", "Jobs"),
    ("/runs", "Runs"),
    ("/media", "Media"),
    ("/exports", "Exports"),
    ("/deliveries", "Deliveries"),
)
"""Path and name of what every page links to."""

_LOGIN: Final = "/login"
_TITLES: Final = {403: "Not allowed", 404: "Not found", 500: "Internal error", 503: "Not available"}


class PageRoute(APIRoute):
    """A route for browsers that opens only with a session of a key that may read."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.scope_name = f"{next(iter(options['methods']))} {path}"
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler behind the session check."""
        handle = super().get_route_handler()

        async def check_and_handle(request: Request) -> Response:
            session = await find_session(request)
            if session is None:
                return _send_to_login(request)
            request.state.session = session
            await _admit(request, session)
            return await handle(request)

        return check_and_handle


def page_router() -> APIRouter:
    """Return a router for pages behind the login."""
    return APIRouter(route_class=PageRoute, include_in_schema=False)


async def _admit(request: Request, session: Session) -> None:
    """Note whose request it is. Raises ApiError (403) if the key may not read."""
    key = session.key
    request.state.key_id, request.state.key_name = key.id, key.name
    request.state.key_created_at = key.created_at
    if not session.may(Scope.READ):
        what = "the pages need a key with the scope 'read'"
        raise note_refusal(request, Reason.SCOPE, _refuse_scope(what))
    await note_use(request.app.state.context, key)


def _refuse_scope(what: str) -> ApiError:
    return ApiError(403, "authorization_insufficient_scope", what, "log in with another key")


def _send_to_login(request: Request) -> Response:
    """Send a person to the login; a script gets 401, so that it stops asking."""
    scripted = "hx-request" in request.headers or "text/event-stream" in request.headers.get("accept", "")
    if scripted:
        return PlainTextResponse("the session has ended: log in again\n", 401)
    path = request.url.path
    if request.method in {"GET", "HEAD"} and request.url.query:
        path += f"?{request.url.query}"
    wanted = path if request.method in {"GET", "HEAD"} and path != "/" else ""
    return RedirectResponse(_LOGIN + (f"?next={quote(wanted, safe='/')}" if wanted else ""), 303)


def local_path(given: str) -> str:
    """Return `given` if it is a path of this server, else `/`: nobody may send a browser elsewhere."""
    if not given.startswith("/") or given.startswith(("//", "/\\")) or not given.isprintable():
        return "/"
    try:
        parts = urlsplit(given)
    except ValueError:
        return "/"
    return "/" if parts.scheme or parts.netloc or "\\" in given else given


@dataclass(frozen=True, slots=True)
class Shell:
    """What surrounds the content of every page."""

    title: str
    path: str
    back: str
    navigation: tuple[tuple[str, str], ...]
    key_name: str
    csrf: str
    flash: Flash | None
    banners: tuple[Any, ...]


class PageRequest:
    """A request for a page within a session."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.context: ApiContext = request.app.state.context
        self.session: Session = request.state.session

    @property
    def back(self) -> str:
        """The path and the query of this page, to which its actions return."""
        query = self.request.url.query
        return self.request.url.path + (f"?{query}" if query else "")

    def may(self, scope: Scope) -> bool:
        """Return whether the session's key has this scope."""
        return self.session.may(scope)

    def require(self, scope: Scope) -> None:
        """Raise ApiError (403) unless the session's key has this scope."""
        if not self.may(scope):
            error = _refuse_scope(f"this needs a key with the scope {scope.value!r}")
            raise note_refusal(self.request, Reason.SCOPE, error)

    def action(self, name: str, fields: Mapping[str, object] | None = None, **ids: str) -> ActionForm | None:
        """Return the button of an action on the resource that `ids` name; None if the key may not do it."""
        return build_form(self.request, self.session, name, ids, fields or {})

    async def render(self, template: str, view: object, title: str, status: int = 200) -> Response:
        """Return the page: `template` with `view`, within what surrounds every page."""
        flash = None if "hx-request" in self.request.headers else find_flash(self.request)
        shell = Shell(
            title=title,
            path=self.request.url.path,
            back=self.back,
            navigation=NAVIGATION,
            key_name=self.session.key.name,
            csrf=self.session.csrf,
            flash=flash,
            banners=await find_banners(self.context),
        )
        values, now = {"shell": shell, "view": view}, self.context.clock.now()
        response = await to_thread.run_sync(render_html, template, values, now, status)
        if flash is not None:
            clear_flash(self.request, response)
        return response


async def _open_page(request: Request) -> PageRequest:
    return PageRequest(request)


Page = Annotated[PageRequest, Depends(_open_page)]
"""The page that a route renders."""


def render_error(request: Request, status: int, error: ErrorBody) -> Response:
    """Return the page of an error: what is wrong, and what to try."""
    title = _TITLES.get(status, "This did not work")
    values = {"title": title, "status": status, "error": error, "hint": error.details.get("hint", "")}
    return render_html("error.html", values, request.app.state.context.clock.now(), status)
