"""`vvwatch reconciles`: list reports of full scans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from vvwatch.cli.client import Client, client_options, quote_segment
from vvwatch.cli.commands import Command, limit_option
from vvwatch.cli.lookup import find_by_name
from vvwatch.cli.output import escape_controls, format_ago, format_duration, print_json
from vvwatch.cli.tables import print_columns

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
_SPARE = ("CALLS", "TOOK", "RECOVERED", "KNOWN", "CHANGED")

Report = dict[str, Any]


@click.command(
    cls=Command,
    examples=(
        ("vvwatch reconciles", "the last full scan of each automation"),
        ("vvwatch reconciles incoming --limit 50", "the latest of one, and what events had missed"),
    ),
)
@click.argument("name", metavar="[INDEX|AUTOMATION]", required=False)
@limit_option
@client_options
def reconciles(client: Client, name: str | None, *, limit: int, as_json: bool) -> None:
    """List full scans, newest first. Each compares a whole listing with the ledger.

    RECOVERED counts objects that events missed. A scan without proof counts nothing as gone, and says why.
    Consecutive scans with equal results share a line.
    """
    found = (
        _fetch_reports(client, find_by_name(client, name).index_id, limit)
        if name
        else client.get("/reconciles")
    )
    if as_json:
        print_json({"reconciles": found})
    elif found:
        print_columns([_to_row(each) for each in found], _HEADS, _SPARE, "AUTOMATION")
        _print_remarks(found)
    else:
        click.echo("there was no full scan yet")


def _fetch_reports(client: Client, index_id: str, limit: int) -> list[Report]:
    path = f"/indexes/{quote_segment(index_id)}/automations/import/reconciles"
    found: list[Report] = client.get(path, limit=limit)
    return found


def _to_row(report: Report) -> tuple[str, ...]:
    counts = ("listed", "known", "created", "changed", "gone", "recovered", "list_calls")
    return (
        report["automation_id"],
        format_ago(report["finished_at"]),
        *(str(report[name]) for name in counts),
        format_duration(report["duration_seconds"]),
        _result_word(report),
    )


def _print_remarks(found: list[Report]) -> None:
    """Print below the table why a scan proves no more, and oddities of the store."""
    for report in found:
        reason = [report["remark"]] if report["remark"] else []
        if notes := [*reason, *format_left_out(report), *report["store_notes"]]:
            head = f"{report['automation_id']}, {format_ago(report['finished_at'])}: {_result_word(report)}"
            click.echo(
                "\n".join(["", escape_controls(head), *(f"  {escape_controls(each)}" for each in notes)])
            )


def _result_word(report: Report) -> str:
    return "broke off" if not report["complete"] else "complete" if report["proof"] else "no proof"


def format_result(report: Report) -> str:
    """Return what the scan proves, and why not more."""
    return f"{_result_word(report)}: {report['remark']}" if report["remark"] else _result_word(report)


def format_left_out(report: Report) -> Iterator[str]:
    """Return how many entries of the listing cannot be objects, by reason."""
    for each in report["left_out"]:
        yield f"left out: {each['count']}, {each['explanation']}"
