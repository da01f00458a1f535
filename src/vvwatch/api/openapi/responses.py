"""Determine which errors a route can return, so that the OpenAPI document is complete.

Most follow from the route: its key, its ids, its body, its Idempotency-Key, its pages. It states the others itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

Operation = Mapping[str, Any]


class Refusal(NamedTuple):
    """The meaning of a code: its status and a typical response."""

    status: int
    message: str
    hint: str = ""
    retry_after: int | None = None


_HOST_HINT: Final = "use the server's listen address, or set public_url in its configuration"

CODES: Final[Mapping[str, Refusal]] = {
    "invalid_cursor": Refusal(400, "the cursor is not one of this server", "start without a cursor"),
    "import_job_not_retryable": Refusal(
        400,
        "a retry requires an attachment job; this one imports from a connector",
        "retry single files: POST /api/v2/import-jobs/{job_id}/files/{file_id}/retry",
    ),
    "authentication_invalid_api_key": Refusal(
        401, "a valid API key is needed", "send it as X-API-Key: sk_live_…"
    ),
    "authorization_insufficient_scope": Refusal(
        403,
        "this needs a key with the scope 'write'",
        "the key has read; create another one with vvwatch keys",
    ),
    "authentication_invalid_token": Refusal(401, "the token is invalid or has expired", "request a new link"),
    "authorization_foreign_token": Refusal(403, "the token is for another resource", "request a new link"),
    "host_not_allowed": Refusal(403, "this Host is not accepted", _HOST_HINT),
    "origin_not_allowed": Refusal(
        403,
        "pages of other origins may not change anything",
        "make changes from a client, or from a page of this server",
    ),
    "resource_route_not_found": Refusal(404, "GET /api/v2/nothing: Not Found"),
    "conflict": Refusal(409, "the state of the resource forbids it", "see the message and the hint"),
    "idempotency_request_mismatch": Refusal(
        409, "the Idempotency-Key was used for another request", "use a new key for another request"
    ),
    "idempotency_request_in_progress": Refusal(
        409, "the first request with this key is still running", "try again with the same key", 1
    ),
    "on_another_node": Refusal(409, "the folder is on another node", "send the request to that node"),
    "request_timeout": Refusal(408, "the file stopped arriving", "send it again"),
    "media_changed": Refusal(409, "another version replaced the original"),
    "media_archived": Refusal(409, "the original is in an archive class", "restore it in the store"),
    "media_gone": Refusal(410, "the original of video 'vid_…' is gone", "it is no longer in the store"),
    "range_not_satisfiable": Refusal(416, "the range lies outside the file"),
    "insufficient_storage": Refusal(507, "there is no room for the file", "free some space on the server"),
    "model_not_configured": Refusal(
        422, "no processor answers to the model 'gpt-5'", "use one of: technical, gpt, gemini-*"
    ),
    "not_available": Refusal(404, "this is not part of this server"),
    "body_too_large": Refusal(413, "the body is too large", "the limit is 1,048,576 bytes"),
    "validation_error": Refusal(422, "body.name: is too short"),
    "outside_location": Refusal(422, "the prefix would leave the connector's location", "leave `..` out"),
    "rate_limit_exceeded": Refusal(
        429,
        "too many requests: wait for 12 s",
        "the server's [api] requests_per_minute and requests_per_hour set the limits of each key",
        12,
    ),
    "access_denied": Refusal(
        502, "the store denies access to this identity", "grant it the permission to list"
    ),
    "storage_error": Refusal(502, "object storage rejected or failed the request"),
    "store_unavailable": Refusal(503, "the database is unavailable", "", 5),
    "storage_unavailable": Refusal(503, "the store does not answer", "", 5),
    "storage_throttled": Refusal(503, "the store throttles requests", "", 5),
    "credentials_refused": Refusal(503, "the store rejects these credentials", "send new ones", 5),
    "browse_timed_out": Refusal(
        504, "listing took more than 30 s", "give a longer prefix or a smaller limit"
    ),
}
"""Every code except `resource_<what>_not_found`."""

STATUSES: Final[Mapping[int, str]] = {
    400: "The request is malformed",
    401: "The API key is missing or invalid",
    403: "The key, the Host or the Origin is not allowed",
    404: "The resource does not exist",
    409: "The state of the resource, or an earlier request, forbids it",
    408: "The request stopped arriving",
    410: "The original no longer exists",
    413: "The body is too large",
    416: "The range lies outside the file",
    422: "The input is invalid; `details.errors` says where",
    429: "Too many requests: try again after Retry-After",
    502: "Object storage refused the request",
    503: "Temporarily unavailable: try again after Retry-After",
    504: "Object storage took too long",
    507: "There is not enough space",
}
"""The description of each status."""

RESOURCES: Final[Mapping[str, str]] = {
    "connector_id": "connector",
    "delivery_id": "delivery",
    "export_id": "export",
    "file_id": "import_file",
    "index_id": "index",
    "job_id": "import_job",
    "key_id": "api_key",
    "prompt_id": "prompt",
    "run_id": "prompt_run",
    "segment_id": "segment",
    "video_id": "video",
    "webhook_id": "webhook",
}
"""Path parameters and the names of their resources in errors."""


def codes_of(name: str, operation: Operation, fields: Collection[str] = ()) -> Iterator[str]:
    """Yield the codes of all errors that a route can return.

    `name` is its method and its path below `/api/v2`, `fields` are the names of all fields of its body.
    """
    yield from _guard_codes(name, operation)
    if "{rest}" in name:
        yield "resource_route_not_found"
    if not any(status < "300" for status in operation["responses"]):
        # It always returns the same error.
        yield "not_available" if "404" in operation["responses"] else "model_not_configured"
    else:
        yield from _resource_codes(name)
        yield from _named_codes(fields)
        yield from _input_codes(name, operation, fields)
        yield from operation.get("x-errors", ())


def _input_codes(name: str, operation: Operation, fields: Collection[str]) -> Iterator[str]:
    """Yield the codes for invalid input."""
    parameters = {each["name"].lower(): each["in"] for each in operation.get("parameters", ())}
    if "token" in parameters:
        yield from ("authentication_invalid_token", "authorization_foreign_token")
    if any(each.endswith("cursor") for each in (*parameters, *fields)):
        yield "invalid_cursor"
    if "idempotency-key" in parameters:
        yield from ("conflict", "idempotency_request_mismatch", "idempotency_request_in_progress")
    elif not name.startswith("GET ") and "{" in name:
        yield "conflict"
    if "processing_model" in fields:
        yield "model_not_configured"
    if "requestBody" in operation:
        yield "body_too_large"
    if "requestBody" in operation or {"path", "query"} & set(parameters.values()):
        yield "validation_error"


def is_counted(operation: Operation) -> bool:
    """Return whether rate limits count the route's requests, and its responses carry the limit headers."""
    security = operation.get("security", ())
    return bool(security) and {} not in security and "x-uncounted" not in operation


def _guard_codes(name: str, operation: Operation) -> Iterator[str]:
    """Yield the codes of the guards in front of the route."""
    yield "host_not_allowed"
    if not name.startswith("GET "):
        yield "origin_not_allowed"
    if operation.get("security"):
        yield from ("authentication_invalid_api_key", "authorization_insufficient_scope", "store_unavailable")
    if is_counted(operation):
        yield "rate_limit_exceeded"


def _resource_codes(name: str) -> Iterator[str]:
    """Yield the codes for the resources in its path."""
    suffix = "_deletion" if name.endswith("/deletion") else ""
    for parameter in re.findall(r"\{(\w+)\}", name):
        yield f"resource_{RESOURCES.get(parameter, parameter.removesuffix('_id'))}{suffix}_not_found"
    if "/automations/" in name:
        yield "resource_automation_not_found"


def _named_codes(fields: Collection[str]) -> Iterator[str]:
    """Yield the codes for the resources in its body. A client's own name for a file is not a resource."""
    for field in fields:
        for parameter, resource in RESOURCES.items():
            if field.removesuffix("s").endswith(parameter) and parameter != "file_id":
                yield f"resource_{resource}_not_found"


def refusal_of(code: str) -> Refusal:
    """Return the meaning of a code. Raises KeyError if it is unknown."""
    found = re.fullmatch(r"resource_(\w+)_not_found", code)
    if found is None or code in CODES:
        return CODES[code]
    return Refusal(404, f"no {found[1].replace('_', ' ')} with this id")


def by_status(codes: Iterable[str]) -> dict[int, list[str]]:
    """Return the codes, without duplicates, grouped by ascending status."""
    found: dict[int, list[str]] = {}
    for code in sorted(set(codes)):
        found.setdefault(refusal_of(code).status, []).append(code)
    return dict(sorted(found.items()))


def with_status(status: int) -> list[str]:
    """Return all codes of a status, for a route that declares only the status."""
    return [code for code, refusal in CODES.items() if refusal.status == status]
