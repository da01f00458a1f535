"""Every refusal has one form, and tells when it is worth trying again."""

from __future__ import annotations

import re

import pytest

from tests.api.asking import Api
from tests.api.http.test_guards import is_envelope
from tests.api.route_scopes import SCOPES
from vvwatch.api.http.auth import PREFIX
from vvwatch.api.http.errors import ApiError
from vvwatch.errors import (
    AccessDenied,
    Conflict,
    OnAnotherNode,
    RequestMismatch,
    StorageThrottled,
    StorageUnavailable,
    StoreUnavailable,
)
from vvwatch.store.catalog import catalog

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (StorageThrottled("slow down", retry_after_seconds=1.2), 503, "storage_throttled", 2),
        (StorageThrottled("slow down", retry_after_seconds=0.0), 503, "storage_throttled", 1),
        (StorageThrottled("slow down", retry_after_seconds=float("inf")), 503, "storage_throttled", 3600),
        (StorageThrottled("slow down"), 503, "storage_throttled", 5),
        (StorageUnavailable("no answer"), 503, "storage_unavailable", 5),
        (StoreUnavailable("the disk is full"), 503, "store_unavailable", 5),
        (ApiError(429, "rate_limit_exceeded", "wait", "", 40), 429, "rate_limit_exceeded", 40),
        (
            ApiError(409, "idempotency_request_in_progress", "wait", "", 1.0),
            409,
            "idempotency_request_in_progress",
            1,
        ),
        (OnAnotherNode("elsewhere"), 409, "on_another_node", None),
        (RequestMismatch("another"), 409, "idempotency_request_mismatch", None),
        (Conflict("no"), 409, "conflict", None),
        (AccessDenied("no"), 502, "access_denied", None),
        (MemoryError(), 503, "machine_shortage", 5),
        (RuntimeError("can't start new thread"), 503, "machine_shortage", 5),
        (RuntimeError("broken"), 500, "internal_error", None),
    ],
)
async def test_an_error_says_whether_and_when_to_come_back(
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    code: str,
    retry_after: int | None,
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(catalog, "list_indexes", refuse)
    response = await api.client.get("/api/v2/indexes")
    body = response.json()["error"]
    assert (response.status_code, body["code"]) == (status, code)
    assert body.get("retry_after") == retry_after
    assert response.headers.get("retry-after") == (None if retry_after is None else str(retry_after))
    assert set(body) - {"retry_after"} == {"code", "message", "details", "request_id", "timestamp"}


async def test_every_route_refuses_in_the_same_form(api: Api) -> None:
    """Asked for what is not there, with a body that nobody accepts."""
    headers = {"Content-Type": "application/json"}
    for name in SCOPES:
        method, path = name.split()
        url = PREFIX + re.sub(r"{\w+}", "nothing", path)
        bad = {"batch_size": "nonsense"}  # without it a stream would begin, and never end
        response = await api.client.request(method, url, headers=headers, content=b"{nonsense", params=bad)
        assert response.status_code < 500, name
        if response.status_code >= 400:
            assert is_envelope(response, response.json()["error"]["code"]), name
