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
from vvwatch.config.connectors import AnyConnector, CloudConnector, Connector, StorageDefaults
from vvwatch.config.processors import KINDS as PROCESSORS
from vvwatch.config.processors import AnyProcessor, PaidProcessor
from vvwatch.config.reading import table_at
from vvwatch.config.transcription import Transcription
from vvwatch.core.events import EVENT_TYPES
from vvwatch.core.media import RunSettings
from vvwatch.options.tables import Table

CONFIG = Path(__file__).parents[2] / "config"
REFERENCE = (CONFIG / "vvwatch.toml").read_text(encoding="utf-8")
EVERYTHING = re.sub(r"^#(?=[a-z\[])", "", REFERENCE, flags=re.MULTILINE)

Loc = tuple[str, ...]

# Their defaults depend on the machine, or there is none and an example stands in its place.
WITHOUT_A_FIXED_DEFAULT = {("state_dir",), ("node", "name"), ("processing", "concurrency")}


DOCUMENT = tomllib.loads(EVERYTHING)
SECRETS = (
    "rushes-secret",
    "rushes-token",
    "footage-secret",
    "newsroom-secret",
    "gpt-key",
    "hosted-key",
    "slack-url",
    "smtp-password",
    "desk-url",
    "alert-secret",
)


def options(table: Any, loc: Loc = ()) -> Iterator[tuple[Loc, Any]]:
    """Each key of a document that has a model, with its value."""
    for name, value in table.items():
        if table_at((*loc, name), DOCUMENT) or table_at((*loc, name, "any"), DOCUMENT):
            yield from options(value, (*loc, name))
        else:
            yield (*loc, name), value


def model_of(loc: Loc) -> type[Table]:
    """The model of the table that holds the key at `loc`."""
    model = table_at(loc[:-1], DOCUMENT)
    assert model is not None
    return model


def described() -> dict[type[Table], set[str]]:
    """The keys of each model that stand in the reference, commented out or not."""
    found: dict[type[Table], set[str]] = {}
    for loc, _ in options(DOCUMENT):
        found.setdefault(model_of(loc), set()).add(loc[-1])
    return found


def told_elsewhere(model: type[Table]) -> set[str]:
    """What need not stand in each table: another spelling beside the first, and what all connectors have."""
    spelling = {name for name in model.model_fields if f"(or {name})" in REFERENCE}
    if issubclass(model, PaidProcessor):
        return spelling | {"models", "prices", "budget"}
    return spelling | (set(Connector.model_fields) if issubclass(model, CloudConnector) else set())


def test_every_option_stands_in_the_reference() -> None:
    sections = {name for name, field in Settings.model_fields.items() if _holds_tables(field.annotation)}
    found = described()

    assert found.pop(Settings) == set(Settings.model_fields) - sections
    only_tables = {Settings, StorageDefaults, Transcription}
    kinds = set[type[Table]]().union(*map(_models, [*Connector.kinds.values(), *PROCESSORS.values()]))
    assert set(found) == _models(Settings) - only_tables - {AnyConnector, AnyProcessor} | kinds
    for model, names in found.items():
        nested = {name for name, field in model.model_fields.items() if _holds_tables(field.annotation)}
        told = names | told_elsewhere(model)
        assert told - nested == set(model.model_fields) - nested, model.__name__
    assert sections <= set(DOCUMENT)


def test_every_default_in_the_reference_is_the_default() -> None:
    active = {loc for loc, _ in options(tomllib.loads(REFERENCE))}
    for loc, value in options(DOCUMENT):
        model = model_of(loc)
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
    secrets = dict.fromkeys(SECRETS, "0123456789abcdef")
    secrets |= {"stage.json": '{"type": "service_account"}', "overflow-key": "MDEyMw=="}
    secrets |= dict.fromkeys(("ca.pem", "tls.crt", "tls.key"), "") | {"speech-key": "sk-speech"}
    for name, content in secrets.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    text = text.replace("/etc/vvwatch/", f"{tmp_path}/").replace("/usr/local/bin/ocr", "/bin/sh")
    (tmp_path / "vvwatch.toml").write_text(text.replace("/srv/media", f"{tmp_path}/media"))
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "ARCHIVE_WEBHOOK_SECRET": "0123456789abcdef"}

    everything = "[processors.gpt]" in {line.strip() for line in text.splitlines()}
    warnings = load(tmp_path / "vvwatch.toml", {"HOME": "/root", **environ}).warnings
    asked = ["automations.dailies.prompt.enable_image_embedding"]
    assert [warning.key for warning in warnings] == (asked if everything else []), "technical makes none"


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
