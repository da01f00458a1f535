"""A folder to keep configurations in, and a way to read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from vvwatch.config import Config, ConfigInvalid, Problem, load

Read = Callable[..., Config]
Problems = Callable[..., list[Problem]]


@pytest.fixture
def media(tmp_path: Path) -> Path:
    for name in ("incoming", "results"):
        (tmp_path / "media" / name).mkdir(parents=True)
    return tmp_path / "media"


@pytest.fixture
def good(media: Path) -> str:
    """A small configuration without problems."""
    return f"""\
[local]
roots = ["{media}"]
[connectors.incoming]
type = "local"
path = "{media}/incoming"
[connectors.results]
type = "local"
path = "{media}/results"
scopes = ["export"]
[indexes.main]
[automations.main]
index = "main"
connector = "incoming"
"""


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str, environ: Mapping[str, str] | None = None, **overrides: object) -> Config:
        path = tmp_path / "vvwatch.toml"
        path.write_text(dedent(text), encoding="utf-8")
        return load(path, {"HOME": str(tmp_path), **(environ or {})}, overrides)

    return read


@pytest.fixture
def problems(read: Read) -> Problems:
    """The problems of a text, in order; none when it can be used."""

    def problems(text: str, environ: Mapping[str, str] | None = None, **overrides: object) -> list[Problem]:
        try:
            read(text, environ, **overrides)
        except ConfigInvalid as error:
            return list(error.problems)
        return []

    return problems
