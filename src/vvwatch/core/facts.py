"""What a team knows about a file: read from a sidecar (JSON or XMP) and from object metadata, bounded and cleaned."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn
from xml.parsers import expat

from vvwatch.core.objects import base_name
from vvwatch.errors import InvalidInput

SIDECAR_SUFFIXES: Final = (".json", ".xmp")
MOST_SIDECAR_BYTES: Final = 1 << 20
"""Of a sidecar that is read."""

MOST_BYTES: Final = 64 << 10
"""Of what is kept of one file, as JSON."""

_MOST_DEPTH: Final = 10
_MOST_NAMES: Final = 100
_LONGEST_TEXT: Final = 4_096
_MOST_XML_DEPTH: Final = 50
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PREFIXES: Final[Mapping[str, str]] = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://ns.adobe.com/xmp/1.0/DynamicMedia/": "xmpDM",
}
_CONTAINERS: Final = frozenset(f"{_RDF} {name}" for name in ("Bag", "Seq", "Alt"))


def describe_wanted(path_fields: str | None, sources: Sequence[str]) -> dict[str, Any] | None:
    """Return what an automation wants to know about each file, as it is stored; None for nothing."""
    if path_fields is None and not sources:
        return None
    return {"path": path_fields, "sources": list(dict.fromkeys(sources))}


def wants_sidecar(wanted: Mapping[str, Any] | None) -> bool:
    """Return whether sidecars are among what an automation wants to know."""
    return wanted is not None and "sidecar" in wanted["sources"]


def is_fact_sidecar(key: str) -> bool:
    """Return whether the name is that of a sidecar."""
    name = base_name(key)
    return name.lower().endswith(SIDECAR_SUFFIXES) and name.rpartition(".")[0] != ""


def name_sidecars(key: str) -> list[str]:
    """Return the keys of the sidecars that a file may have: its own without the extension, and `.json` or `.xmp`."""
    name = base_name(key)
    stem = name.rpartition(".")[0] or name
    folder = key[: len(key) - len(name)]
    found = [folder + stem + suffix for suffix in SIDECAR_SUFFIXES]
    return [each for each in found if each != key]


def read_sidecar(key: str, data: bytes) -> dict[str, Any]:
    """Return what the sidecar says. Raises InvalidInput, which says what is wrong with it."""
    if len(data) > MOST_SIDECAR_BYTES:
        raise InvalidInput(f"it is larger than {MOST_SIDECAR_BYTES >> 20} MiB")
    found = _read_json(data) if key.lower().endswith(".json") else _read_xmp(data)
    return clean(found)


def clean(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without control characters, long texts cut. Raises InvalidInput for too many or too deep."""
    if _depth(found) > _MOST_DEPTH:
        raise InvalidInput(f"it is nested deeper than {_MOST_DEPTH} levels")
    cleaned: dict[str, Any] = _clean(dict(found))
    if len(json.dumps(cleaned)) > MOST_BYTES:
        raise InvalidInput(f"it says more than {MOST_BYTES >> 10} KiB")
    return cleaned


def clean_texts(found: Mapping[str, str]) -> dict[str, str]:
    """Return object metadata or tags, the first names in order, cleaned."""
    return {_clean(name): _clean(found[name]) for name in sorted(found)[:_MOST_NAMES]}


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level and depth <= _MOST_DEPTH:
        depth += 1
        level = [
            item
            for each in level
            if isinstance(each, dict | list)
            for item in (each.values() if isinstance(each, dict) else each)
        ]
    return depth


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _CONTROLS.sub("", value)[:_LONGEST_TEXT].encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_clean(str(name)): _clean(each) for name, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list) else value


def _read_json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data, parse_constant=_refuse_constant, parse_float=_read_float)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"it is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidInput("it is JSON, but no object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _read_float(text: str) -> float:
    """Return the number. Raises ValueError for one that is infinite here, such as 1e999: no document could hold it."""
    number = float(text)
    return number if math.isfinite(number) else _refuse_constant(text[:20])


def _read_xmp(data: bytes) -> dict[str, Any]:
    reader = _XmpReader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True  # else each line is a call
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(data, True)  # it takes no keyword
    except expat.ExpatError as error:
        raise InvalidInput(f"it is not XML: {error}") from None
    return reader.found


def _refuse_doctype(*_: object) -> None:
    raise InvalidInput("it declares a document type, which no XMP does")


class _XmpReader:
    """Collects simple values of Dublin Core and Dynamic Media from the descriptions of a packet: texts, and lists."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._path: list[str] = []
        self._text = ""
        self._items: list[str] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._path.append(name)
        self._text = ""
        if len(self._path) > _MOST_XML_DEPTH:
            raise InvalidInput(f"it is nested deeper than {_MOST_XML_DEPTH} levels")
        if name == f"{_RDF} Description" and self._parent() == f"{_RDF} RDF":
            for each, value in attributes.items():
                self._keep(each, value)
        elif self._property() == name:
            self._items = []

    def end(self, name: str) -> None:
        depth_of_property = self._property() is not None and self._place()
        if name == f"{_RDF} li" and self._parent() in _CONTAINERS and depth_of_property:
            self._items += [self._text.strip()] if self._text.strip() else []
        elif name == self._property() and self._parent() == f"{_RDF} Description":
            self._keep(name, self._items or self._text.strip())
        self._path.pop()
        self._text = ""

    def text(self, data: str) -> None:
        self._text += data

    def _parent(self) -> str | None:
        return self._path[-2] if len(self._path) > 1 else None

    def _description(self) -> int | None:
        """Return how deep the outer description is."""
        name = f"{_RDF} Description"
        at = self._path.index(name) if name in self._path else -1
        return at if at > 0 and self._path[at - 1] == f"{_RDF} RDF" else None

    def _property(self) -> str | None:
        """Return the property of the outer description that is being read."""
        at = self._description()
        return self._path[at + 1] if at is not None and len(self._path) > at + 1 else None

    def _place(self) -> bool:
        """Return whether a list directly in the property is being read: deeper ones are no simple values."""
        at = self._description()
        return at is not None and len(self._path) == at + 4

    def _keep(self, name: str, value: str | list[str]) -> None:
        space, _, short = name.rpartition(" ")
        prefix = _PREFIXES.get(space)
        if prefix is None or not value:
            return
        one = isinstance(value, list) and len(value) == 1 and short in ("title", "description", "rights")
        self.found[f"{prefix}:{short}"] = value[0] if one else value
