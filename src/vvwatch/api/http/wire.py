"""What all resources share on the wire: base models, JSON documents, names and timestamps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from vvwatch.core.events import to_iso as iso
from vvwatch.options.bodies import Body, Visible

__all__ = [
    "USER_ID",
    "Body",
    "Document",
    "Marker",
    "Resource",
    "SegmentTranscript",
    "ShortDocument",
    "Visible",
    "to_iso",
]

USER_ID: Final = "user_local"
"""The owner of everything: a self-hosted installation has one account."""

_MAX_DEPTH: Final = 64
_MAX_SHORT_CHARACTERS: Final = 16_384


class Resource(BaseModel):
    """A resource in a response. Every field is always present; what does not apply is null."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def of(cls, row: object, **others: Any) -> Self:
        """Return the resource of `row`: `others`, and for the other required fields the row's attributes of that name.

        Attributes that end in `_at` are epoch seconds and become ISO-8601.
        """
        plain, moments = _required_names(cls)
        own = {name: getattr(row, name) for name in plain if name not in others}
        at = {name: to_iso(getattr(row, name)) for name in moments if name not in others}
        return cls(**others, **own, **at)


@cache
def _required_names(kind: type[Resource]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the names of the required fields, those of moments apart: asking pydantic costs more than the rest."""
    names = [name for name, field in kind.model_fields.items() if field.is_required()]
    moments = [name for name in names if name.endswith("_at")]
    return [name for name in names if name not in moments], moments


class Marker(Resource):
    """A colour and a note that clients may attach; always empty here."""

    marker_id: str | None = None
    color: str | None = None
    note: str | None = None
    updated_at: str | None = None


class SpokenWord(Resource):
    """A word and when it is said."""

    text: str
    start_time: float
    end_time: float


class SegmentTranscript(Resource):
    """What is said in a segment, by the cues whose middle is in it; an extension of this server.

    `source` is where the transcript comes from: `embedded`, `sidecar`, `endpoint` or `speech`. `words` is empty where
    the source has no times of words.
    """

    text: str
    language: str | None
    source: str
    words: list[SpokenWord]


def _check_document(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse documents that could be stored but never returned."""
    if _is_too_deep(value):
        raise PydanticCustomError("document", "may have {most} levels", {"most": _MAX_DEPTH})
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise PydanticCustomError("document", "numbers must be finite and strings valid Unicode") from None
    return value


def _is_too_deep(value: Any) -> bool:
    levels, level = 0, [value]
    while level:
        levels += 1
        if levels > _MAX_DEPTH:
            return True
        level = [inner for outer in level for inner in _children(outer)]
    return False


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


Document = Annotated[dict[str, Any], AfterValidator(_check_document)]
"""Free JSON that is stored and returned unchanged."""


def _check_length(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value, ensure_ascii=False)) > _MAX_SHORT_CHARACTERS:
        most = f"{_MAX_SHORT_CHARACTERS:,}"
        raise PydanticCustomError("document", "may have {most} characters", {"most": most})
    return value


ShortDocument = Annotated[Document, AfterValidator(_check_length)]
"""A document that is repeated in many responses or in every event."""


def to_iso(at: float | None) -> str | None:
    """Return epoch seconds as ISO-8601 in UTC; None stays None."""
    return None if at is None else iso(at)
