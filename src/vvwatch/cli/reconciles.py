"""`vvwatch reconciles`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from vvwatch.cli.asking import asking
from vvwatch.cli.client import Client, segment
from vvwatch.cli.commands import Command
from vvwatch.cli.naming import called, watched
from vvwatch.cli.output import ago, columns, duration, show_json

_HEADS = (
    "AUTOMATION",
    "SWEPT",
    "LISTED",
    "KNOWN",
    "NEW",
    "CHANGED",
    "GONE",
    "RECOVERED",
    "CALLS",
    "TOOK",
    "RESULT",
)

Report = dict[str, Any]


@click.command(
    cls=Command,
    examples=(
        ("vvwatch reconciles", "the last sweep of each automation"),
        ("vvwatch reconciles incoming --limit 50", "the latest of one, and what events had missed"),
    ),
)
@click.argument("name", metavar="[INDEX|AUTOMATION]", required=False)
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many at most.")
@asking
def reconciles(client: Client, name: str | None, *, limit: int, as_json: bool) -> None:
    """What sweeps came to, newest first: each lists all of a location and holds it against what is known.

    RECOVERED is what events should have told of and did not. One that is no proof concludes nothing about what is
    gone, and says why. Sweeps that found the same as the one before share a line.
    """
    found = _of(client, called(client, name).index_id, limit) if name else list(_last(client))
    if as_json:
        show_json({"reconciles": found})
    elif found:
        columns([_row(each) for each in found], _HEADS)
    else:
        click.echo("nothing was swept yet")


def _of(client: Client, index_id: str, limit: int) -> list[Report]:
    path = f"/indexes/{segment(index_id)}/automations/import/reconciles"
    found: list[Report] = client.get(path, limit=limit)
    return found


def _last(client: Client) -> Iterator[Report]:
    for each in watched(client):
        if each.importing:
            yield from _of(client, each.index_id, 1)


def _row(report: Report) -> tuple[str, ...]:
    counts = ("listed", "known", "created", "changed", "gone", "recovered", "list_calls")
    return (
        report["automation_id"],
        ago(report["finished_at"]),
        *(str(report[name]) for name in counts),
        duration(report["duration_seconds"]),
        result(report),
    )


def result(report: Report) -> str:
    """What the sweep proves, and why not more."""
    word = "broke off" if not report["complete"] else "complete" if report["proof"] else "no proof"
    return f"{word}: {report['remark']}" if report["remark"] else word
