"""How a model is asked for JSON: the strictest form that its endpoint takes, found once and remembered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from vvwatch.processors.openai.troubles import Kind, Trouble
from vvwatch.processors.openai.wire_schema import WireSchemas, build_wire_schemas

_MOST_SHAPES: Final = 200
_OPTIONAL: Final = ("temperature",)


class Rung(IntEnum):
    """The forms of asking for JSON, the strictest first."""

    STRICT = 0
    LOOSE = 1
    OBJECT = 2
    TEXT = 3


class Shape:
    """One schema as it is sent, and the rung at which the endpoint takes it."""

    def __init__(self, schema: Mapping[str, Any], name: str) -> None:
        self.schema = schema
        self.name = name
        self.text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
        self._wire: WireSchemas = build_wire_schemas(schema)
        self.rung = Rung.TEXT
        self.rung = next(rung for rung in Rung if self._is_possible(rung))

    def step_down(self, rung: Rung) -> bool:
        """Step down from a refused rung, unless another call already did; return False if there is none below."""
        if rung is Rung.TEXT:
            return False
        if rung >= self.rung:
            self.rung = next(each for each in Rung if each > rung and self._is_possible(each))
        return True

    def response_format(self, rung: Rung) -> dict[str, Any] | None:
        """Return the parameter that asks for JSON; None if only words do."""
        if rung is Rung.TEXT:
            return None
        if rung is Rung.OBJECT:
            return {"type": "json_object"}
        wire = self._wire.strict if rung is Rung.STRICT else self._wire.loose
        wanted = {"name": self.name, "strict": rung is Rung.STRICT, "schema": wire}
        return {"type": "json_schema", "json_schema": wanted}

    def _is_possible(self, rung: Rung) -> bool:
        return {Rung.STRICT: self._wire.strict, Rung.LOOSE: self._wire.loose}.get(rung, {}) is not None


@dataclass(slots=True)
class Dialect:
    """Knowledge of one model behind one endpoint: learned from its refusals, lost at a restart."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    limit_name: str = "max_tokens"
    context_tokens: int | None = None
    most_frames: int | None = None

    def shape(self, schema: Mapping[str, Any], name: str) -> Shape:
        """Return the shape of a schema; equal schemas share one."""
        text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        if digest not in self.shapes:
            if len(self.shapes) >= _MOST_SHAPES:
                self.shapes.pop(next(iter(self.shapes)))
            self.shapes[digest] = Shape(schema, name)
        return self.shapes[digest]

    def parameters(self, most_tokens: int) -> dict[str, Any]:
        """Return the parameters beside the messages."""
        given = {"temperature": 0, self.limit_name: most_tokens}
        return {name: value for name, value in given.items() if name not in self.left_out}

    def learn(self, trouble: Trouble, sent: Mapping[str, Any]) -> bool:
        """Adapt to a refused parameter; return whether the next request differs from the one `sent`."""
        if trouble.kind is not Kind.PARAMETER:
            return False
        if "max_tokens" in trouble.message and "max_tokens" in sent:
            self.limit_name = "max_completion_tokens"
            return True
        refused = [name for name in _OPTIONAL if name in trouble.message and name in sent]
        self.left_out |= set(refused)
        return bool(refused)
