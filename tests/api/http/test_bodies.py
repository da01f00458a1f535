"""A body costs little, whatever it holds: it is bounded before it is parsed, and its errors before they are made."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import Request

from tests.api.asking import Api
from vvwatch.api.http.bodies import MAX_VALUES

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
TRIAL = "/prompts/test-schema"


def trial(sample: Any) -> dict[str, Any]:
    return {"json_schema": {"type": "object"}, "sample_data": {"a": sample}}


@pytest.mark.parametrize(
    "body",
    [
        b"{" + b",".join(b'"k%d":1' % number for number in range(85_000)) + b"}",
        b"{" + b",".join(b'"k%d":1' % number for number in range(MAX_VALUES + 1)) + b"}",
        b'{"filters":[' + b",".join([b"1"] * 400_000) + b"]}",
        b'{"filters":[' + b",".join([b"{}"] * 300_000) + b"]}",
        b"[" * 500_000 + b"]" * 500_000,
    ],
    ids=["many_keys", "one_key_too_many", "numbers", "tables", "depth"],
)
async def test_a_body_of_too_many_values_is_refused_before_it_is_parsed(
    api: Api, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Request, "json", lambda _: pytest.fail("it was parsed"))
    response = await api.client.post("/api/v2/workflow/search", content=body, headers=JSON)

    assert response.status_code == 413
    error = response.json()["error"]
    assert error["code"] == "body_too_large"
    assert error["details"]["hint"] == "a body may hold at most 12,000 values: send less at once"


async def test_who_has_no_key_learns_nothing_of_the_bound(api: Api) -> None:
    body = b"[" + b"1," * MAX_VALUES + b"1]"
    response = await api.client.post(
        "/api/v2/workflow/search", content=body, headers={**JSON, "X-API-Key": "no"}
    )
    assert response.status_code == 401


@pytest.mark.parametrize(
    "text",
    [",[{" * 300_000, '",' * 300_000, "\\" * 300_000 + '"', "\n," * 200_000],
    ids=["separators", "quotes", "backslashes", "lines"],
)
async def test_what_texts_say_does_not_count(api: Api, text: str) -> None:
    answer = await api.post(TRIAL, trial(text))
    assert answer["validated_data"] == {"a": text}


async def test_a_body_of_as_many_values_as_may_be_is_taken(api: Api) -> None:
    answer = await api.post(TRIAL, trial([1] * (MAX_VALUES - 6)))
    assert answer["valid"] is True


async def test_many_unknown_fields_are_one_error(api: Api) -> None:
    body = {f"k{number}": 1 for number in range(5_000)}
    error = await api.error("POST", "/indexes", 422, json=body)
    assert error["details"]["errors"] == [{"where": "body", "what": "has 5000 fields; at most 2 are known"}]


async def test_a_few_unknown_fields_are_named(api: Api) -> None:
    error = await api.error("POST", "/indexes", 422, json={"name": "films", "nam": 1, "descr": 2})
    assert [each["where"] for each in error["details"]["errors"]] == ["body.nam", "body.descr"]


async def test_patterns_whose_braces_stand_for_too_much_together_are_one_error(api: Api) -> None:
    """Each of them could be used; judging all of them would take half a second."""
    path = f"/indexes/{await api.index()}/automations/import"
    body = {"connector_id": "conn_x", "exclude": ["{1..100}" + "[a-z]" * 18] * 100}
    error = await api.error("PUT", path, 422, json=body)
    problem = next(each for each in error["details"]["errors"] if each["where"] == "body.exclude")
    assert problem["what"] == "the braces of all patterns together expand too far"
