"""`vvwatch dismiss`: mark failures as seen."""

from __future__ import annotations

import click

from vvwatch.cli.client import Client, quote_segment
from vvwatch.cli.client_options import client_options
from vvwatch.cli.commands import Command
from vvwatch.cli.output import escape_controls, print_json


@click.command(
    cls=Command,
    examples=(
        ("vvwatch dismiss job_…", "you have seen what failed in it"),
        ("vvwatch dismiss exp_… del_…", "several at once"),
    ),
)
@click.argument("identifiers", metavar="ID…", nargs=-1, required=True)
@client_options
def dismiss(client: Client, identifiers: tuple[str, ...], *, as_json: bool) -> None:
    """Stop showing a failure under "needs you", and equal ones. Later failures are shown again."""
    found = [client.post(f"/attention/{quote_segment(each)}/dismiss") for each in identifiers]
    dismissed = [each for answer in found for each in answer["dismissed"]]
    if as_json:
        print_json({"dismissed": dismissed})
    else:
        click.echo("\n".join(f"{escape_controls(each)} is dismissed" for each in dismissed))
