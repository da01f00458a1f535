from __future__ import annotations

import importlib.util
import sys
import tomllib
from pathlib import Path

import pytest

from vvwatch import extras

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("extra", ["s3", "gcs", "azure", "postgresql"])
def test_an_extra_needs_what_the_project_says(extra: str) -> None:
    assert sorted(extras.list_requirements(extra)) == sorted(PROJECT["optional-dependencies"][extra])
    assert extras.find_missing_package(extra) is None, "the tests have everything"


def test_an_unknown_extra_needs_nothing() -> None:
    assert extras.list_requirements("ftp") == []


def test_an_environment_without_pip_gets_the_command_of_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        extras, "find_spec", lambda name: None if name == "pip" else importlib.util.find_spec(name)
    )
    monkeypatch.setattr(sys, "executable", "/opt/a tool/bin/python")
    command = extras.install_command("s3")
    assert command.startswith("uv pip install --python '/opt/a tool/bin/python' 'aiobotocore~=")
