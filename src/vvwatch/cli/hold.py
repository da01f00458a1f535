"""`vvwatch hold` and `vvwatch release`."""

from __future__ import annotations

from typing import Any

import click

from vvwatch.cli.client import Client, segment
from vvwatch.cli.client_options import asking
from vvwatch.cli.commands import Command
from vvwatch.cli.lookup import called
from vvwatch.cli.output import plain, several, show_json, until


@click.command(
    cls=Command,
    examples=(
        ("vvwatch hold incoming", "let files gather, however long it takes"),
        ("vvwatch release incoming", "… until they may go on"),
    ),
)
@click.argument("name", metavar="INDEX|AUTOMATION")
@asking
def hold(client: Client, name: str, *, as_json: bool) -> None:
    """Keep the open window open, whatever its deadline, until it is released or fired. New files go on joining it."""
    _show(client.post(f"{window_of(client, name)}/hold"), as_json=as_json)


@click.command(
    cls=Command,
    examples=(("vvwatch release incoming", "the window closes when it is due, or now if it was"),),
)
@click.argument("name", metavar="INDEX|AUTOMATION")
@asking
def release(client: Client, name: str, *, as_json: bool) -> None:
    """Let the deadline of a held window count again. One that has passed closes the window at once."""
    _show(client.post(f"{window_of(client, name)}/release"), as_json=as_json)


def window_of(client: Client, name: str) -> str:
    """Where the API has the open window of what is called `name`. Raises Failure for none, or several."""
    return f"/indexes/{segment(called(client, name).index_id)}/automations/import/window"


def _show(window: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(window)
        return
    closes = "held" if window["held"] else f"not held, closes {until(window['due_at'])}"
    click.echo(plain(f"{window['window_id']} is {closes} ({several(window['object_count'], 'file')})"))
