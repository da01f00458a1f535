"""docs/configuration.md is made from the models and the annotated file, and says what each option means."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.test_config_reference import _holds_tables, _models
from vvwatch.config import Settings
from vvwatch.config.connectors import Connector
from vvwatch.config.processors import KINDS as PROCESSORS
from vvwatch.options.tables import Table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
ROW = re.compile(r"(?m)^\| `(\w+)` \| (.+?) \| (.+?) \| (.*) \|$")
MODELS = set[type[Table]]().union(
    *map(_models, [Settings, *Connector.kinds.values(), *PROCESSORS.values()]),
)


def section(heading: str) -> dict[str, tuple[str, str, str]]:
    """Type, default and meaning of each option under a heading."""
    [text] = re.findall(rf"(?ms)^## {re.escape(heading)}$(.*?)(?=^## |^<!--)", PAGE)
    return {name: (kind, default, meaning) for name, kind, default, meaning in ROW.findall(text)}


def test_the_page_is_that_of_the_models_and_the_annotated_file() -> None:
    """After a change of options: python docs/configuration.py --write."""
    made = subprocess.run(
        [sys.executable, "docs/configuration.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert made.stdout == PAGE


def test_each_option_has_a_meaning() -> None:
    assert [name for name, _, _, meaning in ROW.findall(PAGE) if len(meaning.strip()) < 4] == []


def test_each_option_is_on_the_page() -> None:
    named = {name for name, *_ in ROW.findall(PAGE)}
    wanted = {
        name
        for model in MODELS
        for name, field in model.model_fields.items()
        if not _holds_tables(field.annotation) and name != "type"
    }
    assert wanted - named == set()


@pytest.mark.parametrize(
    ("heading", "name", "kind", "default"),
    [
        ("`[api]`", "max_connections", "whole number, 8 to 1,000,000", "`1000`"),
        ("`[processing]`", "spool_bytes", "whole number, at least 64 MiB", "`107374182400` (100 GiB)"),
        ("`[processing]`", "concurrency", "whole number, 1 to 256", "the number of CPUs"),
        ("`[debounce]`", "scale", "number, more than 0 up to 1,000", "`1.0`"),
        ("`[retention]`", "jobs", "duration, at least `1h`, or `forever`", '`"forever"`'),
        ("`[automations.NAME]`", "index", "text", "required"),
        ("`[automations.NAME]`", "max_wait", "duration, at least `1s`", "six times debounce, at most a day"),
        ('`[processors.NAME]`, `type = "command"`', "concurrency", "whole number, 1 to 1,000", "`2`"),
        ("`[processors.NAME]`, any type but `technical`", "concurrency", "whole number, 1 to 1,000", "`4`"),
        ('`[processors.NAME]`, `type = "openai"`', "base_url", "address of a service", "required"),
        ('`[connectors.NAME]`, `type = "azure"`', "storage_account", "text: 3 to 24 of a-z 0-9", "required"),
    ],
)
def test_type_and_default_are_those_of_the_model(heading: str, name: str, kind: str, default: str) -> None:
    assert section(heading)[name][:2] == (kind, default)


def test_another_spelling_names_the_first() -> None:
    assert (
        section('`[processors.NAME]`, `type = "openai"`')["api_key_env"][2] == "In place of `api_key_file`."
    )
