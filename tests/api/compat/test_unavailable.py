"""What this server cannot do is said clearly, wherever a client may ask for it."""

from __future__ import annotations

import pytest

from tests.api.asking import Api

pytestmark = pytest.mark.anyio

MODEL = [
    ("POST", "/workflow/define"),
    ("POST", "/prompts/generate"),
    ("POST", "/indexes/idx_1/image-search"),
    ("POST", "/indexes/idx_1/multimodal-search"),
    ("POST", "/search/sql/idx_1/generate"),
    ("POST", "/chat/sessions"),
    ("GET", "/chat/sessions/1/messages"),
    ("DELETE", "/chat/sessions/1"),
]
ABSENT = [
    ("GET", "/videos/vid_1/gif"),
    ("GET", "/markers"),
    ("PUT", "/markers/prompts/prompt_1"),
    ("GET", "/billing/plan"),
    ("GET", "/mcp/status"),
    ("POST", "/mcp/playground"),
]


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(("method", "path"), [*MODEL, *ABSENT])
async def test_it_says_what_is_missing_and_what_there_is_instead(api: Api, method: str, path: str) -> None:
    """Never as a 5xx, which clients repeat: no model comes by that."""
    status, code = (422, "model_not_configured") if (method, path) in MODEL else (404, "not_available")
    error = await api.error(method, path, status, json={"query": "red"})
    assert error["code"] == code
    assert error["details"]["hint"]


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_other_routes_are_there_beside_them(api: Api) -> None:
    assert (await api.error("GET", "/nowhere", 404))["code"] == "resource_route_not_found"
    assert (await api.error("GET", "/search/filter/idx_1", 405))["code"] == "method_not_allowed"
