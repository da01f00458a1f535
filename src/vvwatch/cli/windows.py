"""`vvwatch windows`: list windows."""

from __future__ import annotations

from typing import Any

import click

from vvwatch.cli.client import Client
from vvwatch.cli.client_options import client_options
from vvwatch.cli.commands import Command
from vvwatch.cli.lookup import find_by_name
from vvwatch.cli.options import limit_option
from vvwatch.cli.output import format_ago, format_size, format_until, print_columns, print_json

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
