"""The scope of every route, as the routes state it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vvwatch.api.app import RESOURCES
from vvwatch.api.http.auth import ScopedRoute
from vvwatch.core.keys import Scope

SCOPES: Final[Mapping[str, Scope | None]] = {
    route.scope_name: route.needed
    for resource in RESOURCES
    for route in resource.router.routes
    if isinstance(route, ScopedRoute)
}
"""Method and path below `/api/v2`, and the lowest scope that opens the route; None for a public one."""


def print_table() -> str:
    """A line a route: its scope, its method and its path."""
    lines = (f"{scope or 'public':7}{name}\n" for name, scope in SCOPES.items())
    return "".join(sorted(lines, key=lambda line: line[7:].split()[::-1]))


if __name__ == "__main__":
    print(print_table(), end="")
