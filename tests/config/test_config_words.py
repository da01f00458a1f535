"""No wrong value, in a file or in a body of the API, is answered with a sentence of the library that checks it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import core_schema

import vvwatch.api.app  # noqa: F401  # which imports all bodies
from vvwatch.config.words import describe_error
from vvwatch.options.bodies import Body
from vvwatch.options.tables import Table
from vvwatch.providers.registry import PROVIDERS

LIBRARY = frozenset(get_args(core_schema.ErrorType))
WRONG: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, float("nan"), float("inf"), b"\xff"),
    *("", "x", "x" * 5000, "\0", "\ud800", "2026-99-99"),
    *([], ["x"], [None], [1, {}], ["x"] * 1001, {}, {"x": 1}, {"type": "zzz"}, {1: 2}),
)


def all_models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in base.__subclasses__():
        yield each
        yield from all_models(each)


def wrong_answers(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """What the library says of wrong values of each field."""
    for name in model.model_fields:
        for value in WRONG:
            try:
                model.model_validate({name: value})
            except ValidationError as error:
                yield from ((name, detail) for detail in error.errors(include_url=False))


@pytest.mark.parametrize("base", [Body, Table])
def test_wrong_values_are_told_in_our_words(base: type[BaseModel]) -> None:
    for provider in PROVIDERS.values():
        if provider.bodies is not None:
            provider.bodies()
    models = list(all_models(base))
    assert len(models) > 20
    raw = {
        (detail["type"], model.__name__, name)
        for model in models
        for name, detail in wrong_answers(model)
        if detail["type"] in LIBRARY and describe_error(detail)[0] == detail["msg"]
    }
    assert raw == set()


def test_only_uploads_raise_a_plain_value_error() -> None:
    """Its words are those of a missing file, so a validator of ours must not raise one."""
    found = {
        detail["msg"]
        for base in (Body, Table)
        for model in all_models(base)
        for _, detail in wrong_answers(model)
        if detail["type"] == "value_error"
    }
    assert found
    assert all("Expected UploadFile" in each for each in found)
