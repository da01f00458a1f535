"""Schemas as people write them for prompts, and values that fit what is sent for them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = st.sampled_from(["summary", "people", "mood", "shots", "title", "place"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "integer": st.integers(-5, 5),
    "number": st.integers(-5, 5) | st.floats(-5, 5),
    "boolean": st.booleans(),
    "null": st.none(),
}
RULES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "string": st.fixed_dictionaries(
        {}, optional={"maxLength": st.integers(0, 9), "pattern": st.just("^[a-z]*$"), "description": TEXTS}
    ),
    "integer": st.fixed_dictionaries({}, optional={"minimum": st.integers(-3, 3)}),
    "number": st.fixed_dictionaries({}, optional={"maximum": st.integers(-3, 3)}),
    "boolean": st.just({}),
}


@st.composite
def leaves(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from([*RULES, "enum", "const", "nullable", "reference"]))
    if kind == "enum":
        return {"enum": draw(st.lists(st.sampled_from(["a", "b", "c", 1, None]), min_size=1, unique=True))}
    if kind == "const":
        return {"const": draw(st.sampled_from(["a", 1, True]))}
    if kind == "nullable":
        return {"type": [draw(st.sampled_from(["string", "integer"])), "null"]}
    if kind == "reference":
        return {"$ref": "#/$defs/named"}
    return {"type": kind, **draw(RULES[kind])}


def objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    @st.composite
    def build(draw: st.DrawFn) -> dict[str, Any]:
        properties = draw(st.dictionaries(NAMES, inner, min_size=1, max_size=3))
        required = [name for name in properties if draw(st.booleans())]
        closed = draw(st.sampled_from([{}, {"additionalProperties": False}]))
        return {"type": "object", "properties": properties, "required": required, **closed}

    return build()


def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return (
        objects(inner)
        | inner.map(lambda items: {"type": "array", "items": items})
        | inner.map(lambda one: {"anyOf": [one, {"type": "null"}]})
        | inner.map(lambda one: {"allOf": [one, {"description": "more"}]})
    )


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    whole = draw(objects(st.recursive(leaves(), nested, max_leaves=5)))
    whole["properties"]["named"] = {"$ref": "#/$defs/named"}
    return {**whole, "$defs": {"named": draw(objects(leaves().filter(lambda leaf: "$ref" not in leaf)))}}


def instances(root: dict[str, Any], schema: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """Values that fit a wire schema."""
    part = root if schema is None else schema
    if "$ref" in part:
        return instances(root, root["$defs"][part["$ref"].rpartition("/")[2]])
    if "anyOf" in part:
        return st.one_of([instances(root, each) for each in part["anyOf"]])
    if "enum" in part:
        return st.sampled_from(part["enum"])
    types = part.get("type", ["null", "string"])
    return st.one_of([_of_type(root, part, each) for each in ([types] if isinstance(types, str) else types)])


def _of_type(root: dict[str, Any], part: dict[str, Any], kind: str) -> st.SearchStrategy[Any]:
    if kind == "object":
        inner = {name: instances(root, each) for name, each in part["properties"].items()}
        return st.fixed_dictionaries(inner)
    if kind == "array":
        return st.lists(instances(root, part["items"]), max_size=2)
    return LEAVES[kind]
