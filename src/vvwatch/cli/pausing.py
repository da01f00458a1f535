"""`vvwatch pause` and `vvwatch resume`: stop and resume automations."""

from __future__ import annotations

from typing import Any

import click

from vvwatch.cli.client import Client, client_options, quote_segment
from vvwatch.cli.commands import Command
from vvwatch.cli.failures import Failure
from vvwatch.cli.lookup import find_by_name
from vvwatch.cli.output import escape_controls, print_json

_exports_option = click.option(
    "--exports", is_flag=True, help="Its export automation, not the import automation."
)


@click.command(
    cls=Command,
    examples=(
        ("vvwatch pause incoming", "stop watching; what has gathered is kept"),
        ("vvwatch pause incoming --exports", "go on importing, deliver nothing"),
    ),
)
@click.argument("name", metavar="INDEX|AUTOMATION")
@_exports_option
@client_options
def pause(client: Client, name: str, *, exports: bool, as_json: bool) -> None:
    """Pause an automation. Its configuration, its open window and its ledger are kept."""
    _print_automation(_set_paused(client, name, "pause", exports=exports), exports=exports, as_json=as_json)


@click.command(cls=Command, examples=(("vvwatch resume incoming", "go on; what arrived meanwhile is found"),))
@click.argument("name", metavar="INDEX|AUTOMATION")
@_exports_option
@client_options
def resume(client: Client, name: str, *, exports: bool, as_json: bool) -> None:
    """Resume a paused automation; objects that arrived meanwhile come first."""
    _print_automation(_set_paused(client, name, "resume", exports=exports), exports=exports, as_json=as_json)


def _set_paused(client: Client, name: str, action: str, *, exports: bool) -> dict[str, Any]:
    found, kind = find_by_name(client, name), "export" if exports else "import"
    if (found.exporting if exports else found.importing) is None:
        raise Failure(f"the index {found.index_id} has no {kind} automation", "vvwatch status")
    answer: dict[str, Any] = client.post(
        f"/indexes/{quote_segment(found.index_id)}/automations/{kind}/{action}"
    )
    return answer


def _print_automation(automation: dict[str, Any], *, exports: bool, as_json: bool) -> None:
    if as_json:
        print_json(automation)
        return
    status, index_id = automation["status"], automation["index_id"]
    note = " (enabled = false in its configuration)" if status == "disabled" else ""
    if exports:
        note += f": what is found in {index_id} is {'exported' if status == 'active' else 'not exported'}"
    click.echo(escape_controls(f"{automation['automation_id']} is {status}{note}"))
