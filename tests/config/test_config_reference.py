"""`config/vvwatch.toml` tells every option with its default, and works."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from vvwatch.config import PromptPreset, Settings, load
from vvwatch.config.models import Table
from vvwatch.config.reading import table_at
from vvwatch.core.events import EVENT_TYPES
from vvwatch.core.media import RunSettings

CONFIG = Path(__file__).parents[2] / "config"
REFERENCE = (CONFIG / "vvwatch.toml").read_text(encoding="utf-8")
EVERYTHING = re.sub(r"^#(?=[a-z\[])", "", REFERENCE, flags=re.MULTILINE)

Loc = tuple[str, ...]

# Their defaults depend on the machine, or there is none and an example stands in its place.
WITHOUT_A_FIXED_DEFAULT = {("state_dir",), ("node", "name"), ("processing", "concurrency")}


def options(table: Any, loc: Loc = ()) -> Iterator[tuple[Loc, Any]]:
    """Each key of a document that has a model, with its value."""
    for name, value in table.items():
        if table_at((*loc, name)) or table_at((*loc, name, "any")):
            yield from options(value, (*loc, name))
        else:
            yield (*loc, name), value


def described() -> dict[type[Table], set[str]]:
    """The keys of each model that stand in the reference, commented out or not."""
    found: dict[type[Table], set[str]] = {}
    for loc, _ in options(tomllib.loads(EVERYTHING)):
        model = table_at(loc[:-1])
        assert model is not None
        found.setdefault(model, set()).add(loc[-1])
    return found


def test_every_option_stands_in_the_reference() -> None:
    sections = {name for name, field in Settings.model_fields.items() if _holds_tables(field.annotation)}
    found = described()

    assert found.pop(Settings) == set(Settings.model_fields) - sections
    assert set(found) == _models(Settings) - {Settings}
    for model, names in found.items():
        nested = {name for name, field in model.model_fields.items() if _holds_tables(field.annotation)}
        assert names == set(model.model_fields) - nested, model.__name__
    assert sections <= set(tomllib.loads(EVERYTHING))


def test_every_default_in_the_reference_is_the_default() -> None:
    active = {loc for loc, _ in options(tomllib.loads(REFERENCE))}
    for loc, value in options(tomllib.loads(EVERYTHING)):
        model = table_at(loc[:-1])
        assert model is not None
        default = model.model_fields[loc[-1]].get_default()
        fixed = loc not in WITHOUT_A_FIXED_DEFAULT and loc[-1] not in model.required
        if loc not in active and fixed and default is not None:
            assert value == (list(default) if isinstance(default, tuple) else default), loc


def test_every_event_stands_in_the_reference() -> None:
    said = re.sub(r"\n# ", " ", REFERENCE)
    for group, ending in (name.rsplit(".", 1) for name in EVENT_TYPES):
        assert re.search(rf"{group}\.(\w+(, \.\w+)*, \.)?{ending}\b", said), f"{group}.{ending}"


@pytest.mark.parametrize("text", [REFERENCE, EVERYTHING], ids=["as it is", "with everything in it"])
def test_the_reference_can_be_used(tmp_path: Path, text: str) -> None:
    for name in ("incoming", "results"):
        (tmp_path / "media" / name).mkdir(parents=True)
    for name in ("scenes", "summary"):
        (tmp_path / f"{name}.schema.json").write_text(json.dumps({"type": "object"}))
    (tmp_path / "newsroom-secret").write_text("0123456789abcdef")
    (tmp_path / "newsroom-secret").chmod(0o600)
    (tmp_path / "vvwatch.toml").write_text(text.replace("/srv/media", f"{tmp_path}/media"))
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "ARCHIVE_WEBHOOK_SECRET": "0123456789abcdef"}

    assert load(tmp_path / "vvwatch.toml", {"HOME": "/root", **environ}).warnings == ()


def test_the_laptop_example_can_be_used(tmp_path: Path) -> None:
    for name in ("incoming", "results"):
        (tmp_path / "vvwatch" / name).mkdir(parents=True)

    config = load(CONFIG / "dev.toml", {"HOME": str(tmp_path)})

    assert config.warnings == ()
    assert config.automations["laptop"].quiet_seconds == 5


def test_a_preset_has_exactly_the_run_settings() -> None:
    assert set(PromptPreset.model_fields) == {"prompt_id", *(field.name for field in fields(RunSettings))}
    assert PromptPreset().settings == RunSettings()


def _holds_tables(annotation: Any) -> bool:
    return bool(_models(annotation))


def _models(annotation: Any) -> set[type[Table]]:
    """All tables that a field's type reaches."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        inner = [field.annotation for field in annotation.model_fields.values()]
        return {annotation}.union(*map(_models, [*inner, annotation.entries]))
    return set().union(*map(_models, get_args(annotation)))
