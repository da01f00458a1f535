"""`vvwatch windows`, `hold`, `release` and `fire`: list windows, keep one open, close one."""

from __future__ import annotations

from typing import Any

import click

from vvwatch.cli.client import Client, client_options, quote_segment
from vvwatch.cli.commands import Command, limit_option
from vvwatch.cli.lookup import find_by_name
from vvwatch.cli.output import (
    escape_controls,
    format_ago,
    format_size,
    format_until,
    pluralize,
    print_json,
)
from vvwatch.cli.tables import print_columns

_HEADS = ("WINDOW", "INDEX", "STATE", "FILES", "SIZE", "OPENED", "CLOSES", "IMPORT JOB")
_SPARE = ("SIZE", "IMPORT JOB", "OPENED")


@click.command(
    cls=Command,
    examples=(
        ("vvwatch windows --open", "what is gathering, and when it closes"),
        ("vvwatch windows incoming --limit 5", "the latest of one index, and why they closed"),
    ),
)
@click.argument("name", metavar="[INDEX|AUTOMATION]", required=False)
@click.option("--open", "only_open", is_flag=True, help="Only those that are still open.")
@limit_option
@client_options
def windows(client: Client, name: str | None, *, only_open: bool, limit: int, as_json: bool) -> None:
    """List windows, newest first. New objects gather in a window, and it becomes one import job."""
    index_id = find_by_name(client, name).index_id if name else None
    found = client.get("/windows", state="open" if only_open else None, index_id=index_id, limit=limit)
    if as_json:
        print_json({"windows": found})
    elif found:
        print_columns([_to_row(each) for each in found], _HEADS, _SPARE, "INDEX")
    else:
        click.echo("no window is open" if only_open else "there was no window yet")


def _to_row(window: dict[str, Any]) -> tuple[str, ...]:
    return (
        window["window_id"],
        window["index_id"],
        "held" if window["held"] else window["state"],
        str(window["object_count"]),
        format_size(window["size_bytes"]),
        format_ago(window["opened_at"]),
        _format_closing(window),
        window["import_job_id"] if window["state"] != "open" else "-",
    )


def _format_closing(window: dict[str, Any]) -> str:
    if window["state"] != "open":
        return f"{window['reason']}, {format_ago(window['closed_at'])}"
    return "when released" if window["held"] else format_until(window["due_at"])


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
