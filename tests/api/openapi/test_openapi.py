"""The description of the API is whole and true: what it says of every route, and its examples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

from tests.api.asking import Api
from tests.api.http.test_guards import is_envelope
from tests.api.route_scopes import SCOPES
from vvwatch.api.app import create_app
from vvwatch.api.http.auth import PREFIX
from vvwatch.api.http.context import ApiContext
from vvwatch.api.openapi.examples import UNKNOWN
from vvwatch.api.openapi.responses import CODES, STATUSES
from vvwatch.api.openapi.texts import TAGS

pytestmark = pytest.mark.anyio

Document = dict[str, Any]


@pytest.fixture
def document(context: ApiContext) -> Document:
    return described(context)


_described: dict[None, Document] = {}


def described(context: ApiContext) -> Document:
    """The document, which is made once."""
    if not _described:
        _described[None] = create_app(context).openapi()
    return _described[None]


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    for path, methods in document["paths"].items():
        for method in methods:
            yield f"{method.upper()} {path}", methods[method]


def resolved(document: Document, value: Document) -> Document:
    """What a reference refers to."""
    reference = value.get("$ref")
    if reference is None:
        return value
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def fits(document: Document, schema: Document) -> Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_each_route_is_told_of_wholly(document: Document) -> None:
    names: Counter[str] = Counter()
    for name, operation in operations(document):
        names[operation["operationId"]] += 1
        assert re.fullmatch(r"[a-z][a-z_0-9]+", operation["operationId"]), name
        assert operation["summary"], name
        assert len(operation["description"].split("\n\n")) >= 2, f"{name}: the route needs a docstring"
        assert [tag for tag in operation["tags"] if tag not in TAGS] == [], f"{name}: its tag is not in TAGS"
        assert ("extension" in operation["description"]) == ("x-extension" in operation), name
        if PREFIX in name:
            scope = operation["x-scope"]
            assert SCOPES[name.replace(PREFIX, "")] == (None if scope == "none" else scope)
        for parameter in operation.get("parameters", ()):
            assert resolved(document, parameter)["description"], name
        for status, response in operation["responses"].items():
            assert resolved(document, response)["description"], f"{name} {status}"
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_each_answer_has_its_type_and_its_headers(document: Document) -> None:
    for name, operation in operations(document):
        assert "default" not in operation["responses"], name
        for status, found in operation["responses"].items():
            response = resolved(document, found)
            assert "X-Request-ID" in response["headers"], f"{name} {status}"
            if status not in ("204", "304"):
                assert response["content"], f"{name} {status}"
            if status >= "400":
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorEnvelope"}, f"{name} {status}"
        is_counted = "429" in operation["responses"]
        success = next(each for each in operation["responses"].values() if "$ref" not in each)
        assert ("X-RateLimit-Limit" in success["headers"]) == is_counted, name
        if is_counted:
            assert "Retry-After" in resolved(document, operation["responses"]["429"])["headers"]


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_each_body_has_an_example_that_fits(document: Document) -> None:
    for name, operation in operations(document):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for found in (*bodies, *operation["responses"].values()):
            for media_type, content in resolved(document, found).get("content", {}).items():
                if "json" not in media_type:
                    continue
                examples = [
                    resolved(document, each)["value"] for each in content.get("examples", {}).values()
                ]
                examples += [content["example"]] if "example" in content else []
                assert examples, f"{name}: no example for {media_type}"
                for example in examples:
                    why = [error.message for error in fits(document, content["schema"]).iter_errors(example)]
                    assert why == [], f"{name}: the example is not true; see api/openapi/example_values.py"


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_no_example_holds_a_text_that_nobody_thought_of(document: Document) -> None:
    found = [*unknown(document["components"]["examples"], ""), *unknown(document["paths"], "")]
    assert found == [], "add these names to VALUES in api/openapi/example_values.py"


def unknown(value: Any, path: str) -> Iterator[str]:
    if value == UNKNOWN:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from unknown(each, f"{path}.{name}")


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_what_is_one_thing_has_one_id_in_all_examples(document: Document) -> None:
    """An id that one example answers is what the next one asks for."""
    found: dict[str, set[str]] = {}
    for name, value in ids(document["components"]["examples"]):
        found.setdefault(name, set()).add(value)
    assert found["index_id"] == found["target_index_id"]
    assert len(found["video_id"]) == len(found["run_id"]) == len(found["connector_id"]) == 1
    for _, operation in operations(document):
        for parameter in operation["parameters"]:
            if parameter.get("in") == "path" and parameter["name"] not in {"file_id", "rest"}:
                assert {parameter["example"]} == found[parameter["name"]]


def ids(value: Any) -> Iterator[tuple[str, str]]:
    for name, each in value.items() if isinstance(value, dict) else ():
        if name.endswith("_id") and isinstance(each, str):
            yield name, each
        yield from ids(each)
    for each in value if isinstance(value, list) else ():
        yield from ids(each)


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_every_code_has_a_status_that_is_explained(document: Document) -> None:
    assert {refusal.status for refusal in CODES.values()} <= set(STATUSES)
    used = {code for code in CODES if code in document["components"]["examples"]}
    assert used == set(CODES)


async def test_what_is_not_there_is_refused_as_described(api: Api) -> None:
    """With the status and the code that the description names."""
    document = described(api.context)
    for name, operation in operations(document):
        method, path = name.split()
        if "{" not in path:
            continue
        response = await api.client.request(method, re.sub(r"{\w+}", "nothing", path), json={})
        assert str(response.status_code) in operation["responses"], f"{name} answered {response.status_code}"
        if response.status_code >= 400:
            code = response.json()["error"]["code"]
            told = resolved(document, operation["responses"][str(response.status_code)])
            assert code in told["content"]["application/json"]["examples"], f"{name} answered {code}"


async def test_the_examples_of_bodies_are_taken(api: Api) -> None:
    """What an example names is not there, but nothing is wrong with its form."""
    document = described(api.context)
    for name, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        method, path = name.split()
        examples = [resolved(document, each)["value"] for each in content.get("examples", {}).values()]
        for example in examples:
            response = await api.client.request(method, re.sub(r"{\w+}", "nothing", path), json=example)
            if response.status_code == 422:
                assert "body" not in str(response.json()["error"]["details"]), f"{name}: {response.text}"


async def test_the_document_and_the_page_need_no_key(api: Api) -> None:
    del api.client.headers["X-API-Key"]
    document = (await api.client.get("/api/v2/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert document["info"]["license"]["identifier"] == "Apache-2.0"
    assert document["servers"] == [{"url": "/", "description": "this server"}]
    assert (await api.client.get("/openapi.json")).json() == document


async def test_the_document_names_the_public_address(context: ApiContext) -> None:
    public = replace(context, settings=replace(context.settings, public_url="https://vv.example/base/"))
    assert create_app(public).openapi()["servers"][0]["url"] == "https://vv.example/base"


async def test_the_page_needs_nothing_from_elsewhere(api: Api) -> None:
    response = await api.client.get("/docs")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    page = response.text
    for word in ("<script", "<img", "<link", "<iframe", "<form", "style=", "src=", "onclick"):
        assert word not in page
    assert set(re.findall(r'href="([^#"]+)"', page)) == {"api/v2/openapi.json"}


async def test_the_page_shows_every_route_and_leads_nowhere_in_vain(api: Api) -> None:
    page = (await api.client.get("/docs")).text
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= anchors
    for _, operation in operations(described(api.context)):
        assert operation["operationId"] in anchors


async def test_another_page_is_not_there(api: Api) -> None:
    assert is_envelope(await api.client.get("/redoc"), "resource_route_not_found")
