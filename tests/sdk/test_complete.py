"""That these tests leave no method of the SDK out, of either client."""

from __future__ import annotations

import ast
import typing
from collections.abc import Iterator
from pathlib import Path

from tests.sdk.test_unavailable import CALLS
from tests.sdk.twins import CLIENTS, PAGES, public_methods

NOT_DRIVEN: dict[str, str] = {}
"""Methods that no test calls, each with the reason."""


def offered(client: type) -> set[str]:
    """Every public method of a client, as `authenticate` or `resource.method`."""
    found = public_methods(client)
    for name, resource in typing.get_type_hints(client).items():
        found |= {f"{name}.{method}" for method in public_methods(resource)}
    return found


def called(tree: ast.AST) -> Iterator[str]:
    """What is called on `sdk` or, a page's method, on anything."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            path = ast.unparse(node.func)
            yield path.removeprefix("sdk.") if path.startswith("sdk.") else f"page.{node.func.attr}"


def driven() -> set[str]:
    """What the tests of this folder call; each test calls it of both clients."""
    files = Path(__file__).parent.glob("test_*.py")
    return {name for file in files for name in called(ast.parse(file.read_text()))}


def test_both_clients_offer_the_same() -> None:
    one, other = (offered(client) for client in CLIENTS.values())
    assert one == other
    assert {"authenticate", "close", "import_jobs.iter_files", "workflow.wait_until_searchable"} <= one


def test_every_method_is_driven() -> None:
    expected = offered(CLIENTS["sync"]) - {"close"}  # each client is closed in the end
    pages = {f"page.{method}" for page in PAGES for method in public_methods(page)}
    assert (expected | pages) - driven() == NOT_DRIVEN.keys()


def test_what_is_said_to_need_a_model_is_offered() -> None:
    assert CALLS.keys() <= offered(CLIENTS["sync"])
