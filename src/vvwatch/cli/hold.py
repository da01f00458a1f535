"""`vvwatch hold` and `vvwatch release`: keep a window open."""

from __future__ import annotations

from typing import Any

import click

from vvwatch.cli.client import Client, quote_segment
from vvwatch.cli.client_options import client_options
from vvwatch.cli.commands import Command
from vvwatch.cli.lookup import find_by_name
from vvwatch.cli.output import escape_controls, format_until, pluralize, print_json


@click.command(
    cls=Command,
    examples=(
        ("vvwatch hold incoming", "let files gather, however long it takes"),
        ("vvwatch release incoming", "… until they may go on"),
    ),
)
@click.argument("name", metavar="INDEX|AUTOMATION")
@client_options
def hold(client: Client, name: str, *, as_json: bool) -> None:
    """Keep the open window open, whatever its deadline, until it is released or fired. New files still join it."""
    _print_window(client.post(f"{find_window(client, name)}/hold"), as_json=as_json)


@click.command(
    cls=Command,
    examples=(("vvwatch release incoming", "the window closes when it is due, or now if it was"),),
)
@click.argument("name", metavar="INDEX|AUTOMATION")
@client_options
def release(client: Client, name: str, *, as_json: bool) -> None:
    """Restore the deadline of a held window. If it has passed, the window closes at once."""
    _print_window(client.post(f"{find_window(client, name)}/release"), as_json=as_json)


def find_window(client: Client, name: str) -> str:
    """Return the API path of the open window of `name`. Raises Failure for none, or several."""
    return f"/indexes/{quote_segment(find_by_name(client, name).index_id)}/automations/import/window"


def _print_window(window: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(window)
        return
    closes = "held" if window["held"] else f"not held, closes {format_until(window['due_at'])}"
    click.echo(
        escape_controls(f"{window['window_id']} is {closes} ({pluralize(window['object_count'], 'file')})")
    )
