"""`vvwatch fire`: close a window."""

from __future__ import annotations

from typing import Any

import click

from vvwatch.cli.client import Client
from vvwatch.cli.client_options import client_options
from vvwatch.cli.commands import Command
from vvwatch.cli.hold import find_window
from vvwatch.cli.output import escape_controls, pluralize, print_json


@click.command(
    cls=Command,
    examples=(("vvwatch fire incoming", "import what has gathered now, without waiting for quiet"),),
)
@click.argument("name", metavar="INDEX|AUTOMATION")
@client_options
def fire(client: Client, name: str, *, as_json: bool) -> None:
    """Close the open window now, held or not; its files become an import job."""
    window: dict[str, Any] = client.post(f"{find_window(client, name)}/fire")
    if as_json:
        print_json(window)
        return
    files = pluralize(window["object_count"], "file")
    click.echo(escape_controls(f"{window['window_id']} is closed: {files} in {window['import_job_id']}"))
