"""`vvwatch scan`: list a location now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from vvwatch.cli.client import Client, client_options, quote_segment
from vvwatch.cli.commands import Command
from vvwatch.cli.failures import USAGE, Failure
from vvwatch.cli.lookup import IndexAutomations, find_by_name, list_automations
from vvwatch.cli.output import escape_controls, pluralize, print_json


@click.command(
    cls=Command,
    examples=(
        ("vvwatch scan incoming", "list one automation's location now"),
        ("vvwatch scan", "all that are active"),
        ("vvwatch scan incoming --accept-missing", "the inbox was emptied: what is missing is gone"),
        ("vvwatch scan incoming --dry-run", "what it would find; nothing is picked up"),
    ),
)
@click.argument("name", metavar="[INDEX|AUTOMATION]", required=False)
@click.option(
    "--dry-run", is_flag=True, help="Only show what would be picked up, and why the rest would not."
)
@click.option("--accept-missing", is_flag=True, help="Count everything that the listing misses as gone.")
@client_options
def scan(client: Client, name: str | None, *, dry_run: bool, accept_missing: bool, as_json: bool) -> None:
    """Look for new objects now instead of at the next scan. They join the window as usual.

    If most known objects are missing at once, vvwatch waits before it counts them as gone; --accept-missing counts
    them now.
    """
    if accept_missing and (dry_run or name is None):
        raise Failure("--accept-missing needs the name of one automation, and no --dry-run", exit_code=USAGE)
    if dry_run:
        _print_previews(client, name, as_json=as_json)
        return
    chosen = [_require_active(find_by_name(client, name))] if name else _list_active(client)
    query = "?accept_missing=true" if accept_missing else ""
    for each in chosen:
        client.post(f"/indexes/{quote_segment(each['index_id'])}/automations/import/scan{query}")
    if as_json:
        print_json({"scanning": [each["automation_id"] for each in chosen]})
    elif chosen:
        click.echo("\n".join(f"{escape_controls(each['automation_id'])} is being scanned" for each in chosen))
    else:
        click.echo("no automation is active")


def _print_previews(client: Client, name: str | None, *, as_json: bool) -> None:
    """Print previews; named automations may be paused or disabled."""
    chosen = (
        [find_by_name(client, name).index_id] if name else [each["index_id"] for each in _list_active(client)]
    )
    found = [client.get(f"/indexes/{quote_segment(each)}/automations/import/preview") for each in chosen]
    if as_json:
        print_json({"previews": found})
    for each in () if as_json else found:
        click.echo("\n".join(map(escape_controls, _format_preview(each))))


def _format_preview(found: dict[str, Any]) -> Iterator[str]:
    listed = f"{pluralize(found['listed'], 'object')} listed"
    yield f"{found['index_id']}: {found['new']} would be picked up, {found['known']} known, {listed}"
    if not found["complete"]:
        yield f"  not complete: {found['stopped_because']}"
    yield from (f"  new   {key}" for key in found["new_keys"])
    if found["new"] > len(found["new_keys"]):
        yield f"  new   … and {found['new'] - len(found['new_keys'])} more"
    yield from (f"  not   {each['count']}: {each['explanation']}" for each in found["declined"])


def _list_active(client: Client) -> list[dict[str, Any]]:
    found = (each.importing for each in list_automations(client))
    return [each for each in found if each and each["status"] == "active"]


def _require_active(found: IndexAutomations) -> dict[str, Any]:
    automation = found.importing
    if automation is None:
        raise Failure(f"the index {found.index_id} has no import automation", "vvwatch status")
    if automation["status"] == "paused":
        raise Failure(f"{automation['automation_id']} is paused", f"vvwatch resume {found.index_id}")
    if automation["status"] == "disabled":
        raise Failure(f"{automation['automation_id']} is disabled", "enable it where it is declared")
    return automation
