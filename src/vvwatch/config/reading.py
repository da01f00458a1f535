"""Validate a document against the models: all problems at once, and settings as complete as possible."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from vvwatch.config.models import Settings
from vvwatch.config.words import describe_error, names_of
from vvwatch.options.findings import Finding, Loc, did_you_mean, find_closest, join_names
from vvwatch.options.secrets import secret_keys
from vvwatch.options.tables import Table


def validate(document: dict[str, Any]) -> tuple[Settings, list[Finding]]:
    """Return the settings, with defaults for wrong values, and the findings.

    The settings equal the document only without findings.
    """
    document = deepcopy(document)
    findings = list(_find_missing(document, Settings, ()))
    # A list or table that loses an item may break a rule of its own, so look again until all is well.
    while True:
        try:
            return Settings.model_validate(document), findings
        except ValidationError as error:
            details = error.errors(include_url=False)
        findings += [
            _to_finding(detail, document) for detail in details if not _is_consequence(detail, details)
        ]
        for detail in details:
            _remove_value(document, _owner_key(detail["loc"]))


def table_at(loc: Loc, document: Any = None) -> type[Table] | None:
    """Return the model of the table at `loc` of `document`, None without one."""
    kind: Any = Settings
    value = document
    for step in loc:
        kind = _step_into(_table_type(kind, value) or kind, step)
        value = value.get(step) if isinstance(value, dict) else None
    return _table_type(kind, value)


def _step_into(kind: Any, step: str | int) -> Any:
    """Return the type at a key of a table, or of a dictionary of tables."""
    if not (isinstance(kind, type) and issubclass(kind, Table)):
        return next(iter(get_args(kind)[1:]), None)
    field = kind.model_fields.get(str(step))
    return kind.entries if field is None else field.annotation


def _table_type(kind: Any, value: Any) -> type[Table] | None:
    """Return the table type for `value`: `kind` itself, or the table of an optional one."""
    candidates = get_args(kind) if type(None) in get_args(kind) else (kind,)
    models = [each for each in candidates if isinstance(each, type) and issubclass(each, Table)]
    return models[0].table_for(value) if models else None


def _find_missing(value: Any, kind: Any, loc: Loc) -> Iterator[Finding]:
    """Yield the missing keys of present tables."""
    if not isinstance(value, dict):
        return
    model = _table_type(kind, value)
    for name in model.required if model else ():
        if name not in value:
            yield Finding(
                (*loc, name), "is required", _list_choices(model, name), _suggest_spelling(name, value, model)
            )
    for key, item in value.items():
        yield from _find_missing(item, _step_into(model or kind, key), (*loc, key))


def _list_choices(model: type[Table] | None, name: str) -> str:
    """Return the allowed words of a field, if they are few."""
    kind = model.model_fields[name].annotation if model else None
    return ", ".join(get_args(kind)) if get_origin(kind) is Literal else ""


def _suggest_spelling(name: str, value: dict[str, Any], model: type[Table] | None) -> str:
    unknown = [key for key in value if model is not None and key not in model.model_fields]
    close = find_closest(name, unknown)
    return f"is {close!r} meant to be it?" if close else ""


def _is_consequence(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Return whether an inner value is wrong, so that the outer one may be right after a fix."""
    loc = detail["loc"]
    return any(len(each["loc"]) > len(loc) and each["loc"][: len(loc)] == loc for each in details)


def _to_finding(detail: ErrorDetails, document: Any) -> Finding:
    kind, loc, context = detail["type"], detail["loc"], detail.get("ctx", {})
    if kind == "refused":
        return Finding(loc, context["what"], context["allowed"], context["hint"])
    if kind == "extra_forbidden" or _is_stray_key(kind, loc):
        return _report_unknown_key(loc, document)
    if kind == "literal_error":
        return _report_unknown_word(loc, detail["input"], context["expected"])
    if loc[-1] == "pattern" and isinstance(detail["input"], list):
        return Finding(loc, "must be one glob, not a list", hint=_as_one(detail["input"]))
    return Finding(loc, *describe_error(detail))


def _as_one(items: list[Any]) -> str:
    """Return the glob that equals a list of globs."""
    endings = [str(item).removeprefix("*.") for item in items]
    if not items or not all(isinstance(item, str) for item in items):
        return ""
    same = all(item.startswith("*.") for item in items)
    return f'write "*.{{{",".join(endings)}}}"' if same else f'write "{{{",".join(items)}}}"'


def _is_stray_key(kind: str, loc: Loc) -> bool:
    """Return whether a plain value is among the tables of a section that also has options."""
    model = table_at(loc[:-1])
    return kind == "model_type" and model is not None and str(loc[-1]) not in model.model_fields


def _report_unknown_key(loc: Loc, document: Any) -> Finding:
    model = table_at(loc[:-1], document)
    if model is None:
        return Finding(loc, "is not a known key")
    in_file, in_variable = secret_keys(str(loc[-1]))
    if in_file in model.model_fields and in_variable in model.model_fields:
        hint = f"write it to a file and name it with {in_file}"
        return Finding(loc, "is a secret, which must not be in this file", hint=hint)
    return Finding(loc, "is not a known key", join_names(model.model_fields), model.about(str(loc[-1])))


def _report_unknown_word(loc: Loc, word: object, expected: str) -> Finding:
    names = names_of(expected)
    return Finding(loc, f"{word!r} is not one of them", ", ".join(names), did_you_mean(str(word), names))


def _owner_key(loc: Loc) -> Loc:
    """Return the key that holds `loc`, if that is a list item."""
    positions = [place for place, step in enumerate(loc) if isinstance(step, int)]
    return loc[: positions[0]] if positions else loc


def _remove_value(document: dict[str, Any], loc: Loc) -> None:
    """Remove the last existing key on the path `loc`."""
    table: Any = document
    for step in loc[:-1]:
        if not isinstance(table.get(step), dict):
            table.pop(step, None)
            return
        table = table[step]
    table.pop(loc[-1], None)
