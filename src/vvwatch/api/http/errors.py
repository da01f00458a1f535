"""Turn errors into responses: the only place that maps errors to statuses, in one envelope.

`{"error": {"code", "message", "details", "request_id", "timestamp"}, "request_id"}`. `details.hint` says what to try,
`details.errors[]` which fields or parameters are wrong; `error.retry_after` and the header Retry-After say in how many
seconds to try again, if that can help. Input is never echoed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vvwatch.api.http.wire import Resource
from vvwatch.config.words import describe_error
from vvwatch.core.events import to_iso
from vvwatch.core.shortages import shortage_in
from vvwatch.errors import (
    Conflict,
    InvalidInput,
    MachineShortage,
    NotFound,
    OnAnotherNode,
    OutsideLocation,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
    StoreUnavailable,
    VvwatchError,
)

REQUEST_ID: Final = "vvwatch.request_id"
"""The scope key of the request id."""
HEADERS: Final = "vvwatch.headers"
"""The scope key of additional response headers, for errors too."""

STORAGE_ERRORS: Final = (
    "on_another_node",
    "outside_location",
    "access_denied",
    "storage_error",
    "storage_unavailable",
    "storage_throttled",
    "credentials_refused",
)
"""The codes of a route that talks to object storage while it is called."""

_STATUSES: Final[Sequence[tuple[type[VvwatchError], int]]] = (
    (InvalidInput, 422),
    (NotFound, 404),
    (Conflict, 409),
    (OutsideLocation, 422),
    (OnAnotherNode, 409),
    (StorageUnavailable, 503),
    (StorageError, 502),
    (StoreUnavailable, 503),
    (MachineShortage, 503),
)
_PAUSE_SECONDS: Final = 5.0  # if the length of an outage is unknown
_LONGEST_PAUSE_SECONDS: Final = 3600.0
_MAX_PROBLEMS: Final = 100
_CODES: Final = {404: "resource_route_not_found", 405: "method_not_allowed"}


class ErrorBody(Resource):
    """An error. `code` is for machines, `message` for people."""

    code: str
    message: str
    details: dict[str, Any] = Field(default_factory=dict)
    request_id: str
    timestamp: str
    retry_after: int | None = None


class ErrorEnvelope(Resource):
    """The body of every response with a status of 400 or more."""

    error: ErrorBody
    request_id: str


REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    "default": {"model": ErrorEnvelope, "description": "Refused"}
}
"""The responses that any route may give besides its own, for OpenAPI."""


class ApiError(VvwatchError):
    """An error of the API itself, with its own status and code and optionally a retry delay."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        hint: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.retry_after_seconds = retry_after_seconds
        self.status = status
        self.code = code  # type: ignore[misc]  # one class for all codes that only the API uses


def too_large(hint: str) -> ApiError:
    """Return the error for a body that exceeds the limit in `hint`."""
    return ApiError(413, "body_too_large", "the body is too large", hint)


def respond_with_error(
    request: Request,
    status: int,
    code: str,
    message: str,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    retry_after: int | None = None,
) -> Response:
    """Return an error response, a page for browsers; `retry_after` is in seconds."""
    request_id = request.scope.get(REQUEST_ID, "")
    moment = to_iso(request.app.state.context.clock.now())
    body = ErrorBody(
        code=code,
        message=message,
        details=dict(details or {}),
        request_id=request_id,
        timestamp=moment,
        retry_after=retry_after,
    )
    pause = {} if retry_after is None else {"Retry-After": str(retry_after)}
    all_headers = {**(headers or {}), **pause, "X-Request-ID": request_id}
    if _wants_page(request):
        page: Response = request.app.state.error_page(request, status, body)
        page.headers.update(all_headers)
        return page
    content = ErrorEnvelope(error=body, request_id=request_id).model_dump(exclude_none=True)
    return JSONResponse(content, status, headers=all_headers)


def _wants_page(request: Request) -> bool:
    """Return whether a person asks with a browser, for something that is not the API's."""
    path, accepted = request.scope["path"], request.headers.get("accept", "")
    return not path.startswith("/api/") and "text/html" in accepted


def error_response(request: Request, error: VvwatchError) -> Response:
    """Return the response for an expected error."""
    status, code = _status_and_code(error)
    details = {"hint": error.hint} if error.hint else {}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return respond_with_error(
        request, status, code, error.message, details, headers, _retry_after(error, status)
    )


def _retry_after(error: VvwatchError, status: int) -> int | None:
    """Return the seconds after which a retry is worthwhile; None if it is not or the client decides."""
    seconds = error.retry_after_seconds if isinstance(error, ApiError | StorageThrottled) else None
    if seconds is None and status == 503:
        seconds = _PAUSE_SECONDS
    return None if seconds is None else max(1, math.ceil(min(seconds, _LONGEST_PAUSE_SECONDS)))


def _status_and_code(error: VvwatchError) -> tuple[int, str]:
    if isinstance(error, ApiError):
        return error.status, error.code
    if isinstance(error, NotFound):
        return 404, f"resource_{error.resource}_not_found"
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500), error.code


def install_handlers(app: FastAPI) -> None:
    """Register handlers that answer every error in the envelope."""
    app.add_exception_handler(VvwatchError, _handle_known)
    app.add_exception_handler(RequestValidationError, _handle_invalid)
    app.add_exception_handler(HTTPException, _handle_http)
    app.add_exception_handler(ClientDisconnect, _handle_disconnect)


async def _handle_known(request: Request, error: Exception) -> Response:
    assert isinstance(error, VvwatchError)  # noqa: S101  # registered for it
    return error_response(request, error)


async def _handle_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for it
    if isinstance(error.body, bytes) and any(item["loc"][0] == "body" for item in error.errors()):
        what = "the body is not declared as JSON"
        return _unreadable_body(request, what, "send Content-Type: application/json")
    if isinstance(error.__cause__, json.JSONDecodeError):
        return _unreadable_body(request, f"the body is not JSON (at character {error.__cause__.pos + 1})")
    errors = [_to_problem(item) for item in error.errors()[:_MAX_PROBLEMS]]
    message = "; ".join(f"{item['where']}: {item['what']}" for item in errors[:3])
    return respond_with_error(request, 422, "validation_error", message, {"errors": errors})


def _unreadable_body(request: Request, what: str, hint: str = "") -> Response:
    problem = {"where": "body", "what": what}
    details = {"errors": [problem | {"hint": hint} if hint else problem]}
    return respond_with_error(
        request, 422, "validation_error", what, details | ({"hint": hint} if hint else {})
    )


def _to_problem(found: Mapping[str, Any]) -> dict[str, str]:
    """Return where the problem is and what it is, without the value: it may be a misplaced secret."""
    what, allowed = describe_error(found)
    problem = {"where": ".".join(map(str, found["loc"])), "what": what}
    context = {"allowed": allowed, **found.get("ctx", {})}
    return problem | {name: context[name] for name in ("allowed", "hint") if context.get(name)}


async def _handle_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for it
    status = error.status_code
    if status == 413:
        return error_response(request, too_large(error.detail))
    if status == 400:  # FastAPI's answer to every unreadable body
        is_form = request.headers.get("content-type", "").startswith("multipart/")
        why = f"the form cannot be read: {error.detail}" if is_form else _why_unreadable(error.__cause__)
        return _unreadable_body(request, why)
    code = _CODES.get(status, f"http_{status}")
    message = f"{request.method} {request.scope['path']}: {error.detail}"
    return respond_with_error(
        request, status, code, message, headers=_allow_header(request) if status == 405 else error.headers
    )


def _allow_header(request: Request) -> dict[str, str]:
    """Return the Allow header with all methods of the path; each route alone knows only its own."""
    known, route = request.app.state.methods, getattr(request.scope.get("route"), "path", "")
    methods = known.get(request.scope["path"]) or known.get(route, set())
    heads = {"HEAD"} if "GET" in methods else set()
    return {"Allow": ", ".join(sorted(methods | heads))}


def _why_unreadable(cause: BaseException | None) -> str:
    if isinstance(cause, UnicodeDecodeError):
        return f"the body is not JSON (at byte {cause.start + 1}: it is not valid UTF-8)"
    return "the JSON body cannot be parsed: it is nested too deeply, or a number is too long"


async def _handle_disconnect(request: Request, _error: Exception) -> Response:
    """Answer a client that disconnected during the request: nothing was done, and it is no server error."""
    return respond_with_error(request, 408, "request_timeout", "the request stopped arriving")


def internal_error(request: Request, error: Exception) -> Response:
    """Return the response for an unexpected error; only the log has the details, by request id.

    If this machine is short of a resource, the response says which and when to try again.
    """
    shortage = shortage_in(error)
    if shortage is not None:
        request.app.state.context.telemetry.emit("machine.shortage", reason=shortage.code, error=shortage)
        return error_response(request, shortage)
    asked = {"method": request.scope["method"], "path": request.scope["path"]}
    request_id = request.scope.get(REQUEST_ID, "")
    request.app.state.context.telemetry.emit("request.failed", request_id=request_id, **asked, error=error)
    return respond_with_error(
        request, 500, "internal_error", "vvwatch failed with an internal error; see its log"
    )
