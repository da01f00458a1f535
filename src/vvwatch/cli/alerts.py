"""`vvwatch alerts`: list the receivers of alerts, and send one a test message."""

from __future__ import annotations

from typing import Any

import click

from vvwatch.cli.client import Client, client_options, quote_segment
from vvwatch.cli.commands import Command, Family
from vvwatch.cli.failures import FAILURE
from vvwatch.cli.output import cell_text, escape_controls, format_ago, print_json
from vvwatch.cli.tables import print_columns

_HEADS = ("RECEIVER", "LAST ALERT", "STATUS", "ATTEMPTS", "SAYS", "WHY")
_SPARE = ("ATTEMPTS",)


@click.group(
    cls=Family,
    examples=(
        ("vvwatch alerts", "who is alerted, and the last message to each"),
        ("vvwatch alerts test oncall", "send one a test message now"),
    ),
)
def alerts() -> None:
    """List receivers of alerts; send one a test message."""


@alerts.command("list", cls=Command, examples=(("vvwatch alerts list --json", "for programs"),))
@client_options
def list_alerts(client: Client, *, as_json: bool) -> None:
    """List the receivers that the configuration declares."""
    found = client.get("/alerts")
    if as_json:
        print_json({"receivers": found})
    elif found:
        print_columns([_to_row(each) for each in found], _HEADS, _SPARE, ("SAYS", "WHY"))
    else:
        click.echo("nobody is alerted: declare a receiver as [alerts.NAME]")


@alerts.command(cls=Command, examples=(("vvwatch alerts test oncall", "exits with 1 if it fails"),))
@click.argument("name", metavar="NAME")
@client_options
def test(client: Client, name: str, *, as_json: bool) -> None:
    """Send a test message now, and say what the receiver answered."""
    found = client.post(f"/alerts/{quote_segment(name)}/test")
    if as_json:
        print_json(found)
    else:
        answer = f"answered {found['status_code']}" if found["status_code"] else "did not accept it"
        why = f": {found['error']}" if found["error"] else ""
        click.echo(escape_controls(f"{name} {answer}{why}"))
    if not found["success"]:
        click.get_current_context().exit(FAILURE)


def _to_row(receiver: dict[str, Any]) -> tuple[str, ...]:
    return (
        receiver["receiver_id"],
        format_ago(receiver["last_at"]),
        cell_text(receiver["last_status"]),
        str(receiver["last_attempts"]),
        cell_text(receiver["last_title"]),
        cell_text(receiver["last_error"]),
    )
