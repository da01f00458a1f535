"""Serve the API's description as JSON and as a page without scripts or external resources, which works offline.

It holds no secret and needs no key.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from vvwatch.api.http.auth import PUBLIC, extension, resource_router

router = resource_router("description")
pages = APIRouter(include_in_schema=False)

Document = Mapping[str, Any]

DESCRIPTION: Final = "api/v2/openapi.json"
"""The document's URL relative to the page, which also works behind a proxy with a path prefix."""

_STYLE: Final = (files("vvwatch.api") / "reference.css").read_text()
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_LIMITS: Final = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
}

POLICY: Final = (
    "default-src 'none'; "
    f"style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: its own style sheet and nothing else."""


@pages.get("/openapi.json")
@router.get("/openapi.json", response_model=dict[str, Any], **extension("The OpenAPI document", PUBLIC))
def get_description(request: Request) -> Response:
    """Return the OpenAPI document. `/docs` shows it as a page.

    Not a coroutine: building it takes a while and runs in a thread.
    """
    return Response(request.app.document_bytes, media_type="application/json")


@pages.get("/docs")
def show_description(request: Request) -> HTMLResponse:
    """Return the document as a page."""
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
    return HTMLResponse(request.app.document_page, headers=headers | {"X-Content-Type-Options": "nosniff"})


def render_page(document: Document) -> str:
    """Return the HTML page of the OpenAPI `document`."""
    return "\n".join(_Page(document).lines())


class _Page:
    """Renders one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._components: Document = document["components"]
        self._operations: dict[str, list[tuple[str, str, Document]]] = {}
        for path, methods in document["paths"].items():
            for method in filter(methods.__contains__, _METHODS):
                operation = methods[method]
                self._operations.setdefault(operation["tags"][0], []).append((method, path, operation))

    def lines(self) -> Iterator[str]:
        """Yield the page line by line."""
        info = self._document["info"]
        title = f"{escape(info['title'])} {escape(info['version'])}"
        yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: the API</title>'
        yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        yield f"<h1>{title}: the API</h1><p>{escape(info['summary'])}. "
        yield f'Machine-readable: <a href="{DESCRIPTION}">{DESCRIPTION}</a></p>'
        yield _paragraphs(info["description"])
        tags = [tag for tag in self._document["tags"] if tag["name"] in self._operations]
        links = (f'<li><a href="#{_anchor(tag["name"])}">{escape(tag["name"])}</a></li>' for tag in tags)
        yield f'<nav><ul>{"".join(links)}<li><a href="#schemas">schemas</a></li></ul></nav>'
        for tag in tags:
            yield f'<h2 id="{_anchor(tag["name"])}">{escape(tag["name"])}</h2>{_paragraphs(tag["description"])}'
            for method, path, operation in self._operations[tag["name"]]:
                yield from self._operation(method, path, operation)
        yield '<h2 id="schemas">schemas</h2>'
        for name, schema in self._components["schemas"].items():
            yield from self._schema(name, schema)
        yield "</body></html>"

    def _operation(self, method: str, path: str, operation: Document) -> Iterator[str]:
        marks = [operation["x-scope"]] if "x-scope" in operation else []
        marks += ["extension"] if operation.get("x-extension") else []
        shown = "".join(f'<span class="mark">{escape(mark)}</span>' for mark in marks)
        head = f'<b class="{method}">{method.upper()}</b><code>{escape(path)}</code> {escape(operation["summary"])}'
        yield f'<details><summary>{head}{shown}</summary><div id="{escape(operation["operationId"])}">'
        yield _paragraphs(operation["description"])
        yield from self._parameters(map(self._resolve, operation.get("parameters", ())))
        if body := operation.get("requestBody"):
            yield from self._content("Body", body["content"])
        yield "<h3>Answers</h3><table>"
        for status, response in operation["responses"].items():
            yield self._row(status, self._resolve(response))
        yield "</table>"
        for status, response in operation["responses"].items():
            if status < "400":
                yield from self._content(f"Answer {status}", response.get("content", {}))
        yield "</div></details>"

    def _parameters(self, parameters: Iterable[Document]) -> Iterator[str]:
        yield "<h3>Parameters</h3><table>"
        for each in parameters:
            needed = " (needed)" if each.get("required") else ""
            name = f"<code>{escape(each['name'])}</code><br>{each['in']}{needed}"
            yield _limit_cells(
                name, self._kind(each.get("schema", {})), _inline_markup(each.get("description", ""))
            )
        yield "</table>"

    def _content(self, title: str, content: Document) -> Iterator[str]:
        for media_type, each in content.items():
            kind = self._kind(each.get("schema", {}))
            yield f"<h3>{title}</h3><p><code>{escape(media_type)}</code>: {kind}</p>"
            examples = [self._resolve(example)["value"] for example in each.get("examples", {}).values()]
            for example in examples or ([each["example"]] if "example" in each else []):
                text = (
                    example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
                )
                yield f"<pre>{escape(text)}</pre>"

    def _row(self, status: str, response: Document) -> str:
        """Return one response: its meaning and its error codes."""
        content = response.get("content", {}).get("application/json", {})
        codes = content.get("examples", {}) if status >= "400" else {}
        listed = ", ".join(f"<code>{escape(code)}</code>" for code in codes)
        return _limit_cells(f"<b>{status}</b>", _inline_markup(response.get("description", "")), listed)

    def _schema(self, name: str, schema: Document) -> Iterator[str]:
        yield f'<details><summary>{escape(name)}</summary><div id="schema-{escape(name)}">'
        yield _paragraphs(schema.get("description", ""))
        needed = schema.get("required", ())
        fields = schema.get("properties", {})
        yield "<table>" if fields else f"<p>{self._kind(schema)}</p>"
        for field, inner in fields.items():
            mark = "" if field in needed else " (optional)"
            yield _limit_cells(
                f"<code>{escape(field)}</code>{mark}",
                self._kind(inner),
                _inline_markup(inner.get("description", "")),
            )
        yield "</table></div></details>" if fields else "</div></details>"

    def _kind(self, schema: Document) -> str:
        """Return the type of a value in words."""
        if reference := schema.get("$ref"):
            name = escape(reference.rpartition("/")[2])
            return f'<a href="#schema-{name}">{name}</a>'
        if options := schema.get("anyOf") or schema.get("oneOf"):
            return " or ".join(map(self._kind, options))
        if values := schema.get("enum") or ([schema["const"]] if "const" in schema else None):
            return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
        kind = escape(str(schema.get("type", "anything")))
        if kind == "array":
            kind = f"list of {self._kind(schema.get('items', {}))}"
        limits = [text.format(schema[name]) for name, text in _LIMITS.items() if name in schema]
        return ", ".join([kind, *limits])

    def _resolve(self, value: Document) -> Document:
        """Return what a reference points to."""
        reference = value.get("$ref")
        if reference is None:
            return value
        _, _, room, name = reference.split("/")
        found: Document = self._components[room][name]
        return found


def _limit_cells(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _paragraphs(text: str) -> str:
    """Return text as HTML paragraphs."""
    return "".join(f"<p>{_inline_markup(each)}</p>" for each in text.strip().split("\n\n") if each)


def _inline_markup(text: str) -> str:
    """Return one paragraph with `code` and **bold** as HTML."""
    plain = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", plain)


def _anchor(tag: str) -> str:
    return escape(f"tag-{tag.replace(' ', '-')}")
