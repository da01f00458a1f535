"""The private words of earlier versions stay out of names and public text (docs/glossary.md has the words we use)."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "vvwatch"
BANNED = re.compile(
    r"\b(?:anew|told|graves?|unbury|risen|deaf|rehearsals?|by itself|whoever|of which|stands? on|stood still|so as)\b",
    re.IGNORECASE,
)
BANNED_NAMES = re.compile(
    r"(?:^|_)(?:told|anew|graves?|risen|deaf|house|naming|asking|teller)(?:_|$)", re.IGNORECASE
)
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")} - {ROOT / "docs" / "glossary.md"})
"""All but the glossary, which names the banned words."""


def texts(tree: ast.AST) -> Iterator[str]:
    """Docstrings, messages, help: every string of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def names(tree: ast.Module) -> Iterator[str]:
    """Of functions and classes, arguments, variables, attributes and aliases."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname


def find_banned(path: Path) -> list[str]:
    """Return the banned words of a module."""
    tree = ast.parse(path.read_text())
    words = [found[0] for text in texts(tree) if (found := BANNED.search(text))]
    return [*words, *(name for name in names(tree) if BANNED_NAMES.search(name))]


def test_no_banned_word_in_the_source() -> None:
    """One test: as many as there are modules would take longer to collect, in each process, than to run."""
    found = {str(path.relative_to(SOURCE)): find_banned(path) for path in sorted(SOURCE.rglob("*.py"))}
    assert len(found) > 300
    assert {path: words for path, words in found.items() if words} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_banned_word_in_a_page(page: Path) -> None:
    assert BANNED.findall(page.read_text()) == []


def test_no_banned_word_in_the_annotated_configuration() -> None:
    path = ROOT / "config" / "vvwatch.toml"
    assert tomllib.loads(path.read_text())
    assert BANNED.findall(path.read_text()) == []
