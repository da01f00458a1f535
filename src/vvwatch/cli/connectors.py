"""`vvwatch connectors` and `prompts`: list what is declared, test and browse a location."""

from __future__ import annotations

from typing import Any

import click

from vvwatch.cli.client import Client, client_options, quote_segment
from vvwatch.cli.commands import Command, Family, limit_option
from vvwatch.cli.failures import FAILURE
from vvwatch.cli.ids import find_id
from vvwatch.cli.output import (
    cell_text,
    escape_controls,
    format_ago,
    format_size,
    print_json,
)
from vvwatch.cli.tables import print_columns

_HEADS = ("CONNECTOR", "TYPE", "SCOPES", "STATUS", "TESTED", "WHY")
_SPARE = ("TYPE", "SCOPES", "TESTED")
_FILE_HEADS = ("SIZE", "CHANGED", "PATH")
_PROMPT_HEADS = ("PROMPT", "NAME", "VERSION", "ACTIVE", "TEXT")


@click.group(
    cls=Family,
    examples=(
        ("vvwatch connectors", "which locations there are"),
        ("vvwatch connectors test conn_incoming", "whether one can be reached, with all it needs"),
        ("vvwatch connectors browse conn_incoming 2026/", "what is there"),
    ),
)
def connectors() -> None:
    """List connectors, the locations that are watched and exported to."""


@connectors.command("list", cls=Command, examples=(("vvwatch connectors list --json", "for programs"),))
@client_options
def list_connectors(client: Client, *, as_json: bool) -> None:
    """List all connectors."""
    found = client.get("/connectors")
    if as_json:
        print_json({"connectors": found})
    elif found:
        print_columns([_to_row(each) for each in found], _HEADS, _SPARE, ("CONNECTOR", "WHY"))
    else:
        click.echo("there is no connector: declare one as [connectors.NAME], then reload")


@connectors.command(
    cls=Command, examples=(("vvwatch connectors test conn_incoming", "exits with 1 if it fails"),)
)
@click.argument("connector_id", metavar="ID")
@client_options
def test(client: Client, connector_id: str, *, as_json: bool) -> None:
    """Test whether a location can be listed and, for exports, written."""
    connector_id = find_id(client, connector_id, "conn")
    found = client.post(f"/connectors/{quote_segment(connector_id)}/test")
    is_good = bool(found["success"])
    if as_json:
        print_json(found)
    else:
        why = "works" if is_good else f"fails: {found['error_message']}"
        click.echo(escape_controls(f"{connector_id} {why}"))
    if not is_good:
        click.get_current_context().exit(FAILURE)


@connectors.command(
    cls=Command,
    examples=(("vvwatch connectors browse conn_rushes day-1/ --pattern '*.mxf'", "only some"),),
)
@click.argument("connector_id", metavar="ID")
@click.argument("prefix", metavar="[PREFIX]", default="")
@click.option("--pattern", metavar="GLOB", default="*", show_default=True, help="Only files of this name.")
@limit_option
@client_options
def browse(
    client: Client, connector_id: str, prefix: str, pattern: str, limit: int, *, as_json: bool
) -> None:
    """List files of a location."""
    body = {"prefix": prefix, "pattern": pattern, "limit": limit}
    found = client.post(f"/connectors/{quote_segment(find_id(client, connector_id, 'conn'))}/browse", body)
    if as_json:
        print_json({"files": found})
    elif found:
        print_columns([_to_file_row(each) for each in found], _FILE_HEADS, ("CHANGED",), "PATH")
    else:
        click.echo("no file is there")


@click.command(
    cls=Command,
    examples=(
        ("vvwatch prompts", "which prompts there are"),
        ("vvwatch prompts --json", "with their schemas"),
    ),
)
@client_options
def prompts(client: Client, *, as_json: bool) -> None:
    """List prompts, oldest first: what is asked about media, and the schema of the answer."""
    found = client.get("/prompts", active_only="false")["prompts"]
    if as_json:
        print_json({"prompts": found})
    else:
        print_columns(
            [_to_prompt_row(each) for each in found], _PROMPT_HEADS, ("VERSION", "NAME"), ("PROMPT", "TEXT")
        )


def _to_row(connector: dict[str, Any]) -> tuple[str, ...]:
    return (
        connector["connector_id"],
        connector["provider"],
        ", ".join(connector["scopes"]),
        connector["status"],
        format_ago(connector["last_tested_at"]),
        cell_text(connector["last_test_error"]),
    )


def _to_file_row(file: dict[str, Any]) -> tuple[str, ...]:
    return format_size(file["size_bytes"]), format_ago(file["last_modified"]), file["path"]


def _to_prompt_row(prompt: dict[str, Any]) -> tuple[str, ...]:
    return (
        prompt["prompt_id"],
        prompt["name"],
        str(prompt["prompt_version"]),
        "yes" if prompt["is_active"] else "no",
        " ".join(prompt["prompt_text"].split())[:200],
    )
