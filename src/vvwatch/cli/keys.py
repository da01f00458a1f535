"""`vvwatch keys`: manage API keys."""

from __future__ import annotations

from typing import Any

import click

from vvwatch.cli.client import Client, client_options, quote_segment
from vvwatch.cli.commands import Command, Family, WholeNumber
from vvwatch.cli.ids import find_id
from vvwatch.cli.output import escape_controls, format_ago, format_until, print_json
from vvwatch.cli.tables import print_columns

_HEADS = ("KEY", "NAME", "BEGINS WITH", "SCOPES", "CREATED", "LAST USED", "EXPIRES", "STATE")
_SPARE = ("BEGINS WITH", "CREATED", "EXPIRES")
_SCOPES = ("search", "read", "write", "admin")


@click.group(
    cls=Family,
    examples=(
        ("vvwatch keys create ci --scope read", "a key, shown this once"),
        ("vvwatch keys", "all keys, without themselves"),
        ("vvwatch keys revoke key_…", "make one worthless, for good"),
    ),
)
def keys() -> None:
    """Manage API keys. Each scope includes the ones before: search < read < write < admin."""


@keys.command(
    cls=Command,
    examples=(
        ("vvwatch keys create ci --scope read", "may look at everything"),
        ("vvwatch keys create n8n --scope write --expires 90", "may change things, for ninety days"),
    ),
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(_SCOPES),
    multiple=True,
    default=("read",),
    help="May be repeated.  [read]",
)
@click.option("--expires", "days", type=WholeNumber(1, 365), metavar="DAYS", help="When it ceases to work.")
@client_options
def create(client: Client, name: str, scopes: tuple[str, ...], days: int | None, *, as_json: bool) -> None:
    """Create a key called NAME and print it. It is never shown again."""
    body = {"name": name, "scopes": list(scopes)} | ({"expires_in_days": days} if days else {})
    made = client.post("/api-keys", body)
    if as_json:
        print_json(made)
        return
    click.echo(made["key"])
    click.echo(
        f"{made['key_id']} ({', '.join(made['scopes'])}): keep it now, it is not shown again", err=True
    )


@keys.command("list", cls=Command, examples=(("vvwatch keys list", "all keys, without themselves"),))
@client_options
def list_keys(client: Client, *, as_json: bool) -> None:
    """List all keys, oldest first."""
    found = client.get("/api-keys")
    if as_json:
        print_json({"keys": found})
    elif found:
        print_columns([_to_row(each) for each in found], _HEADS, _SPARE, "NAME")
    else:
        click.echo("there are no keys")


@keys.command(cls=Command, examples=(("vvwatch keys revoke key_…", "by the id that `vvwatch keys` shows"),))
@click.argument("key_id", metavar="ID")
@client_options
def revoke(client: Client, key_id: str, *, as_json: bool) -> None:
    """Revoke a key for good."""
    revoked = client.post(f"/api-keys/{quote_segment(find_id(client, key_id, 'key'))}/revoke")
    if as_json:
        print_json(revoked)
    else:
        click.echo(f"{escape_controls(revoked['key_id'])} ({escape_controls(revoked['name'])}) is revoked")


def _to_row(key: dict[str, Any]) -> tuple[str, ...]:
    return (
        key["key_id"],
        key["name"],
        f"{key['key_prefix']}…",
        ", ".join(key["scopes"]),
        format_ago(key["created_at"]),
        format_ago(key["last_used_at"]),
        format_until(key["expires_at"]) if key["expires_at"] else "never",
        "active" if key["is_active"] else "revoked" if key["revoked_at"] else "expired",
    )
