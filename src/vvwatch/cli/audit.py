"""`vvwatch audit`: list who changed what, and who was refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from vvwatch.cli.client import Client, client_options
from vvwatch.cli.commands import Command, WholeNumber
from vvwatch.cli.ids import WORK, find_id
from vvwatch.cli.output import format_ago, print_json
from vvwatch.cli.tables import print_columns
from vvwatch.core.durations import parse_duration
from vvwatch.errors import InvalidInput

_HEADS: Final = ("WHEN", "WHO", "ACTION", "RESOURCE", "DETAILS", "ROUTE", "ADDRESS", "REQUEST")
_SPARE: Final = ("REQUEST", "ROUTE", "DETAILS")
_PER_PAGE: Final = 200
_MOST: Final = 100_000
_NOBODYS_KEY: Final = ("config", "cli", "daemon")

Entry = dict[str, Any]


class Moment(click.ParamType[str]):
    """An ISO moment or an age such as `2h`; converts to the form of the API."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the moment as ISO-8601; a time without a zone is local time."""
        try:
            return (datetime.now(UTC) - timedelta(seconds=parse_duration(value))).isoformat()
        except InvalidInput:
            pass
        try:
            return datetime.fromisoformat(value).astimezone().isoformat()
        except ValueError:
            self.fail(
                f"{value!r} is neither a duration (2h, 7d) nor a moment (2026-09-21T14:00Z)", param, ctx
            )


@click.command(
    cls=Command,
    examples=(
        ("vvwatch audit", "who changed what, newest first"),
        ("vvwatch audit --action key", "all that was done to API keys"),
        ("vvwatch audit --action request.refused --since 24h", "who was refused, how often and why"),
    ),
)
@click.option(
    "--key", "actor", metavar="ID", help="Only what this API key did, by its id; or config, cli, daemon."
)
@click.option(
    "--action",
    metavar="ACTION",
    help="Only this, such as index.deleted; index: all that was done to indexes.",
)
@click.option("--resource", metavar="ID", help="Only what was done to the resource with this id.")
@click.option("--since", type=Moment(), metavar="WHEN", help="From then on: 2h, 7d, or an ISO moment.")
@click.option("--until", type=Moment(), metavar="WHEN", help="Before then.")
@click.option(
    "--limit",
    type=WholeNumber(1, _MOST),
    metavar="N",
    default=50,
    show_default=True,
    help="How many at most.",
)
@client_options
def audit(client: Client, *, resource: str | None, limit: int, as_json: bool, **query: str | None) -> None:
    """List who created, changed, deleted, paused or retried what, newest first, and who was refused."""
    actor = query.get("actor")
    query["actor"] = find_id(client, actor, "key") if actor and actor not in _NOBODYS_KEY else actor
    resource = find_id(client, resource, *WORK) if resource else None
    found = list(_list_entries(client, limit, {**query, "resource_id": resource}))
    if as_json:
        print_json({"audit": found})
    elif found:
        print_columns(
            [_to_row(each) for each in found], _HEADS, _SPARE, ("WHO", "ACTION", "RESOURCE", "DETAILS")
        )
    else:
        click.echo("the audit trail has no such entry; refused requests are written to it once a minute")


def _list_entries(client: Client, limit: int, query: dict[str, str | None]) -> Iterator[Entry]:
    """Return the newest entries, reading as many pages as needed."""
    cursor = None
    while limit > 0:
        page = client.get("/audit", **query, limit=min(limit, _PER_PAGE), cursor=cursor)
        yield from page["data"]
        limit -= len(page["data"])
        cursor = page["pagination"]["next_cursor"]
        if cursor is None:
            return


def _to_row(entry: Entry) -> tuple[str, ...]:
    times = f" x{entry['times']}" if entry["times"] > 1 else ""
    name = f" ({entry['actor_name']})" if entry["actor_name"] else ""
    return (
        format_ago(entry["last_at"]),
        f"{entry['actor'] or '-'}{name}",
        entry["action"] + times,
        entry["resource_id"] or "-",
        _format_details(entry["details"]) or "-",
        entry["route"] or "-",
        entry["address"] or "-",
        entry["request_id"] or "-",
    )


def _format_details(details: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in details.items()
    )
