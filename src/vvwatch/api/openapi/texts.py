"""The words of the API's description: what holds of all routes, and what tags, headers and parameters mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vvwatch.api.openapi.example_values import example_id

EXTENSION: Final = "**An extension**: the hosted v2 API does not have this."
ABOUT: Final = """\
The automation part of the VideoVector v2 workflow API, served by vvwatch: storage → change → window → import job →
prompt run → export → webhook.

**Keys.** Send `X-API-Key: sk_live_…` or `Authorization: Bearer sk_live_…`. A key has scopes: `search` < `read` <
`write` < `admin`, each including those before it; `x-scope` is the least that a route needs. The scope is checked
before all else, so that a key learns nothing about what it may not see.

**Errors** all have one form, `ErrorEnvelope`: a `code` for machines, a `message` for people, `details.hint` on what to
try, `details.errors[]` on where a body or a parameter is wrong. The `request_id` is that of the header X-Request-ID.

**Doing it once.** Send `Idempotency-Key` with what makes or changes something: for 24 hours the same request with the
same key gets the same answer and does nothing more. Another request with that key gets 409.

**Lists** that may be long come in pages: give the `next_cursor` of one page as the `cursor` of the next. What arrives
meanwhile neither repeats nor hides anything.

**Limits.** Each key may make so many requests a minute and an hour; the headers X-RateLimit-* tell how many are left,
and 429 comes with Retry-After.

**Extensions**, marked `x-extension`, are what the hosted v2 API does not have: local connectors, windows, sweeps,
explanations, the doctor. The automations are its own; their answers are this server's choice where it leaves them open.

Moments are ISO-8601 in UTC; durations end in `_seconds`, sizes in `_bytes`. Every field is always there: what does not
apply is null.
"""
TAGS: Final[Mapping[str, str]] = {
    "indexes": "What belongs together: media, automations and results.",
    "connectors": "Buckets, containers and local folders that are imported from and exported to.",
    "prompts": "What is asked of each media item, and in which form it is answered.",
    "automations": "Per index: what is watched and imported, and where results go.",
    "processors": "Who answers the prompts, what that costs, and whether one is paused. An extension.",
    "windows": "What gathers for the next import job, and when it is due. An extension.",
    "audit": "Who changed what, and who was refused. An extension.",
    "reconciles": "Reports of sweeps: the listing held against the ledger. An extension.",
    "import jobs": "What became of each file.",
    "uploads": "Media that come with the request.",
    "workflow": "Shortcuts: a file or some links in, a prompt over them, results out.",
    "videos": "Media items, whatever their type, and their segments.",
    "deletions": "Deleting is accepted at once and carried out in the background.",
    "prompt runs": "A prompt over media items, and what it found.",
    "search": "Conditions over what prompt runs found; they need no model.",
    "exports": "Results as documents, for download or delivered to a connector.",
    "webhooks": "Who is told of what, and the log of all deliveries.",
    "events": "What happens, as it happens.",
    "usage": "What was done, month by month. Nothing is billed.",
    "not available": "What only the hosted API has: 404 (422 where a model is needed), and what to do instead.",
    "explain": "Why an object was, or was not, picked up. An extension.",
    "status": "What the server is doing. An extension.",
    "doctor": "What is not well, and the line that mends it. An extension.",
    "authentication": "Is this key good?",
    "rate limits": "How often a key may ask, and how often it did.",
    "api keys": "Keys and their scopes. A key with the scope `admin` may; the hosted API wants a signed-in operator.",
    "description": "What the API says of itself. An extension.",
    "operation": "What machines ask; no key is needed.",
}
"""What each tag stands for, in the order of the description."""

HEADERS: Final[Mapping[str, tuple[str, Any]]] = {
    "X-Request-ID": ("the id of this request, also in the server's log", example_id("req")),
    "X-RateLimit-Limit": ("how many requests the key may make in a minute; only where there is a limit", 600),
    "X-RateLimit-Remaining": ("how many of them are left", 588),
    "X-RateLimit-Reset": ("when the minute ends, in epoch seconds", 1_790_000_040),
    "Retry-After": ("in how many seconds it is worth trying again", 12),
    "Idempotency-Replayed": ("`true` when this answer was given before to the same Idempotency-Key", "true"),
    "WWW-Authenticate": ("how one authenticates", "Bearer"),
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
    "description": "an id of your own for this request: up to 128 of `A-Z a-z 0-9 . _ : -`; another one is replaced",
    "schema": {"type": "string"},
    "example": example_id("req"),
}
PARAMETERS: Final[Mapping[str, str]] = {
    "cursor": "where the page before this one ended: its `next_cursor`",
    "limit": "how many at most",
    "status": "only those with this status",
    "index_id": "only those of this index",
    "connector_id": "only this connector",
    "state": "only those in this state",
    "key": "the object's key below the connector's location",
    "automation_only": "only those that an automation made",
    "failed_only": "only what failed",
    "active_only": "only those that are active",
    "include_defaults": "also what the server brings along",
    "verbose": "each condition, also when all are met",
}
"""What a parameter of the query means when its route does not say."""

STREAM: Final = "text/event-stream"
EVENT: Final = {
    "type": "object",
    "description": "One event of the stream",
    "properties": {
        "event": {"type": "string", "description": "its type"},
        "data": {"type": "string", "description": "a JSON object"},
        "id": {"type": "string", "description": "where to go on: send it as Last-Event-ID"},
        "retry": {"type": "integer", "description": "milliseconds after which to connect again"},
    },
}
DONE: Final = {200: "Done", 201: "Made", 202: "Accepted", 204: "Yes; there is no body"}
