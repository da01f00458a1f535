"""`vvwatch processors`: list and resume processors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from vvwatch.cli.client import Client, client_options, quote_segment
from vvwatch.cli.commands import Command, Family
from vvwatch.cli.output import escape_controls, format_cost, format_until, print_json
from vvwatch.cli.tables import print_columns

_HEADS = ("PROCESSOR", "TYPE", "STATE", "IN FLIGHT", "CALLS TODAY", "TOKENS TODAY", "COST TODAY")
_SPARE = ("TOKENS TODAY", "TYPE")

Document = dict[str, Any]


@click.group(
    cls=Family,
    examples=(
        ("vvwatch processors", "which work, what they did today, what they may still spend"),
        ("vvwatch processors resume gpt", "resume it after you solved its problem"),
    ),
)
def processors() -> None:
    """List processors, which answer prompts. One with a rejected key or no money is paused, and its work waits."""


@processors.command("list", cls=Command, examples=(("vvwatch processors list", "all that are configured"),))
@client_options
def list_processors(client: Client, *, as_json: bool) -> None:
    """List all processors in the order of the configuration."""
    found = client.get("/processors")
    if as_json:
        print_json({"processors": found})
        return
    print_columns([_to_row(each) for each in found], _HEADS, _SPARE, "PROCESSOR")
    for each in found:
        for line in (*_pause_lines(each), *_budget_lines(each)):
            click.echo(escape_controls(line))


@processors.command(
    cls=Command, examples=(("vvwatch processors resume gpt", "what waits for it is due at once"),)
)
@click.argument("name", metavar="PROCESSOR")
@client_options
def resume(client: Client, name: str, *, as_json: bool) -> None:
    """Resume a paused processor; its waiting work starts at once."""
    found = client.post(f"/processors/{quote_segment(name)}/resume")
    if as_json:
        print_json(found)
    else:
        click.echo(escape_controls(f"{found['name']} is {found['state']}"))


def _to_row(found: Document) -> tuple[str, ...]:
    today = found["today"]
    return (
        found["name"],
        found["type"],
        found["state"],
        str(found["calls_in_flight"]),
        f"{today['calls']:,}",
        f"{today['input_tokens'] + today['output_tokens']:,}",
        format_cost(today["cost_usd"], today["unpriced_calls"]),
    )


def _pause_lines(found: Document) -> Iterator[str]:
    if found["state"] == "paused":
        ends = f", ends {format_until(found['until'])}" if found["until"] else ""
        yield f"{found['name']} is paused{ends}: {found['reason']}"
        yield f"  {found['fix']}"


def _budget_lines(found: Document) -> Iterator[str]:
    for each in found["budgets"]:
        if each["used"] is not None:
            yield (
                f"{found['name']}: {each['used']:g} of {each['most']:g} used ({each['table']} {each['option']}), "
                f"resets {format_until(each['until'])}"
            )
