"""Names on the pages are names in the tree: what is in backticks and looks like ours exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)
FILES = [path for top in ("src", "tests", "bench") for path in sorted((ROOT / top).rglob("*.py"))]
PATHS = [path.relative_to(ROOT).as_posix() for path in FILES]
OTHERS = re.compile(r"(?:Swift|Echo)\w+|VIDEO_?VECTOR_\w+|OTEL_\w*|wh_n8n")
"""Made up for an example, or a variable of another program."""


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Every word of the code and its configuration, and of the paths."""
    texts = [*FILES, ROOT / "pyproject.toml", *(ROOT / "config").glob("*.*"), *(ROOT / "systemd").iterdir()]
    words = {
        word for path in texts if path != Path(__file__) for word in re.findall(r"\w+", path.read_text())
    }
    return words | {part for path in PATHS for part in re.split(r"[/.]", path)}


def ticked(page: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"(?s)```.*?```", "", (ROOT / page).read_text()))


@pytest.mark.parametrize("page", PAGES)
def test_functions_classes_settings_and_metrics_exist(page: str, known: set[str]) -> None:
    named = {
        word for text in ticked(page) for word in re.findall(r"\b[A-Za-z]\w*(?:_\w+|[a-z][A-Z]\w*)", text)
    }
    unknown = {word for word in named if word.removeprefix("vvwatch_") not in known}
    assert [word for word in sorted(unknown) if not OTHERS.fullmatch(word)] == []


@pytest.mark.parametrize("page", PAGES)
def test_modules_exist(page: str) -> None:
    """A path may leave out the folders before it."""
    named = {
        path for text in ticked(page) for path in re.findall(r"[\w/.<>-]+\.py\b", text) if "<" not in path
    }
    real = {
        path for path in named if (ROOT / path).exists() or any(each.endswith(f"/{path}") for each in PATHS)
    }
    assert [path for path in sorted(named - real) if "/swift/" not in path and "/echo/" not in path] == []
