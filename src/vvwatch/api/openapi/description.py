"""Complete FastAPI's OpenAPI document with what holds for all routes.

A route provides its function, docstring, models and scope; its name, summary, examples, headers and error responses
follow from them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vvwatch import __version__
from vvwatch.api.http.auth import PREFIX
from vvwatch.api.openapi.example_values import IDS, MOMENT, VALUES, example_id
from vvwatch.api.openapi.examples import REFERENCE, Examples
from vvwatch.api.openapi.responses import (
    RESOURCES,
    STATUSES,
    by_status,
    codes_of,
    is_counted,
    refusal_of,
    with_status,
)
from vvwatch.api.openapi.texts import (
    ABOUT,
    COUNTED,
    DONE,
    EVENT,
    EXTENSION,
    HEADERS,
    PARAMETERS,
    REQUEST_ID,
    SECURITY,
    STREAM,
    TAGS,
)

Document = dict[str, Any]

_CHANGES: Final = re.compile("Changes?$")
_METHODS: Final = frozenset({"get", "put", "post", "patch", "delete"})


def app_options(public_url: str | None) -> Document:
    """Return FastAPI's options for the API as a whole; `public_url` is the server's URL, None if unknown."""
    return {
        "title": "vvwatch",
        "version": __version__,
        "summary": "Watch folders for object storage",
        "description": ABOUT,
        "license_info": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        "servers": [{"url": (public_url or "").rstrip("/") or "/", "description": "this server"}],
        "openapi_tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "generate_unique_id_function": lambda route: route.name,
    }


def complete_document(document: Document) -> Document:
    """Return FastAPI's `document` completed, without changing the original."""
    document = _rename_schemas(document)
    _Description(document).complete()
    return document


def _rename_schemas(document: Document) -> Document:
    """Give the schemas readable names."""
    names = {name: _plain_name(name) for name in document["components"]["schemas"]}

    def rename_reference(value: Document) -> Document:
        if "$ref" not in value:
            return value
        return {"$ref": REFERENCE + names[value["$ref"].removeprefix(REFERENCE)]}

    found: Document = json.loads(json.dumps(document), object_hook=rename_reference)
    schemas = found["components"]["schemas"]
    found["components"]["schemas"] = {names[name]: schema for name, schema in schemas.items()}
    for name in filter(_CHANGES.search, found["components"]["schemas"]):
        _forget_defaults(found["components"]["schemas"][name])
    return found


def _forget_defaults(schema: Document) -> None:
    """Remove defaults from bodies that change a resource: a missing field keeps its value."""
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


def _plain_name(name: str) -> str:
    """Name `Page_Video_` VideoPage, and prefix models of the same name, such as Deleted, with their resource."""
    if found := re.fullmatch(r"(Page|Items)_(\w+)_", name):
        return found[2] + found[1]
    found = re.fullmatch(r"vvwatch__api__\w+?__(\w+)__(\w+)", name)
    return name if found is None else found[1].title().replace("_", "") + found[2]


class _Description:
    """Completes one document."""

    def __init__(self, document: Document) -> None:
        self._paths: dict[str, Any] = document["paths"]
        self._components: dict[str, Any] = document["components"]
        self._schemas: dict[str, Any] = self._components["schemas"]
        self._examples = Examples(self._schemas)

    def complete(self) -> None:
        self._components |= {
            "securitySchemes": SECURITY,
            "headers": _headers(),
            "examples": {},
            "responses": {},
        }
        self._components["parameters"] = {"RequestId": REQUEST_ID}
        for path, operations in self._paths.items():
            for method in _METHODS & operations.keys():
                self._complete(f"{method.upper()} {path.removeprefix(PREFIX)}", operations[method])

    def _complete(self, name: str, operation: Document) -> None:
        words = operation["operationId"].replace("_", " ")
        if operation["summary"] == words.title():
            operation["summary"] = words.capitalize()
        operation["description"] = "\n\n".join(_sentences(operation))
        _complete_parameters(name, operation.setdefault("parameters", []))
        self._complete_content(operation.get("requestBody", {}).get("content", {}))
        self._complete_answers(name, operation)
        operation["parameters"].append({"$ref": "#/components/parameters/RequestId"})
        for used_here in ("x-errors", "x-uncounted"):
            operation.pop(used_here, None)

    def _complete_answers(self, name: str, operation: Document) -> None:
        headers = ["X-Request-ID", *(COUNTED if is_counted(operation) else ())]
        is_keyed = any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", ()))
        done = [*headers, "Idempotency-Replayed"] if is_keyed else headers
        bodies = [each.get("schema") for each in operation.get("requestBody", {}).get("content", {}).values()]
        codes = by_status(codes_of(name, operation, set(self._fields(bodies))))
        answers = operation["responses"]
        answers.pop("default", None)
        for status, answer in list(answers.items()):
            if status < "400":
                self._complete_answer(int(status), answer, done)
            else:
                described = codes.pop(int(status), None) or with_status(int(status))
                own = {"description": answer["description"]}
                answers[status] = self._refusing(int(status), described, headers) | own
        if "206" in answers:
            answers["206"].setdefault("content", answers["200"]["content"])
        for status, found in codes.items():
            answers[str(status)] = self._refusal(status, found, headers)

    def _fields(self, schema: Any) -> Iterator[str]:
        """Yield the names of all fields of a schema, at any depth."""
        if isinstance(schema, dict):
            if reference := schema.get("$ref"):
                yield from self._fields(self._schemas[reference.removeprefix(REFERENCE)])
            yield from schema.get("properties", ())
            schema = list(schema.values())
        for each in schema if isinstance(schema, list) else ():
            yield from self._fields(each)

    def _complete_answer(self, status: int, response: Document, headers: list[str]) -> None:
        response.setdefault("headers", {}).update(_references(headers))
        content = response.get("content", {})
        if STREAM in content:
            content[STREAM]["schema"] = EVENT
        schema: Document = next((each.get("schema", {}) for each in content.values()), {})
        if response.get("description") in {None, "", "Successful Response"}:
            response["description"] = self._first_sentence(schema) or DONE.get(status, "Done")
        self._complete_content(content)

    def _complete_content(self, content: Document) -> None:
        for media_type, each in content.items():
            if "json" in media_type or "form" in media_type:
                self._set_example(each)

    def _set_example(self, media: Document) -> None:
        """Refer to the example of a named schema; inline the example of others."""
        schema = media.get("schema", {})
        if {"example", "examples"} & media.keys() or not schema:
            return
        reference = schema.get("$ref", "")
        if reference:
            name = reference.removeprefix(REFERENCE)
            self._components["examples"].setdefault(name, {"value": self._examples.make_named(name)})
            media["examples"] = {name: {"$ref": f"#/components/examples/{name}"}}
        else:
            media["example"] = self._examples.of(schema)

    def _refusal(self, status: int, codes: list[str], headers: list[str]) -> Document:
        """Return a reference to the response with these codes."""
        name = ".".join([str(status), *codes, *(["uncounted"] if len(headers) == 1 else [])])
        if name not in self._components["responses"]:
            self._components["responses"][name] = self._refusing(status, codes, headers)
        return {"$ref": f"#/components/responses/{name}"}

    def _refusing(self, status: int, codes: list[str], headers: list[str]) -> Document:
        examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
        for code in codes:
            self._components["examples"].setdefault(
                code, {"summary": refusal_of(code).message, "value": _envelope(code)}
            )
        waits = any(refusal_of(code).retry_after for code in codes)
        special = ["WWW-Authenticate"] if status == 401 else ["Retry-After"] if waits else []
        return {
            "description": STATUSES[status],
            "headers": _references([*headers, *special]),
            "content": {
                "application/json": {"schema": {"$ref": REFERENCE + "ErrorEnvelope"}, "examples": examples}
            },
        }

    def _first_sentence(self, schema: Mapping[str, Any]) -> str:
        """Return the first sentence of the description of a schema or of its items."""
        here = schema.get("items", schema)
        if reference := here.get("$ref"):
            here = self._schemas[reference.removeprefix(REFERENCE)]
        return str(here.get("description", "")).partition(". ")[0].partition("\n")[0].rstrip(".")


def _sentences(operation: Document) -> Iterator[str]:
    """Yield the paragraphs that describe a route."""
    needed = operation.get("x-scope", "none")
    if text := operation.get("description", "").strip():
        yield text
    if operation.get("x-extension"):
        yield EXTENSION
    yield "No key needed." if needed == "none" else f"Needs a key with the scope `{needed}`."


def _complete_parameters(name: str, parameters: list[Document]) -> None:
    """Describe all parameters, including path parameters that the function does not take."""
    known = {each["name"] for each in parameters}
    missing = [each for each in re.findall(r"\{(\w+)\}", name) if each not in known]
    parameters += [
        {"name": each, "in": "path", "required": True, "schema": {"type": "string"}} for each in missing
    ]
    for parameter in parameters:
        _complete_parameter(parameter)


def _complete_parameter(parameter: Document) -> None:
    """Give a parameter a description and, if there is a real one, an example."""
    if parameter["name"] == "idempotency-key":
        parameter |= {"name": "Idempotency-Key", "example": "export-create:5f1c7e0a"}
        return
    own = parameter["name"]
    if parameter["in"] == "path":
        resource = RESOURCES.get(own, own.removesuffix("_id")).replace("_", " ")
        is_rest = own == "rest"
        parameter.setdefault(
            "description", "the rest of the path" if is_rest else f"the id of the {resource}"
        )
        parameter["example"] = _example_id_of(own)
        return
    parameter.setdefault("description", PARAMETERS.get(own, own.replace("_", " ")))


def _example_id_of(name: str) -> str:
    prefix = next((IDS[each] for each in IDS if name.endswith(each)), None)
    return str(VALUES.get(name, "1")) if prefix is None else example_id(prefix)


def _headers() -> Document:
    return {
        name: {
            "description": text,
            "schema": {"type": "integer" if isinstance(example, int) else "string"},
            "example": example,
        }
        for name, (text, example) in HEADERS.items()
    }


def _references(headers: list[str]) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers}


def _envelope(code: str) -> Document:
    """Return an example of the error response."""
    refusal = refusal_of(code)
    error: Document = {
        "code": code,
        "message": refusal.message,
        "details": {"hint": refusal.hint} if refusal.hint else {},
        "request_id": example_id("req"),
        "timestamp": MOMENT,
    }
    if refusal.retry_after:
        error["retry_after"] = refusal.retry_after
    return {"error": error, "request_id": example_id("req")}
