"""`vvwatch processors`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from vvwatch.cli.client import Client, segment
from vvwatch.cli.client_options import asking
from vvwatch.cli.commands import Command, Family
from vvwatch.cli.output import columns, dollars, plain, show_json, until

_HEADS = ("PROCESSOR", "TYPE", "STATE", "IN FLIGHT", "CALLS TODAY", "TOKENS TODAY", "COST TODAY")
_SPARE = ("TOKENS TODAY", "TYPE")

Document = dict[str, Any]


@click.group(
    cls=Family,
    examples=(
        ("vvwatch processors", "which work, what they did today, what they may still spend"),
        ("vvwatch processors resume gpt", "let one go on after its trouble is mended"),
    ),
)
def processors() -> None:
    """Processors: who answers the prompts. One that is refused, or out of money, is paused, and all work waits."""


@processors.command("list", cls=Command, examples=(("vvwatch processors list", "all that are configured"),))
@asking
def list_processors(client: Client, *, as_json: bool) -> None:
    """All processors, in the order of the configuration."""
    found = client.get("/processors")
    if as_json:
        show_json({"processors": found})
        return
    columns([_row(each) for each in found], _HEADS, _SPARE, "PROCESSOR")
    for each in found:
        for line in (*_pause(each), *_budgets(each)):
            click.echo(plain(line))


@processors.command(
    cls=Command, examples=(("vvwatch processors resume gpt", "what waits for it is due at once"),)
)
@click.argument("name", metavar="PROCESSOR")
@asking
def resume(client: Client, name: str, *, as_json: bool) -> None:
    """Let a paused processor go on; what waits for it is due at once."""
    found = client.post(f"/processors/{segment(name)}/resume")
    if as_json:
        show_json(found)
    else:
        click.echo(plain(f"{found['name']} is {found['state']}"))


def _row(found: Document) -> tuple[str, ...]:
    today = found["today"]
    return (
        found["name"],
        found["type"],
        found["state"],
        str(found["calls_in_flight"]),
        f"{today['calls']:,}",
        f"{today['input_tokens'] + today['output_tokens']:,}",
        dollars(today["cost_usd"], today["unpriced_calls"]),
    )


def _pause(found: Document) -> Iterator[str]:
    if found["state"] == "paused":
        ends = f", ends {until(found['until'])}" if found["until"] else ""
        yield f"{found['name']} is paused{ends}: {found['reason']}"
        yield f"  {found['fix']}"


def _budgets(found: Document) -> Iterator[str]:
    for each in found["budgets"]:
        if each["used"] is not None:
            yield (
                f"{found['name']}: {each['used']:g} of {each['most']:g} used ({each['table']} {each['option']}), "
                f"begins anew {until(each['until'])}"
            )
