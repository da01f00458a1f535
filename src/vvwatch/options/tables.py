"""The base of all tables of `vvwatch.toml`. Everything is frozen; unknown keys are rejected.

A mandatory field is named in its table's `required` and has an empty default, so that one missing key does not
prevent the check of the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vvwatch.options.fields import as_scalar
from vvwatch.options.findings import did_you_mean
from vvwatch.options.substitution import Substituted

Scope = Literal["import", "export"]
ImportMode = Literal["all", "new_only"]
FactSource = Literal["sidecar", "metadata"]


class Table(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,  # a password may be in it
    )
    required: ClassVar[tuple[str, ...]] = ()
    entries: ClassVar[type[BaseModel] | None] = None
    """The type of further keys, in a table with both options and named tables."""

    @field_validator("*", mode="before")
    @classmethod
    def _convert_substituted(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, Substituted):
            return as_scalar(value, cls.model_fields[str(info.field_name)].annotation)
        return value

    @classmethod
    def table_for(cls, value: Any) -> type[Table]:  # noqa: ARG003  # of those that have one form, no value tells more
        """Return the table type for a document: this one, unless its content says otherwise."""
        return cls

    @classmethod
    def about(cls, stray: str) -> str:
        """Return a hint about the unknown key `stray`."""
        return did_you_mean(stray, cls.model_fields)

    def list_given(self, keys: Iterable[str]) -> list[str]:
        """Return those of `keys` that the table has and that were given."""
        return [key for key in keys if getattr(self, key, None) is not None]


TableKind = type[Table]  # in a table with a field `type` that word means the field


class TypedTable(Table):
    """A table whose key `type` selects its further keys.

    Each family has its own `kinds`: the table of each type.
    """

    required: ClassVar[tuple[str, ...]] = ("type",)
    kinds: ClassVar[dict[str, TableKind]] = {}

    @classmethod
    def table_for(cls, value: Any) -> TableKind:
        """Return the table of the type that a document names."""
        return cls.kinds.get(str(value.get("type", "")), cls) if isinstance(value, Mapping) else cls

    @classmethod
    def about(cls, stray: str) -> str:
        """Return which type has the key, or which key was meant."""
        owners = [f'type = "{name}"' for name, kind in cls.kinds.items() if stray in kind.model_fields]
        return f"it belongs to {', '.join(owners)}" if owners else super().about(stray)

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_type(cls, value: Any, handler: ModelWrapValidatorHandler[TypedTable]) -> Any:
        is_of_a_type = "kinds" not in vars(cls)
        if is_of_a_type or not isinstance(value, Mapping):
            return handler(value)
        kind = cls.table_for(value)
        if kind is not cls:
            return kind.model_validate(value)
        return handler({name: item for name, item in value.items() if name in cls.model_fields})
