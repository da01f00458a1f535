"""The JSON Schema that is sent to an endpoint: the prompt's own, in keywords that endpoints understand.

The strict form keeps to what all enforcing endpoints take: every property is required (an optional one may be null),
objects are closed, and few keywords are used. The loose form stays closer to the original. Both put unsupported
keywords into the description, where the model reads them. No property is lost. Answers are validated against the
original.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vvwatch.processors.openai.flattening import flatten_schema
from vvwatch.processors.references import Schema, find_target, get_reference

_DEEPEST: Final = 64
_MOST_PARTS: Final = 20_000
_LONGEST_RULE: Final = 200
_LONGEST_DESCRIPTION: Final = 2000
_NULL: Final = {"type": "null"}
_NEVER: Final = {"type": "null", "description": "leave this null"}
_LOOSE_RULES: Final = ("minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength")
_ANNOTATIONS: Final = ("description", "title", "default", "examples", "deprecated", "readOnly", "writeOnly")
_SPOKEN: Final = (
    *_LOOSE_RULES,
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "pattern",
    "format",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "patternProperties",
    "dependentRequired",
    "not",
    "default",
    "examples",
)
"""Keywords put into words if they cannot be sent."""
_TYPES: Final[Mapping[type, str]] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
    dict: "object",
    list: "array",
}
_CLASSES: Final = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \\t\\n\\r"}
_PIECE: Final = re.compile(r"\\(.)|([\[\]])|.", re.DOTALL)
_FOREIGN: Final = frozenset("bBDWSpPkAZzGux0123456789")


@dataclass(frozen=True, slots=True)
class WireSchemas:
    """What to send for one schema; None for a form that would lose something or grow too large."""

    strict: dict[str, Any] | None
    loose: dict[str, Any] | None


class _NotExpressible(Exception):
    """The schema needs something that this form cannot express."""


def build_wire_schemas(schema: Schema) -> WireSchemas:
    """Return both forms of a prompt's schema."""
    return WireSchemas(_write_schema(schema, is_strict=True), _write_schema(schema, is_strict=False))


def _write_schema(schema: Schema, *, is_strict: bool) -> dict[str, Any] | None:
    try:
        return _Writer(schema, is_strict=is_strict).whole()
    except (_NotExpressible, RecursionError):
        return None


class _Writer:
    def __init__(self, root: Schema, *, is_strict: bool) -> None:
        self._root = root
        self._is_strict = is_strict
        self._names: dict[str, str] = {}
        self._parts = 0

    def whole(self) -> dict[str, Any]:
        written = self.part(self._root, 0)
        definitions: dict[str, Any] = {}
        while missing := [each for each in self._names if self._names[each] not in definitions]:
            for reference in missing:
                definitions[self._names[reference]] = self.part(find_target(self._root, reference), 1)
        return {**written, **({"$defs": definitions} if definitions else {})}

    def part(self, schema: Any, depth: int) -> dict[str, Any]:
        self._parts += 1
        if depth > _DEEPEST or self._parts > _MOST_PARTS:
            raise _NotExpressible
        if schema is False:
            return dict(_NEVER)
        if not isinstance(schema, Mapping):
            return {}
        reference = get_reference(schema)
        if reference is not None and not _has_rules(schema):
            return self._reference(reference, schema.get("description"))
        whole = flatten_schema(self._root, schema)
        word = next((each for each in ("anyOf", "oneOf") if whole.get(each)), None)
        return self._choice(whole, word, depth) if word else self._plain(whole, depth)

    def _reference(self, reference: str, description: Any) -> dict[str, Any]:
        if reference not in self._names:
            stem = re.sub(r"\W", "_", reference.rpartition("/")[2], flags=re.ASCII).strip("_")[:40] or "root"
            taken = set(self._names.values())
            numbered = (f"{stem}_{number}" if number else stem for number in range(len(taken) + 1))
            self._names[reference] = next(name for name in numbered if name not in taken)
        link = {"$ref": f"#/$defs/{self._names[reference]}"}
        return {"anyOf": [link], "description": description} if isinstance(description, str) else link

    def _choice(self, whole: Schema, word: str, depth: int) -> dict[str, Any]:
        """Return each branch with the keywords beside the choice, so that a closed object has all its properties."""
        branches = whole[word]
        beside = {name: rule for name, rule in whole.items() if name not in {word, *_ANNOTATIONS}}
        if beside:
            branches = [{**beside, "allOf": [each]} for each in branches if each is not False]
        written = [self.part(each, depth + 1) for each in branches]
        return _add_description({"anyOf": written}, whole.get("description"), ())

    def _plain(self, whole: Schema, depth: int) -> dict[str, Any]:
        types = _type_names(whole)
        written: dict[str, Any] = {}
        if types:
            written["type"] = types[0] if len(types) == 1 else list(types)
        if "const" in whole or "enum" in whole:
            written["enum"] = [whole["const"]] if "const" in whole else list(whole["enum"])
        if "object" in types:
            written |= self._object(whole, depth)
        if "array" in types:
            written |= self._array(whole, depth)
        if not self._is_strict:
            written |= _collect_rules(whole)
        spoken = [word for word in _SPOKEN if word in whole and word not in written]
        return _add_description(written, whole.get("description"), [(word, whole[word]) for word in spoken])

    def _object(self, whole: Schema, depth: int) -> dict[str, Any]:
        properties = _mapping_or_empty(whole.get("properties"))
        required = [name for name in whole.get("required", ()) if isinstance(name, str)]
        properties = {**properties, **{name: {} for name in required if name not in properties}}
        if not self._is_strict:
            return self._open_object(whole, properties, required, depth)
        if _is_map(whole, properties):
            raise _NotExpressible
        written = {name: self.part(inner, depth + 1) for name, inner in properties.items()}
        for name in properties.keys() - set(required):
            written[name] = _or_null(written[name])
        return {"properties": written, "required": list(properties), "additionalProperties": False}

    def _open_object(
        self, whole: Schema, properties: Schema, required: Sequence[str], depth: int
    ) -> dict[str, Any]:
        written: dict[str, Any] = {}
        if properties:
            written["properties"] = {name: self.part(inner, depth + 1) for name, inner in properties.items()}
        if required:
            written["required"] = list(required)
        others = whole.get("additionalProperties", whole.get("unevaluatedProperties"))
        if others is False and not whole.get("patternProperties"):
            written["additionalProperties"] = False
        elif isinstance(others, Mapping) and not whole.get("patternProperties"):
            written["additionalProperties"] = self.part(others, depth + 1)
        return written

    def _array(self, whole: Schema, depth: int) -> dict[str, Any]:
        first = [each for each in whole.get("prefixItems", ()) if each is not False]
        rest = whole.get("items", whole.get("unevaluatedItems", {}))
        kinds = first + ([] if first and rest is False else [rest])
        written = [self.part(each, depth + 1) for each in kinds]
        return {"items": written[0] if len(written) == 1 else {"anyOf": written}}


def _has_rules(schema: Schema) -> bool:
    """Return whether keywords beside a reference restrict the value further."""
    silent = {
        "$ref",
        "$dynamicRef",
        "description",
        "title",
        "$defs",
        "definitions",
        "$comment",
        "$schema",
        "$id",
    }
    return bool(schema.keys() - silent)


def _is_map(whole: Schema, properties: Schema) -> bool:
    """Return whether the object may have names that cannot be listed."""
    others = whole.get("additionalProperties", whole.get("unevaluatedProperties"))
    if whole.get("patternProperties") or (isinstance(others, Mapping) and others):
        return True
    return not properties and others is not False


def _type_names(whole: Schema) -> tuple[str, ...]:
    said = whole.get("type")
    if isinstance(said, str):
        return (said,)
    if isinstance(said, list):
        return tuple(each for each in said if isinstance(each, str))
    values = [whole["const"]] if "const" in whole else whole.get("enum")
    if isinstance(values, list):
        return tuple(dict.fromkeys(_TYPES[type(each)] for each in values if type(each) in _TYPES))
    if whole.keys() & {"properties", "required", "additionalProperties", "patternProperties"}:
        return ("object",)
    return ("array",) if whole.keys() & {"items", "prefixItems"} else ()


def _collect_rules(whole: Schema) -> dict[str, Any]:
    rules = {word: whole[word] for word in _LOOSE_RULES if word in whole}
    pattern = _portable_pattern(whole["pattern"]) if isinstance(whole.get("pattern"), str) else None
    return rules if pattern is None else {**rules, "pattern": pattern}


def _portable_pattern(pattern: str) -> str | None:
    r"""Return the pattern with `\d`, `\w` and `\s` written out; None if a small dialect cannot express it.

    That includes patterns without anchors: they match anywhere, but small dialects match the whole.
    """
    if "(?" in pattern or not (pattern.startswith("^") and pattern.endswith("$")):
        return None
    written, is_inside = [], False
    for piece in _PIECE.finditer(pattern):
        escaped, bracket = piece[1], piece[2]
        if escaped in _FOREIGN:
            return None
        if escaped in _CLASSES:
            written.append(_CLASSES[escaped] if is_inside else f"[{_CLASSES[escaped]}]")
            continue
        is_inside = bracket == "[" or (is_inside and bracket != "]")
        written.append(piece[0])
    return "".join(written)


def _or_null(written: dict[str, Any]) -> dict[str, Any]:
    """Allow null for an optional value: an endpoint that enforces a schema requires all properties."""
    types = written.get("type")
    if not written or types == "null" or (isinstance(types, list) and "null" in types):
        return written
    if types is None and isinstance(written.get("anyOf"), list):
        return {**written, "anyOf": [*written["anyOf"], _NULL]}
    if types is None:
        return {"anyOf": [written, _NULL]}
    values = {"enum": [*written["enum"], None]} if "enum" in written else {}
    return {**written, "type": [*([types] if isinstance(types, str) else types), "null"], **values}


def _add_description(written: dict[str, Any], said: Any, rules: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    notes = "; ".join(
        f"{word}: {json.dumps(rule, ensure_ascii=False)[:_LONGEST_RULE]}" for word, rule in rules
    )
    words = [said] if isinstance(said, str) and said else []
    words += [f"({notes})"] if notes else []
    return {**written, "description": " ".join(words)[:_LONGEST_DESCRIPTION]} if words else written


def _mapping_or_empty(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
