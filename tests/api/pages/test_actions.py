"""What pages change, without JavaScript."""

from __future__ import annotations

from tests.api.route_scopes import SCOPES
from vvwatch.api.pages.actions import ACTIONS


def test_every_action_is_a_route_of_the_api_and_needs_its_scope() -> None:
    for name, action in ACTIONS.items():
        assert SCOPES[f"{action.method} {action.path}"] == action.scope, name
