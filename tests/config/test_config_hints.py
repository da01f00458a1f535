"""Whatever the program says of `[table] option` names a table and an option that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import vvwatch
from vvwatch.config.models import Settings
from vvwatch.config.prompts import PromptPreset
from vvwatch.options.tables import Table

SOURCE = Path(vvwatch.__file__).parent
TABLE = re.compile(r"\[([a-z]+(?:\.[^\]\s]+)?)\]")
OPTION = re.compile(r"(?<![\w./-])[a-z]+(?:_[a-z]+)+(?![\w(/-])|(?<=\] )[a-z]+(?= =)")
SECTIONS = set(Settings.model_fields)
NO_OPTIONS = {"model_not_configured"}


def texts(path: Path) -> Iterator[str]:
    """The texts of a module but its docstrings; what is put in stands as NAME."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, documented)]
    docstrings = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "NAME" for part in node.values)  # type: ignore[misc]
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings | inside
        ):
            yield node.value


def models(annotation: Any) -> set[type[Table]]:
    """The tables that a field holds, of every type."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return {annotation, *vars(annotation).get("kinds", {}).values()}
    return set().union(*map(models, get_args(annotation)))


def tables_of(name: str) -> set[type[Table]]:
    """The tables that `section` or `section.NAME.key` may be; none when there is no such."""
    section, *steps = name.replace('"', "").split(".")
    found = models(Settings.model_fields[section].annotation)
    if steps and _is_named(section):
        steps = steps[1:]
    for step in steps:
        fields = [kind.model_fields[step] for kind in found if step in kind.model_fields]
        found = set().union(*(models(field.annotation) for field in fields)) if step != "NAME" else found
    return found


def _is_named(section: str) -> bool:
    """Whether the section's tables have names of the user's."""
    annotation = Settings.model_fields[section].annotation
    return bool(get_args(annotation)) or section == "webhooks"


@cache
def named() -> list[tuple[str, str, str]]:
    """The tables that messages name: file, table, and the message."""
    found = {
        (str(path.relative_to(SOURCE)), table, text)
        for path in SOURCE.rglob("*.py")
        for text in texts(path)
        for table in TABLE.findall(text)
    }
    return sorted(each for each in found if each[1].partition(".")[0] in SECTIONS)


def unknown(table: str, text: str) -> list[str]:
    """What the message names beside the table, and no table has."""
    found = tables_of(table)
    fields = {field for kind in found for field in kind.model_fields}
    known = fields | SECTIONS | set(PromptPreset.model_fields) | NO_OPTIONS
    return sorted(set(OPTION.findall(text)) - known) if found else [f"[{table}]"]


def test_a_table_that_a_message_names_exists_with_the_options_that_are_named_beside_it() -> None:
    wrong = [(file, names, text) for file, table, text in named() if (names := unknown(table, text))]
    assert wrong == []


def test_messages_name_tables_and_options() -> None:
    """So that the test above looks at something."""
    found = named()
    assert len(found) > 20
    assert {"processing", "webhooks", "api"} <= {table for _, table, _ in found}
    assert any("memory_bytes" in OPTION.findall(text) for _, _, text in found)
