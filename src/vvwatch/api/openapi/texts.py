"""The texts of the OpenAPI document: what holds for all routes, and the meaning of tags, headers and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vvwatch.api.openapi.example_values import example_id

EXTENSION: Final = "**An extension**: the hosted v2 API does not have this."
ABOUT: Final = """\
The automation part of the VideoVector v2 workflow API, served by vvwatch: storage → change → window → import job →
prompt run → export → webhook.

**Keys.** Send `X-API-Key: sk_live_…` or `Authorization: Bearer sk_live_…`. A key has scopes: `search` < `read` <
`write` < `admin`, each including the lower ones; `x-scope` is the lowest that a route needs. The scope is checked
first: a key learns nothing about what it may not see.

**Errors** have one form, `ErrorEnvelope`: a `code` for machines, a `message` for people, `details.hint` on what to
try, `details.errors[]` on which field or parameter is wrong. The `request_id` equals the header X-Request-ID.

**Idempotency.** Send `Idempotency-Key` with a request that creates or changes something: for 24 hours, repeating it
with the same key returns the same response and does nothing more. Another request with that key gets 409.

**Lists** that may be long have pages: send the `next_cursor` of a page as the `cursor` of the next. New entries cause
neither duplicates nor gaps.

**Rate limits.** Each key has a limit per minute and per hour; the headers X-RateLimit-* tell how many requests are
left, and 429 comes with Retry-After.

**Extensions**, marked `x-extension`, are not in the hosted v2 API: local connectors, windows, full scans,
explanations, the doctor. Automations follow the hosted API; where it leaves details open, this server chooses.

Timestamps are ISO-8601 in UTC; durations end in `_seconds`, sizes in `_bytes`. Every field is always present: what
does not apply is null.
"""
TAGS: Final[Mapping[str, str]] = {
    "indexes": "Collections of media, with their automations and results.",
    "connectors": "Buckets, containers and local folders to import from and export to.",
    "prompts": "What to ask of each media item, and the form of the answer.",
    "automations": "What an index watches and imports, and where results go.",
    "processors": "The processors that answer prompts: state, usage and budgets. An extension.",
    "windows": "New objects that gather for the next import job. An extension.",
    "ids": "Whole ids for shortened ones. An extension.",
    "audit": "Who changed what, and refused requests. An extension.",
    "reconciles": "Reports of full scans, which compare the listing with the ledger. An extension.",
    "import jobs": "Import jobs and the status of each file.",
    "uploads": "Import media sent with the request.",
    "workflow": "Shortcuts: import a file or links, run a prompt over them, get results.",
    "videos": "Media items of any type, and their segments.",
    "deletions": "Deletions are accepted at once and carried out in the background.",
    "prompt runs": "Run a prompt over media items and read the results.",
    "search": "Filter the results of prompt runs; no model needed.",
    "exports": "Results as documents, to download or delivered to a connector.",
    "webhooks": "Webhooks and the log of their deliveries.",
    "events": "A stream of events.",
    "usage": "Usage by month. Nothing is billed.",
    "not available": "Features of the hosted API only: 404 (422 if a model is needed) with an alternative.",
    "explain": "Why an object was or was not imported. An extension.",
    "status": "What the server is doing. An extension.",
    "doctor": "Problems and the commands that fix them. An extension.",
    "authentication": "Check a key.",
    "rate limits": "The limits of a key and its usage.",
    "api keys": "Keys and their scopes, for keys with the scope `admin`; the hosted API needs a signed-in operator.",
    "description": "The OpenAPI document. An extension.",
    "operation": "Probes and metrics for machines; no key needed.",
}
"""The description of each tag, in the order of the document."""

HEADERS: Final[Mapping[str, tuple[str, Any]]] = {
    "X-Request-ID": ("the id of this request, also in the server's log", example_id("req")),
    "X-RateLimit-Limit": ("requests per minute that the key may send; only if there is a limit", 600),
    "X-RateLimit-Remaining": ("requests left in this minute", 588),
    "X-RateLimit-Reset": ("when the minute ends, in epoch seconds", 1_790_000_040),
    "Retry-After": ("seconds after which a retry is worthwhile", 12),
    "Idempotency-Replayed": ("`true` if this response was already sent for the same Idempotency-Key", "true"),
    "WWW-Authenticate": ("the authentication scheme", "Bearer"),
}
COUNTED: Final = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
SECURITY: Final = {
    "ApiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "`sk_live_` and 48 hex digits",
    },
    "Bearer": {"type": "http", "scheme": "bearer", "description": "the same key"},
}
REQUEST_ID: Final = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "description": "your own id for this request: up to 128 of `A-Z a-z 0-9 . _ : -`; an invalid one is replaced",
    "schema": {"type": "string"},
    "example": example_id("req"),
}
PARAMETERS: Final[Mapping[str, str]] = {
    "cursor": "the `next_cursor` of the previous page",
    "limit": "maximum number of entries",
    "status": "only entries with this status",
    "index_id": "only entries of this index",
    "connector_id": "only this connector",
    "state": "only entries in this state",
    "key": "the object's key below the connector's location",
    "automation_only": "only jobs of automations",
    "failed_only": "only failures",
    "active_only": "only active entries",
    "include_defaults": "include the server's built-in prompts",
    "verbose": "list each condition, even if all are met",
}
"""The description of a query parameter, unless its route has one."""

STREAM: Final = "text/event-stream"
EVENT: Final = {
    "type": "object",
    "description": "One event of the stream",
    "properties": {
        "event": {"type": "string", "description": "its type"},
        "data": {"type": "string", "description": "a JSON object"},
        "id": {"type": "string", "description": "the position; send it as Last-Event-ID to resume"},
        "retry": {"type": "integer", "description": "milliseconds to wait before reconnecting"},
    },
}
DONE: Final = {200: "Done", 201: "Created", 202: "Accepted", 204: "Done; the body is empty"}
