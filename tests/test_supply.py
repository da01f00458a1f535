"""What vvwatch is built from: locked by hashes, declared because it is imported, listed with its licences."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import deployments

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "config" / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
IMAGE_EXTRAS = ("clouds", "postgresql", "videovector")
ALL_EXTRAS = (*IMAGE_EXTRAS, "otel", "parquet", "search", "speech")
OF_ANOTHER = {
    "botocore": "aiobotocore",
    "h11": "uvicorn",
    "httpx": "videovector",
    "markupsafe": "jinja2",
    "pydantic_core": "pydantic",
    "starlette": "fastapi",
    "yarl": "aiohttp",
}
"""Imported and not declared, for they are part of the interface of a package that is, which chooses their version."""


def pins(name: str) -> dict[str, tuple[str, list[str]]]:
    """Of a lock file: package to version and hashes."""
    found: dict[str, tuple[str, list[str]]] = {}
    for block in re.split(r"\n(?=\S)", (LOCKS / f"{name}.txt").read_text()):
        if match := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", block):
            hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}", block)
            found[canonicalize_name(match[1])] = match[2], hashes
    return found


def required(*extras: str) -> list[Requirement]:
    """What the project asks for by itself and with these extras, extras that name extras followed."""
    optional = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in optional[extra])]
    found = []
    for requirement in map(Requirement, wanted):
        if requirement.name == "vvwatch":
            found += required(*sorted(requirement.extras))
        else:
            found.append(requirement)
    return found


def imported() -> set[str]:
    """The top-level names that our modules import, ours and those of the standard library left out."""
    names: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"vvwatch"}


@cache
def bill() -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "config" / "inventory.py"), "sbom"]
    said = subprocess.run(command, check=True, capture_output=True, timeout=300)
    document: dict[str, Any] = json.loads(said.stdout)
    return document


@pytest.mark.parametrize(
    ("name", "extras"), [("image", IMAGE_EXTRAS), ("test", ("test",))], ids=["image", "test"]
)
def test_the_lock_has_what_the_project_asks_for(name: str, extras: tuple[str, ...]) -> None:
    locked = pins(name)
    for requirement in required(*extras):
        version, _ = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} and {version}: run config/lock.sh"


@pytest.mark.parametrize("name", ["image", "build", "test"])
def test_every_package_is_locked_by_its_hashes(name: str) -> None:
    assert len(pins(name)) > 3
    assert [package for package, (_, hashes) in pins(name).items() if not hashes] == []
    text = (LOCKS / f"{name}.txt").read_text()
    assert "://" not in text  # it names no place to load from
    assert "-e " not in text


def test_the_tests_run_with_what_the_image_has() -> None:
    image, build, test = pins("image"), pins("build"), pins("test")
    assert {name: test.get(name) for name in image} == image
    assert {name: test.get(name) for name in build} == build


def test_the_image_is_installed_from_the_lock() -> None:
    installs = [
        part.strip()
        for word, rest in deployments.instructions()
        if word == "RUN"
        for part in rest.split("&&")
        if "pip install" in part
    ]
    assert [part.split("pip install", 1)[1].split() for part in installs] == [
        ["--no-cache-dir", "--require-hashes", "--no-deps", "-r", "config/requirements/image.txt"],
        ["--no-cache-dir", "--require-hashes", "--no-deps", "-r", "config/requirements/build.txt"],
        ["--no-cache-dir", "--no-deps", "wheel/*.whl"],
    ]


def test_what_is_declared_is_imported_and_what_is_imported_is_declared() -> None:
    owners = packages_distributions()
    used = {name: {canonicalize_name(owner) for owner in owners.get(name, [name])} for name in imported()}
    declared = {canonicalize_name(each.name) for each in required(*ALL_EXTRAS)}
    foreign = {name for name, packages in used.items() if not packages & declared}
    assert foreign == set(OF_ANOTHER)
    assert declared - set().union(*used.values()) == set()


@pytest.mark.parametrize("name", OF_ANOTHER)
def test_what_is_imported_undeclared_comes_with_what_is_declared(name: str) -> None:
    parent = OF_ANOTHER[name]
    [package] = packages_distributions()[name]
    needs = {canonicalize_name(Requirement(line).name) for line in requires(parent) or ()}
    assert parent in {canonicalize_name(each.name) for each in required(*IMAGE_EXTRAS)}
    assert canonicalize_name(package) in needs


def test_majors_that_break_have_an_upper_bound() -> None:
    """`~=`, `==` and `<` bound a requirement; one without says why."""
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    loose = [line for line in lines if re.match(r'\s+"[a-z0-9-]+>=[\d.]+",', line) and "#" not in line]
    assert loose == []


@pytest.mark.timeout(300)
def test_the_bill_of_materials_is_valid_and_has_what_wheels_carry() -> None:
    document = bill()
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    packages: dict[str, Any] = {canonicalize_name(each["name"]): each for each in document["components"]}
    assert pins("image").keys() <= packages.keys()
    carried = {each["name"]: each for each in packages["av"]["components"]}
    assert {"libavcodec", "libx264", "libx265"} <= carried.keys()
    assert carried["libx264"]["licenses"] == [{"expression": "GPL-2.0-or-later"}]
    assert str(ROOT) not in json.dumps(document)


@pytest.mark.timeout(300)
def test_the_page_on_licences_is_that_of_the_lock() -> None:
    command = [sys.executable, str(ROOT / "config" / "inventory.py"), "licences"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    assert said == (ROOT / "docs" / "licences.md").read_text()
