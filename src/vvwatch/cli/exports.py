"""`vvwatch exports`: list exports and the files of one."""

from __future__ import annotations

from typing import Any

import click

from vvwatch.cli.client import Client, client_options, quote_segment
from vvwatch.cli.commands import Command, Family, limit_option
from vvwatch.cli.ids import find_id
from vvwatch.cli.output import (
    cell_text,
    escape_controls,
    format_ago,
    format_size,
    print_json,
)
from vvwatch.cli.tables import print_columns

_HEADS = ("EXPORT", "INDEX", "STATUS", "ATTEMPTS", "CREATED", "WHERE")
_SPARE = ("ATTEMPTS", "INDEX")
_FILE_HEADS = ("FILE", "FORMAT", "SIZE", "SHA-256")


@click.group(
    cls=Family,
    examples=(
        ("vvwatch exports", "the latest, and where each went"),
        ("vvwatch exports show exp_…", "one, with its files"),
    ),
)
def exports() -> None:
    """List exports, the results that were written to a connector or can be downloaded."""


@exports.command("list", cls=Command, examples=(("vvwatch exports list --limit 5", "the latest five"),))
@limit_option
@client_options
def list_exports(client: Client, limit: int, *, as_json: bool) -> None:
    """List the latest exports, newest first."""
    found = client.get("/exports", limit=limit)
    if as_json:
        print_json({"exports": found})
    elif found:
        print_columns([_to_row(each) for each in found], _HEADS, _SPARE, "WHERE")
    else:
        click.echo("there was no export yet")


@exports.command(cls=Command, examples=(("vvwatch exports show exp_… --json", "for programs"),))
@click.argument("export_id", metavar="ID")
@client_options
def show(client: Client, export_id: str, *, as_json: bool) -> None:
    """Show one export with its files."""
    found = client.get(f"/exports/{quote_segment(find_id(client, export_id, 'exp'))}")
    if as_json:
        print_json(found)
        return
    if print_columns([_to_row(found)], _HEADS, _SPARE, "WHERE"):
        click.echo(escape_controls(_to_row(found)[-1]))
    if found.get("files"):
        click.echo()
        rows = [_to_file_row(each) for each in found["files"]]
        print_columns(rows, _FILE_HEADS, ("SHA-256", "FORMAT"), "FILE")
    if found["status"] == "failed":
        click.echo("\ntry it again: vvwatch retry " + escape_controls(found["export_id"]))


def _to_row(export: dict[str, Any]) -> tuple[str, ...]:
    where = export["destination_uri"] or ("download" if export["destination_type"] == "download" else None)
    return (
        export["export_id"],
        cell_text(export["index_id"]),
        export["status"],
        f"{export['attempts']} of {export['max_attempts']}",
        format_ago(export["created_at"]),
        cell_text(export["last_error"] or where),
    )


def _to_file_row(file: dict[str, Any]) -> tuple[str, ...]:
    return (
        file["name"],
        cell_text(file.get("format")),
        format_size(file["size_bytes"]),
        cell_text(file["sha256"]),
    )
