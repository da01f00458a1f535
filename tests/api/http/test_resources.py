"""Responses are built from rows by field names: the rows have all of them, which mypy cannot see."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType

import vvwatch.api
from vvwatch.api.http.wire import Resource


def test_rows_have_the_fields_of_their_responses() -> None:
    """Wherever a function passes a parameter to `Resource.of` whose type is a dataclass."""
    names = [each.name for each in pkgutil.walk_packages(vvwatch.api.__path__, "vvwatch.api.")]
    found = [problem for name in names for problem in list_missing(importlib.import_module(name))]
    assert found == []


def list_missing(module: ModuleType) -> Iterator[str]:
    """Yield `Response(Row): field` for each required field that the row lacks and the call does not pass."""
    for function in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        types = {each.arg: ast.unparse(each.annotation) for each in function.args.args if each.annotation}
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or not ast.unparse(call.func).endswith(".of") or not call.args:
                continue
            response = getattr(module, ast.unparse(call.func).removesuffix(".of"), None)
            row = getattr(module, types.get(ast.unparse(call.args[0]), "").removesuffix(" | None"), None)
            if isinstance(response, type) and issubclass(response, Resource) and is_dataclass(row):
                passed = set().union(*(list_passed(module, keyword) for keyword in call.keywords))
                needed = {name for name, field in response.model_fields.items() if field.is_required()}
                has = set(dir(row)) | set(row.__dataclass_fields__)
                yield from (f"{response.__name__}({row}): {name}" for name in needed - passed - has)


def list_passed(module: ModuleType, keyword: ast.keyword) -> set[str]:
    """The fields that `x=…` or `**{field: … for field, … in TABLE.items()}` passes."""
    if keyword.arg is not None:
        return {keyword.arg}
    if isinstance(keyword.value, ast.Name):  # passed now and then: what is required is passed by itself
        return set()
    assert isinstance(keyword.value, ast.DictComp)
    [loop] = keyword.value.generators
    return set(getattr(module, ast.unparse(loop.iter).removesuffix(".items()")))
