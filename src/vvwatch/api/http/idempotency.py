"""Idempotency-Key: a request that is repeated with its key gets the first answer again, and does nothing more.

A route that makes or changes something takes a `Once` and gives it the one transaction that does it, which also records
it in the audit trail. What fails is not kept: the same key may try again.
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
"""The header of an answer that was given before."""

_CHUNK_BYTES: Final = 1 << 16
_QUICK_BYTES: Final = 1 << 16
_PAUSE_SECONDS: Final = 1.0

R = TypeVar("R", bound=Resource)


class SecretResponse(Resource, ABC):
    """An answer that shows a secret. No receipt keeps it: a repetition is refused, with what the request did."""

    @abstractmethod
    def instead(self) -> tuple[str, str]:
        """What the request did, and how to get another secret."""


class Once:
    """Answers one request; with an Idempotency-Key for good, without one as if there were no other like it."""

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
        """The same, of a request whose body was read before: `body` stands for what it says."""
        self._body = body
        return self

    def changing(self, fields: Iterable[str]) -> Once:
        """The same, of a request that changes these fields, which the audit trail names."""
        self.audit.details["fields"] = sorted(fields)
        return self

    async def __call__(self, effect: Callable[[Tx], R], tell: Callable[[R], None] | None = None) -> Response:
        """The answer: what `effect` made in its transaction, or what was answered to this key before.

        Of requests that come at once one runs and the others wait for it; what that one made is given to `tell` when
        it is committed. Raises RequestMismatch for a key that came with another request, AnswerNotKept for an answer
        that was `ShownOnce`.
        """
        claim = await self.claim()
        if claim is None:
            made = await self.audit.write(effect)
            given = self._told(made)
        else:
            given, found = await self._write(claim, effect)
            if found is None:
                return _to_response(given, replayed=True)
            made = found
        if tell is not None:
            tell(made)
        return _to_response(given)

    async def followed(self, effect: Callable[[Tx], R], then: Callable[[R], Awaitable[R]]) -> Response:
        """As a call with `effect` alone, but `then` goes on after the commit, and its result is answered for good.

        When the process dies before that, what `effect` made is the answer from then on. Raises ApiError while `then`
        of the first request is under way here.
        """
        claim = await self.claim()
        if claim is None:
            return self.answer(await then(await self.audit.write(effect)))
        with self._alone(claim.id):
            given, made = await self._write(claim, effect)
            if made is not None:
                final = self._told(await then(made))
                given = await self._database.write(idempotency.store_answer, self._box, claim, final)
        return _to_response(given, replayed=made is None)

    async def given(self) -> Response | None:
        """The answer that was given before, for routes that ask others first: what they say now counts no more.

        None when this is the first request of its key.
        """
        claim = await self.claim()
        found = (
            None if claim is None else await self._database.read(idempotency.find_answer, self._box, claim)
        )
        return None if found is None else _to_response(found, replayed=True)

    async def _write(self, claim: Claim, effect: Callable[[Tx], R]) -> tuple[Answer, R | None]:
        recorded = self.audit.recording(effect)
        given, made = await self._database.write(idempotency.run_once, self._box, claim, recorded, self._told)
        if made is not None:
            self.audit.report()
        return given, made

    async def claim(self) -> Claim | None:
        """Which request this is; None without a key.

        It belongs to the API key that sent it: another key may not be allowed what was answered.
        """
        if not self._key:
            return None
        scope = self._request.scope
        identity = json.dumps([self._request.state.key_id, scope["method"], scope["path"], self._key])
        content = await _content_digest(self._request, self._body)
        return Claim(sha256(identity.encode()).hexdigest(), content, self._request.state.key_id)

    def answer(self, resource: Resource, *, replayed: bool = False) -> Response:
        """The answer that tells `resource`, with the status of the route."""
        return _to_response(self._told(resource), replayed=replayed)

    def _told(self, resource: Resource) -> Answer:
        instead = resource.instead() if isinstance(resource, SecretResponse) else None
        return Answer(self._request.scope["route"].status_code or 200, resource.model_dump_json(), instead)

    @contextmanager
    def _alone(self, claim_id: str) -> Iterator[None]:
        """Refuse a repetition: it would have to wait for longer than a transaction takes."""
        if claim_id in self._under_way:
            code, message = "idempotency_request_in_progress", "the first request with this key is under way"
            raise ApiError(409, code, message, "ask again with the same key", _PAUSE_SECONDS)
        self._under_way.add(claim_id)
        try:
            yield
        finally:
            self._under_way.remove(claim_id)


def _to_response(answer: Answer, *, replayed: bool = False) -> Response:
    headers = {REPLAYED: "true"} if replayed else {}
    return Response(answer.body, answer.status, headers, media_type="application/json")


async def _content_digest(request: Request, body: bytes | None) -> str:
    """A digest of what is asked for, apart from the path: the query, and the body by what it says."""
    query = sorted(request.query_params.multi_items())
    if body is None:
        is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
        body = await _canonical_form(request) if is_form else await _canonical_json(await request.body())
    return sha256(json.dumps(query).encode() + body).hexdigest()


async def _canonical_json(body: bytes) -> bytes:
    """JSON in one spelling, and nothing as `{}`; what is no JSON stays as it is."""
    if len(body) <= _QUICK_BYTES:
        return _normalize_json(body)
    return await to_thread.run_sync(_normalize_json, body)


def _normalize_json(body: bytes) -> bytes:
    try:
        return json.dumps(json.loads(body or b"{}"), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return body


async def _canonical_form(request: Request) -> bytes:
    """The fields of a form by their names, whatever stands between them; files by their digests."""
    fields: list[tuple[str, ...]] = []
    for name, value in (await request.form()).multi_items():
        if isinstance(value, UploadFile):
            fields.append((name, value.filename or "", await _file_digest(value)))
        else:
            fields.append((name, value))
    return json.dumps(sorted(fields, key=lambda each: each[0])).encode()


async def _file_digest(file: UploadFile) -> str:
    """Of the whole file, which is rewound before and after."""
    digest = sha256()
    await file.seek(0)
    while chunk := await file.read(_CHUNK_BYTES):
        digest.update(chunk)
    await file.seek(0)
    return digest.hexdigest()


_Key = Header(
    description="the same key with the same request again: the same answer, and nothing is done twice"
)


async def _get_once(request: Request, idempotency_key: Annotated[str | None, _Key] = None) -> Once:
    return Once(request, idempotency_key)


Idempotent = Annotated[Once, Depends(_get_once)]
