"""Idempotency-Key: repeating a request with its key returns the first response and does nothing more.

A route that changes something takes a `Once` and passes it the one transaction that does it, audit entry included.
Failures are not kept: the same key may try again.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Annotated, Final, TypeVar

from anyio import to_thread
from fastapi import Depends, Header, Request, Response
from starlette.datastructures import UploadFile

from vvwatch.api.http.auditing import Audit
from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.wire import Resource
from vvwatch.store.db import idempotency
from vvwatch.store.db.database import Tx
from vvwatch.store.db.idempotency import Answer, Claim

REPLAYED: Final = "Idempotency-Replayed"
"""The header of a replayed response."""

_CHUNK_BYTES: Final = 1 << 16
_QUICK_BYTES: Final = 1 << 16
_PAUSE_SECONDS: Final = 1.0

R = TypeVar("R", bound=Resource)


class SecretResponse(Resource, ABC):
    """A response that shows a secret. It is never stored; a repetition is refused and says what the request did."""

    @abstractmethod
    def instead(self) -> tuple[str, str]:
        """Return what the request did, and how to get another secret."""


class Once:
    """Answers one request; with an Idempotency-Key, repetitions get the same response."""

    def __init__(self, request: Request, key: str | None) -> None:
        context: ApiContext = request.app.state.context
        self._request = request
        self._database = context.database
        self._box = context.box
        self._key = (key or "").strip()
        self._under_way: set[str] = request.app.state.under_way
        self._body: bytes | None = None
        self.audit = Audit(request)

    def of(self, body: bytes) -> Once:
        """Return the same for a request whose body was read before; `body` is its canonical content."""
        self._body = body
        return self

    def changing(self, fields: Iterable[str]) -> Once:
        """Return the same for a request that changes these fields, which the audit trail names."""
        self.audit.details["fields"] = sorted(fields)
        return self

    async def __call__(self, effect: Callable[[Tx], R], tell: Callable[[R], None] | None = None) -> Response:
        """Return the response: the result of `effect` in its transaction, or the earlier response to this key.

        Of concurrent requests one runs and the others wait for it; its result goes to `tell` after the commit. Raises
        RequestMismatch for a key that came with another request, AnswerNotKept for a `SecretResponse`.
        """
        claim = await self.claim()
        if claim is None:
            made = await self.audit.write(effect)
            given = self._to_answer(made)
        else:
            given, found = await self._write(claim, effect)
            if found is None:
                return _to_response(given, replayed=True)
            made = found
        if tell is not None:
            tell(made)
        return _to_response(given)

    async def run_both(self, effect: Callable[[Tx], R], then: Callable[[R], Awaitable[R]]) -> Response:
        """Run `effect`, then `then` after the commit, and keep the result of `then` as the response.

        If the process dies in between, the result of `effect` is the response from then on. Raises ApiError while
        `then` of the first request is still running here.
        """
        claim = await self.claim()
        if claim is None:
            return self.answer(await then(await self.audit.write(effect)))
        with self._alone(claim.id):
            given, made = await self._write(claim, effect)
            if made is not None:
                final = self._to_answer(await then(made))
                given = await self._database.write(idempotency.store_answer, self._box, claim, final)
        return _to_response(given, replayed=made is None)

    async def find_earlier_response(self) -> Response | None:
        """Return the earlier response, for routes that call others first; None if this key is new."""
        claim = await self.claim()
        found = (
            None if claim is None else await self._database.read(idempotency.find_answer, self._box, claim)
        )
        return None if found is None else _to_response(found, replayed=True)

    async def _write(self, claim: Claim, effect: Callable[[Tx], R]) -> tuple[Answer, R | None]:
        recorded = self.audit.recording(effect)
        given, made = await self._database.write(
            idempotency.run_once, self._box, claim, recorded, self._to_answer
        )
        if made is not None:
            self.audit.report()
        return given, made

    async def claim(self) -> Claim | None:
        """Return the identity of this request; None without an Idempotency-Key.

        It belongs to the API key that sent it: another key may not be allowed to see the response.
        """
        if not self._key:
            return None
        scope = self._request.scope
        identity = json.dumps([self._request.state.key_id, scope["method"], scope["path"], self._key])
        content = await _content_digest(self._request, self._body)
        return Claim(sha256(identity.encode()).hexdigest(), content, self._request.state.key_id)

    def answer(self, resource: Resource, *, replayed: bool = False) -> Response:
        """Return the response for `resource`, with the route's status."""
        return _to_response(self._to_answer(resource), replayed=replayed)

    def _to_answer(self, resource: Resource) -> Answer:
        instead = resource.instead() if isinstance(resource, SecretResponse) else None
        return Answer(self._request.scope["route"].status_code or 200, resource.model_dump_json(), instead)

    @contextmanager
    def _alone(self, claim_id: str) -> Iterator[None]:
        """Refuse a repetition: it would wait longer than a transaction takes."""
        if claim_id in self._under_way:
            code, message = (
                "idempotency_request_in_progress",
                "the first request with this key is still running",
            )
            raise ApiError(409, code, message, "try again with the same key", _PAUSE_SECONDS)
        self._under_way.add(claim_id)
        try:
            yield
        finally:
            self._under_way.remove(claim_id)


def _to_response(answer: Answer, *, replayed: bool = False) -> Response:
    headers = {REPLAYED: "true"} if replayed else {}
    return Response(answer.body, answer.status, headers, media_type="application/json")


async def _content_digest(request: Request, body: bytes | None) -> str:
    """Return a digest of the query and the canonical body."""
    query = sorted(request.query_params.multi_items())
    if body is None:
        is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
        body = await _canonical_form(request) if is_form else await _canonical_json(await request.body())
    return sha256(json.dumps(query).encode() + body).hexdigest()


async def _canonical_json(body: bytes) -> bytes:
    """Return JSON in one spelling and nothing as `{}`; leave other bodies unchanged."""
    if len(body) <= _QUICK_BYTES:
        return _normalize_json(body)
    return await to_thread.run_sync(_normalize_json, body)


def _normalize_json(body: bytes) -> bytes:
    try:
        return json.dumps(json.loads(body or b"{}"), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return body


async def _canonical_form(request: Request) -> bytes:
    """Return the fields of a form by name, whatever separates them; files by their digests."""
    fields: list[tuple[str, ...]] = []
    for name, value in (await request.form()).multi_items():
        if isinstance(value, UploadFile):
            fields.append((name, value.filename or "", await _file_digest(value)))
        else:
            fields.append((name, value))
    return json.dumps(sorted(fields, key=lambda each: each[0])).encode()


async def _file_digest(file: UploadFile) -> str:
    """Return the digest of the whole file, which is rewound before and after."""
    digest = sha256()
    await file.seek(0)
    while chunk := await file.read(_CHUNK_BYTES):
        digest.update(chunk)
    await file.seek(0)
    return digest.hexdigest()


_Key = Header(description="repeat a request with the same key: same response, and nothing is done twice")


async def _get_once(request: Request, idempotency_key: Annotated[str | None, _Key] = None) -> Once:
    return Once(request, idempotency_key)


Idempotent = Annotated[Once, Depends(_get_once)]
