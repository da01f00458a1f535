"""Log in with an API key, or with the link that `vvwatch dev` prints; log out."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import UploadFile

from vvwatch.api.http.auditing import client_address, note_refusal
from vvwatch.api.http.auth import check_key
from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.errors import ApiError
from vvwatch.api.pages.access import Page, local_path, page_router
from vvwatch.api.pages.action_routes import read_form
from vvwatch.api.pages.rendering import render_html
from vvwatch.api.pages.sessions import close_session, find_session, open_session
from vvwatch.core.audit import Reason
from vvwatch.core.keys import Scope, allows_scope
from vvwatch.core.rate_limits import Limits, Meter
from vvwatch.store.admin import keys
from vvwatch.store.models.admin import ApiKey

CODE_SECONDS: Final = 600.0

_ATTEMPTS: Final = Limits(per_minute=10, per_hour=100)
_MOST_ADDRESSES: Final = 1000
_OTHERS: Final = "others"

router = APIRouter(include_in_schema=False)
pages = page_router()


@dataclass(frozen=True, slots=True)
class _Code:
    key_id: str
    expires_at: float


class Logins:
    """Codes that log in once, and how often each address failed to log in; in memory, for this process only."""

    def __init__(self) -> None:
        self._codes: dict[str, _Code] = {}
        self._meter = Meter(_ATTEMPTS)
        self._addresses: set[str] = set()

    def issue_code(self, key_id: str, now: float) -> str:
        """Return a code that logs in once with this key, for ten minutes."""
        code = secrets.token_urlsafe(24)
        self._codes[code] = _Code(key_id, now + CODE_SECONDS)
        return code

    def redeem_code(self, code: str, now: float) -> str | None:
        """Return the key id of an unused, valid code, which this uses up; else None."""
        found = self._codes.pop(code, None)
        return found.key_id if found is not None and found.expires_at > now else None

    def take_attempt(self, address: str, now: float) -> int:
        """Count an attempt to log in and return 0; if there were too many, return the seconds to wait."""
        if address not in self._addresses and len(self._addresses) >= _MOST_ADDRESSES:
            address = _OTHERS
        self._addresses.add(address)
        return self._meter.take(address, now)


def create_login_link(app: FastAPI, address: str, key_id: str) -> str:
    """Return a link to the server at `address` that logs in once with this key, for ten minutes."""
    logins: Logins = app.state.logins
    code = logins.issue_code(key_id, app.state.context.clock.now())
    return f"{address}/login?code={code}"


@router.get("/login")
async def show_login(request: Request, next: str = "/", code: str = "") -> Response:  # noqa: A002  # the name in URLs
    """Show the form, or log in with a code."""
    if await find_session(request) is not None:
        return RedirectResponse(local_path(next), 303)
    if code:
        return await _log_in_with_code(request, code, local_path(next))
    return _render_form(request, local_path(next))


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Check the key and begin a session."""
    form = await request.form()
    given = {name: value for name, value in form.items() if not isinstance(value, UploadFile)}
    wanted = local_path(given.get("next", "/"))
    try:
        key = await _check(request, given.get("key", ""))
    except ApiError as error:
        return _render_form(request, wanted, error)
    return _begin(request, key, wanted)


@pages.post("/logout")
async def log_out(page: Page) -> Response:
    """End the session."""
    await read_form(page)
    response = RedirectResponse("/login", 303)
    close_session(page.request, response)
    return response


async def _check(request: Request, given: str) -> ApiKey:
    """Return the row of a key that may read. Raises ApiError: 401, 403, or 429 after many attempts."""
    context: ApiContext = request.app.state.context
    logins: Logins = request.app.state.logins
    seconds = logins.take_attempt(client_address(request), context.clock.now())
    if seconds:
        error = ApiError(429, "rate_limit_exceeded", f"too many attempts: wait for {seconds} s", "", seconds)
        raise note_refusal(request, Reason.RATE_LIMIT, error)
    key = await check_key(request, given)
    if not allows_scope(key.scopes, Scope.READ):
        what = "this key may only search"
        error = ApiError(403, "authorization_insufficient_scope", what, "use a key with the scope 'read'")
        raise note_refusal(request, Reason.SCOPE, error)
    return key


async def _log_in_with_code(request: Request, code: str, wanted: str) -> Response:
    context: ApiContext = request.app.state.context
    logins: Logins = request.app.state.logins
    key_id = logins.redeem_code(code, context.clock.now())
    key = None if key_id is None else await context.database.read(keys.find_active_by_id, key_id)
    if key is None:
        error = ApiError(401, "authentication_invalid_code", "this link was used before, or is too old")
        error.hint = "log in with an API key"
        return _render_form(request, wanted, note_refusal(request, Reason.LINK, error))
    return _begin(request, key, wanted)


def _begin(request: Request, key: ApiKey, wanted: str) -> Response:
    context: ApiContext = request.app.state.context
    context.telemetry.emit(
        "login.succeeded", actor=key.id, actor_name=key.name, address=client_address(request)
    )
    response = RedirectResponse(wanted, 303)
    open_session(request, response, key)
    return response


def _render_form(request: Request, wanted: str, error: ApiError | None = None) -> Response:
    now = request.app.state.context.clock.now()
    status = 200 if error is None else error.status
    if error is not None:
        _report_failure(request, error)
    response = render_html("login.html", {"next": wanted, "error": error}, now, status)
    if error is not None and error.retry_after_seconds:
        response.headers["Retry-After"] = str(int(error.retry_after_seconds))
    return response


def _report_failure(request: Request, error: ApiError) -> None:
    context: ApiContext = request.app.state.context
    context.telemetry.emit("login.failed", reason=error.code, address=client_address(request))
