"""`vvwatch scan`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from vvwatch.cli.asking import asking
from vvwatch.cli.client import Client, segment
from vvwatch.cli.commands import Command
from vvwatch.cli.failures import Failure
from vvwatch.cli.naming import Watched, called, watched
from vvwatch.cli.output import plain, show_json


@click.command(
    cls=Command,
    examples=(
        ("vvwatch scan incoming", "list one automation's location now"),
        ("vvwatch scan", "all that are active"),
    ),
)
@click.argument("name", metavar="[INDEX|AUTOMATION]", required=False)
@asking
def scan(client: Client, name: str | None, *, as_json: bool) -> None:
    """Look for new objects now instead of at the next turn. What is found joins its window as always."""
    chosen = [_active(called(client, name))] if name else list(_all_active(client))
    for each in chosen:
        client.post(f"/indexes/{segment(each['index_id'])}/automations/import/scan")
    if as_json:
        show_json({"scanning": [each["automation_id"] for each in chosen]})
    elif chosen:
        click.echo("\n".join(f"{plain(each['automation_id'])} is being scanned" for each in chosen))
    else:
        click.echo("no automation is active")


def _all_active(client: Client) -> Iterator[dict[str, Any]]:
    for each in watched(client):
        if each.importing and each.importing["status"] == "active":
            yield each.importing


def _active(found: Watched) -> dict[str, Any]:
    automation = found.importing
    if automation is None:
        raise Failure(f"the index {found.index_id} has no import automation", "vvwatch status")
    if automation["status"] == "paused":
        raise Failure(f"{automation['automation_id']} is paused", f"vvwatch resume {found.index_id}")
    if automation["status"] == "disabled":
        raise Failure(f"{automation['automation_id']} is disabled", "enable it where it is declared")
    return automation
