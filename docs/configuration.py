"""Write `docs/configuration.md` from the configuration's models and `config/vvwatch.toml`: `--write` saves the page.

Types, bounds and defaults come from the models; what an option means is the comment above it in the annotated file.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from vvwatch.config import Settings
from vvwatch.config.connectors import CloudConnector, Connector
from vvwatch.config.outgoing import EventType
from vvwatch.config.processors import ModelName, PaidProcessor, ProcessorTable, UpstreamId
from vvwatch.config.reading import table_at
from vvwatch.options import fields
from vvwatch.options.tables import Table

PAGE: Final = Path(__file__).parent / "configuration.md"
ANNOTATED: Final = Path(__file__).parents[1] / "config" / "vvwatch.toml"
BEGIN: Final = "<!-- options -->\n"
END: Final = "<!-- end of options -->"

_KEY: Final = re.compile(r"#?([a-z_]+) = .+")
_HEADER: Final = re.compile(r"#?\[([^\[\]]+)\]")
_PROSE: Final = re.compile(r"# ?(.*)")
_DEFAULT: Final = re.compile(r" ?Default: ((?:[^.]|\.(?! |$))+)\.(?= |$)")
_NAMED: Final = ("connectors", "indexes", "prompts", "automations", "processors", "webhooks", "alerts")
_BASES: Final[tuple[type[Table], ...]] = (Connector, CloudConnector, ProcessorTable, PaidProcessor)
"""Tables whose options several types share, with a section of their own each."""
_SHARED: Final[dict[type[Table], tuple[str, str]]] = {
    Connector: ("`[connectors.NAME]`, any type", "Every connector has these."),
    CloudConnector: ("`[connectors.NAME]`, any object store", "Connectors of object stores also have these."),
    ProcessorTable: ("`[processors.NAME]`, any type", "Every processor has this."),
    PaidProcessor: (
        "`[processors.NAME]`, any type but `technical`",
        "Processors whose work may cost money also have this.",
    ),
}
_WORDS: Final[tuple[tuple[Any, str], ...]] = (
    (fields.Listen, "`host:port`"),
    (fields.AbsolutePath, "absolute path"),
    (fields.Pause, "duration"),
    (fields.Duration, "duration, at least `1s`"),
    (fields.Kept, "duration, at least `1h`, or `forever`"),
    (fields.NetworkText, "network or address"),
    (fields.ProxyNetwork, "network or address"),
    (fields.NodeName, "text of A-Z a-z 0-9 . _ -, at most 63"),
    (fields.Pattern, "pattern"),
    (fields.Excluded, "pattern"),
    (fields.FieldTemplate, "template"),
    (fields.KeyPrefix, "path below the location"),
    (fields.Subpath, "path below the location"),
    (fields.WebAddress, "web address"),
    (fields.Endpoint, "address of a service"),
    (fields.Proxy, "`http://host:port`"),
    (fields.Document, "table"),
    (fields.VariableName, "name of an environment variable"),
    (ModelName, "text"),
    (UpstreamId, "text"),
    (EventType, "names of events"),
)


@dataclass
class Section:
    """A table of the annotated file: its heading, its model, the comment above it, and the comments of its keys."""

    heading: str
    model: type[Table]
    intro: str = ""
    meanings: dict[str, str] = field(default_factory=dict)


def read_sections(text: str) -> list[Section]:
    """Return the tables of the annotated file in its order, each model once."""
    document = tomllib.loads(re.sub(r"(?m)^#(?=[a-z\[])", "", text))
    sections = [Section("The top of the file", Settings)]
    said: list[str] = []
    for line in text.splitlines():
        if found := _HEADER.fullmatch(line):
            sections.append(_open_section(found[1], document, " ".join(said)))
        elif found := _KEY.fullmatch(line):
            sections[-1].meanings.setdefault(found[1], " ".join(said))
        elif found := _PROSE.fullmatch(line):
            said.append(found[1])
            continue
        said = []
    return _merge(sections)


def _open_section(header: str, document: Any, intro: str) -> Section:
    loc = tuple(quoted or plain for quoted, plain in re.findall(r'"([^"]+)"|([^."]+)', header))
    model = table_at(loc, document)
    if model is None:
        raise ValueError(f"no table is called [{header}]")
    steps = list(loc)
    if loc[0] in _NAMED and len(loc) > 1:
        steps[1] = "NAME"
    if "prices" in loc:
        steps[-1] = "MODEL"
    kind = model.model_fields["type"].default if "type" in model.model_fields else ""
    return Section(f"`[{'.'.join(steps)}]`" + (f', `type = "{kind}"`' if kind else ""), model, intro)


def _merge(sections: list[Section]) -> list[Section]:
    """Return one section a heading; further examples of a table only add what the first leaves out."""
    merged: dict[str, Section] = {}
    for each in sections:
        first = merged.setdefault(each.heading, each)
        for key, meaning in each.meanings.items():
            if not first.meanings.get(key):
                first.meanings[key] = meaning
    return list(merged.values())


def meaning_of(name: str, model: type[Table], sections: Iterable[Section]) -> str:
    """Return what an option means, looked up in the tables that have it; empty where nobody says."""
    owner = next(each for each in reversed(model.__mro__) if name in getattr(each, "model_fields", {}))
    told = [each for each in sections if issubclass(each.model, owner) and each.meanings.get(name)]
    told.sort(key=lambda each: each.model is not model)
    if told:
        return told[0].meanings[name]
    mark = f"(or {name})"
    return next(
        (f"In place of `{key}`." for key in model.model_fields if mark in _own(key, model, sections)), ""
    )


def _own(name: str, model: type[Table], sections: Iterable[Section]) -> str:
    return " ".join(each.meanings.get(name, "") for each in sections if issubclass(each.model, model))


def list_rows(section: Section, sections: list[Section]) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, type, default and meaning of the options of a table; nested tables have sections of their own."""
    hints = get_type_hints(section.model, include_extras=True)
    for name, info in section.model.model_fields.items():
        elsewhere = issubclass(section.model, _BASES) and not _is_own(name, section.model)
        if elsewhere or _holds_tables(info.annotation):
            continue
        meaning = meaning_of(name, section.model, sections)
        said = _DEFAULT.search(meaning)
        default = said[1] if said else _default_words(name, section.model)
        yield name, _type_words(name, hints[name], info), default, _DEFAULT.sub("", meaning)


def _is_own(name: str, model: type[Table]) -> bool:
    """Return whether the option belongs in the section of `model`: no table above has it, or it differs here."""
    above = [base for base in _BASES if base is not model and issubclass(model, base)]
    own = name in vars(model).get("__annotations__", {})
    return name != "type" and (own or not any(name in base.model_fields for base in above))


def _holds_tables(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, Table)
    return any(map(_holds_tables, get_args(annotation)))


def _default_words(name: str, model: type[Table]) -> str:
    default = model.model_fields[name].get_default()
    if name in model.required:
        return "required"
    if default is None:
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{json.dumps(default)}`"
    if isinstance(default, str):
        return f'`"{default}"`'
    return f"`{default}`" + (f" ({_in_binary(default)})" if name.endswith("_bytes") else "")


def _in_binary(count: int) -> str:
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << power and count % (1 << power) == 0:
            return f"{count >> power} {unit}"
    return str(count)


def _type_words(name: str, hint: Any, info: Any) -> str:
    hint = _without_none(hint)
    if known := _known_words(hint):
        return known
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(plain) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(plain) if each)
    if get_origin(plain) is tuple:
        return f"list: {_type_words(name, get_args(plain)[0], None)}"
    if get_origin(plain) is dict:
        return "table"
    return _scalar_words(name, plain, hint, info)


def _known_words(hint: Any) -> str:
    """Return the words of the type that `hint` is, or narrows."""
    best = max(_WORDS, key=lambda pair: _shared_checks(pair[0], hint))
    return best[1] if _shared_checks(best[0], hint) else ""


def _shared_checks(kind: Any, hint: Any) -> int:
    """Return how many checks `hint` begins with that are all those of `kind`."""
    checks, wanted = getattr(hint, "__metadata__", ()), kind.__metadata__
    same = get_args(kind)[0] == get_args(hint)[0] if checks else False
    return len(wanted) if same and checks[: len(wanted)] == wanted else 0


def _scalar_words(name: str, plain: Any, hint: Any, info: Any) -> str:
    if plain is bool:
        return "`true`, `false`"
    limits = _limits(hint, info)
    if plain in (int, float):
        sized = _in_binary if name.endswith("_bytes") else _number
        word = "whole number" if plain is int else "number"
        return word + _range(limits.get("ge", limits.get("gt")), limits.get("le"), sized, "gt" in limits)
    allowed = _allowed_words(hint)
    if allowed:
        return f"text: {allowed}"
    word = "file name" if name.endswith("_file") else "text"
    length = _range(limits.get("min_length"), limits.get("max_length"), _number, excluded=False)
    return word + (f"{length} characters" if length else "")


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        [hint] = [each for each in get_args(hint) if each is not type(None)]
    if get_origin(hint) is Annotated and get_origin(get_args(hint)[0]) in (Union, UnionType):
        return _without_none(get_args(hint)[0])
    return hint


def _limits(hint: Any, info: Any) -> dict[str, Any]:
    """Return the constraints of a type by their names."""
    metadata = [*(info.metadata if info is not None else ()), *getattr(hint, "__metadata__", ())]
    flat = [inner for each in metadata for inner in (each, *getattr(each, "metadata", ()))]
    names = ("ge", "gt", "le", "min_length", "max_length")
    return {
        name: value for each in flat for name in names if (value := getattr(each, name, None)) is not None
    }


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"


def _range(least: Any, most: Any, words: Any, excluded: bool) -> str:
    if least is not None and most is not None and most < 1 << 60:
        return (
            f", more than {words(least)} up to {words(most)}"
            if excluded
            else f", {words(least)} to {words(most)}"
        )
    if least is not None:
        return f", at least {words(least)}"
    return "" if most is None else f", at most {words(most)}"


def _allowed_words(hint: Any) -> str:
    """Return what the check of a text allows, in the words of its error."""
    try:
        TypeAdapter(hint).validate_python("\0/:")
    except ValidationError as error:
        return str(error.errors()[0].get("ctx", {}).get("allowed", ""))
    return ""


def list_lines() -> Iterator[str]:
    """Yield the lines of the reference."""
    sections = read_sections(ANNOTATED.read_text(encoding="utf-8"))
    shown: set[type[Table]] = set()
    for section in sections:
        for base in (each for each in _BASES if issubclass(section.model, each) and each not in shown):
            shown.add(base)
            heading, intro = _SHARED[base]
            yield from _list_section(Section(heading, base, intro), sections)
        yield from _list_section(section, sections)


def _list_section(section: Section, sections: list[Section]) -> Iterator[str]:
    rows = list(list_rows(section, sections))
    yield from (f"## {section.heading}", "")
    if section.intro:
        yield from (_with_links(section.intro), "")
    if rows:
        yield from ("| option | type | default | meaning |", "|---|---|---|---|")
        yield from (
            f"| `{name}` | {kind} | {default} | {_in_cell(meaning)} |"
            for name, kind, default, meaning in rows
        )
        yield ""


def _in_cell(text: str) -> str:
    return _with_links(text.replace("|", r"\|").strip())


def _with_links(text: str) -> str:
    return re.sub(r"docs/(\w+\.md)", r"[\1](\1)", text)


def fill(page: str) -> str:
    """Return the page with the reference between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "".join((before, BEGIN, "\n".join(list_lines()), END, after))


if __name__ == "__main__":
    filled = fill(PAGE.read_text(encoding="utf-8"))
    if "--write" in sys.argv:
        PAGE.write_text(filled, encoding="utf-8")
    else:
        print(filled, end="")  # noqa: T201  # its answer
