"""Request bodies of searches."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from vvwatch.api.http.wire import Body
from vvwatch.core.conditions import MOST_CONDITIONS, Condition, check_condition
from vvwatch.errors import InvalidInput
from vvwatch.store.runs.search_queries import Level

_LONGEST_VALUE: Final = 1_000

FieldType = Literal["string", "integer", "number", "boolean", "array"]
Id = Annotated[str, Field(min_length=1, max_length=200)]
Ids = Annotated[list[Id], Field(max_length=100)]


class FilterCondition(Body):
    """A condition on a metadata field; dots in `field` lead into nested objects."""

    field: Annotated[str, Field(min_length=1, max_length=200)]
    operator: str
    type: FieldType
    value: Any = None

    @model_validator(mode="after")
    def _possible(self) -> FilterCondition:
        try:
            too_long = len(json.dumps(self.value, allow_nan=False)) > _LONGEST_VALUE
            self.to_condition()
        except InvalidInput as error:
            raise PydanticCustomError(
                "condition", "{said}", {"said": error.message, "hint": error.hint}
            ) from None
        except ValueError:
            raise PydanticCustomError("condition", "numbers must be finite") from None
        if too_long:
            raise PydanticCustomError("condition", "the value is too long")
        return self

    def to_condition(self) -> Condition:
        """Return the condition. Raises InvalidInput."""
        return check_condition(self.field, self.operator, self.type, self.value)


class WorkflowCondition(FilterCondition):
    """A condition on a metadata field. Without a `type`, each value keeps its own."""

    operator: str = "equals"
    type: FieldType | None = None  # type: ignore[assignment]  # a wider type, which `check` accepts too


Conditions = Annotated[list[FilterCondition], Field(min_length=1, max_length=MOST_CONDITIONS)]
"""Conditions that must all hold."""


class FilterBody(Body):
    """A search of segments; `index_ids` replaces the index in the path."""

    conditions: Conditions
    page_size: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: Annotated[str, Field(max_length=8192)] | None = None
    run_ids: Ids = Field(default_factory=list)
    index_ids: Ids = Field(default_factory=list)


class SearchBody(Body):
    """A search by `filters`, or by a `query`, which needs a model."""

    query: Annotated[str, Field(max_length=5000)] | None = None
    filters: Annotated[list[WorkflowCondition], Field(min_length=1, max_length=MOST_CONDITIONS)] | None = None
    result_level: Level = "segment"
    video_ids: Id | Ids = Field(default_factory=list)
    prompt_run_ids: Id | Ids = Field(default_factory=list)
    index_id: Id | None = None
    index_name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    limit: Annotated[int, Field(ge=1, le=50)] = 10

    @model_validator(mode="after")
    def _one_of_them(self) -> SearchBody:
        if bool((self.query or "").strip()) == bool(self.filters):
            raise PydanticCustomError("search", "give either query or filters")
        if self.index_id and self.index_name:
            raise PydanticCustomError("search", "give either index_id or index_name")
        return self
