"""The house rules, held by tools: floors, types, lint, budgets."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "vvwatch"
VENDORS: dict[str, str | tuple[str, ...]] = {
    "aiobotocore": "providers/s3/",
    "azure": "providers/azure/",
    "botocore": "providers/s3/",
    "gcloud": "providers/gcs/",
    "orjson": "providers/gcs/",
    "av": "processors/",
    "numpy": ("processors/embedding/", "processors/transcription/child.py"),
    "onnxruntime": "processors/embedding/",
    "tokenizers": "processors/embedding/",
    "httpcore2": "senders/",
    "httpx": "processors/videovector/transport.py",
    "videovector": "processors/videovector/",
    "httpx2": ("senders/connections.py", "processors/openai/endpoint.py"),
    "jsonschema_rs": ("core/json_schemas.py", "processors/validation.py"),
    "opentelemetry": "telemetry/otel/",
    "watchfiles": "providers/local/",
    "asyncpg": "store/db/postgres",
    "pgqueuer": "store/db/postgres_",
    "sqlite3": "store/db/sqlite",
    "uvicorn": "daemon/serving/",
    "wcmatch": "core/globs.py",
    "jinja2": "api/pages/",
    "rich": "cli/",
    "click": "cli/",
}


CLOUD_WORDS = re.compile(
    r"(?<![a-z0-9])(s3|sqs|sns|aws|amazon\w*|aioboto\w*|boto\w*|minio|gcs|gs|gcp|gcloud|google\w*|pub\W?sub|azure|azurite"
    r"|microsoft\w*)(?![a-z0-9])"
)
CLOUD_ROOMS = ("providers/s3/", "providers/gcs/", "providers/azure/", "providers/registry.py")
WIRE_NAMES = re.compile(r"\b((thumbnail|gif)_)?gcs_uri\b|\bvnd\.microsoft\.card\.adaptive\b")
"""Fields of the hosted API, which are called so whatever store an object is in, and the media type of a chat's card."""


def run(*command: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return "" if ended.returncode == 0 else ended.stdout + ended.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
    ],
    ids=" ".join,
)
def test_the_tools_find_nothing(command: tuple[str, ...]) -> None:
    assert run(*command) == ""


def test_imports_go_downstairs_only() -> None:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code of a function, its docstring not counted."""
    docstring = ast.get_docstring(function, clean=False)
    lines = (function.end_lineno or 0) - function.lineno + 1
    return lines - (len(docstring.splitlines()) if docstring else 0)


def test_budgets() -> None:
    """Files of at most 400 lines, functions of at most 50, the median at most 8."""
    files = {path: path.read_text() for path in SOURCE.rglob("*.py")}
    assert {str(p): n for p, text in files.items() if (n := text.count("\n")) > 400} == {}
    lengths = {
        f"{path.relative_to(ROOT)}:{function.name}": length(function)
        for path, text in files.items()
        for function in functions(ast.parse(text))
    }
    assert {name: lines for name, lines in lengths.items() if lines > 50} == {}
    assert statistics.median(lengths.values()) <= 8


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_a_vendor_stands_in_its_own_room() -> None:
    strays = [
        f"{path.relative_to(SOURCE)} imports {vendor}"
        for path in SOURCE.rglob("*.py")
        for vendor in imported(path) & VENDORS.keys()
        if not str(path.relative_to(SOURCE)).startswith(VENDORS[vendor])
    ]
    assert strays == []


def cloud_words(text: str) -> set[str]:
    """The names of clouds in a source text: in identifiers, texts and comments."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])|_", " ", WIRE_NAMES.sub("", text))
    return {match.group() for match in CLOUD_WORDS.finditer(parted.lower())}


def test_a_cloud_is_named_in_its_own_room_and_in_the_registry_alone() -> None:
    strays = {
        place: words
        for path in SOURCE.rglob("*.py")
        if not (place := path.relative_to(SOURCE).as_posix()).startswith(CLOUD_ROOMS)
        if (words := cloud_words(path.read_text()))
    }
    assert strays == {}
    for text in (
        "class S3Body",
        "of_gcs = 1",
        '"Pub/Sub"',
        "# Azure's",
        "import aiobotocore",
        "AWSKey",
        "x.gcs_uris",
    ):
        assert cloud_words(text), text
    assert cloud_words("row.gcs_uri, the logs3, 3gs, draws") == set()


def test_no_room_for_odds_and_ends() -> None:
    forbidden = {"utils", "util", "helpers", "helper", "managers", "manager", "common", "misc"}
    assert [path for path in SOURCE.rglob("*.py") if path.stem in forbidden] == []
