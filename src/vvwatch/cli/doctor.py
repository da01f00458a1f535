"""`vvwatch doctor`: examine everything and print remedies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import click

from vvwatch.cli.client import Client, client_options
from vvwatch.cli.commands import Command
from vvwatch.cli.failures import FAILURE, Failure
from vvwatch.cli.ids import ambiguous_id, match_names
from vvwatch.cli.output import escape_controls, pluralize, print_json

_COLOURS: Final = {"ok": "green", "warning": "yellow", "problem": "red"}
_STATE_WIDTH: Final = 7

Finding = dict[str, Any]


@click.command(
    cls=Command,
    examples=(
        ("vvwatch doctor", "examine everything and print remedies"),
        ("vvwatch doctor --fix", "repair notifications and policies of event queues"),
        ("vvwatch doctor incoming", "only this connector and what uses it"),
    ),
)
@click.argument("name", metavar="[CONNECTOR]", required=False)
@click.option("--fix", is_flag=True, help="Repair what can be repaired first, without asking.")
@client_options
def doctor(client: Client, name: str | None, *, fix: bool, as_json: bool) -> None:
    """Examine the host, the database, processors, connectors, event queues, automations and webhooks.

    Exit code 0 if there is no problem, 1 if there is one. The daemon examines, with its own rights.
    """
    connector_id = _find_connector(client, name) if name else None
    repaired = _repair(client, connector_id) if fix else []
    found = client.get("/doctor", connector_id=connector_id)
    if as_json:
        print_json({**found, "repaired": repaired})
    else:
        _print_findings(found["findings"], repaired, fix=fix)
    click.get_current_context().exit(FAILURE if found["state"] == "problem" else 0)


def _find_connector(client: Client, name: str) -> str:
    """Return the id of the connector called `name`. Raises Failure for none, or several."""
    there = client.get("/connectors")
    ids = [each["connector_id"] for each in there if name in _connector_names(each)]
    ids = ids or [each["connector_id"] for each in there if match_names(name, _connector_names(each))]
    if len(ids) > 1:
        raise ambiguous_id(name, ids)
    if not ids:
        known = ", ".join(each["connector_id"] for each in there)
        hint = f"there is: {known}" if known else "declare one, then reload"
        raise Failure(f"no connector is called {name!r}", hint)
    return str(ids[0])


def _connector_names(connector: dict[str, Any]) -> tuple[str, ...]:
    identifier = connector["connector_id"]
    return identifier, identifier.partition("_")[2], connector["name"]


def _repair(client: Client, connector_id: str | None) -> list[Finding]:
    path = "/doctor/repair" + (f"?connector_id={connector_id}" if connector_id else "")
    repaired: list[Finding] = client.post(path)["repaired"]
    return repaired


def _print_findings(findings: list[Finding], repaired: list[Finding], *, fix: bool) -> None:
    for each in repaired:
        click.echo(f"{click.style('repaired', fg='green')}  {escape_controls(_describe_finding(each))}")
    for title in dict.fromkeys(map(_finding_title, findings)):
        click.echo(click.style(escape_controls(title), bold=True))
        for line in _format_findings(each for each in findings if _finding_title(each) == title):
            click.echo(line)
    counts = [sum(each["state"] == state for each in findings) for state in ("problem", "warning")]
    click.echo(f"\n{pluralize(counts[0], 'problem')}, {pluralize(counts[1], 'warning')}")
    if not fix and any(each["repairable"] and each["state"] != "ok" for each in findings):
        click.echo("`vvwatch doctor --fix` repairs some of it")


def _finding_title(finding: Finding) -> str:
    return f"{finding['about']} {finding['id']}".strip()


def _describe_finding(finding: Finding) -> str:
    return f"{_finding_title(finding)}, {finding['subject']}: {finding['detail']}"


def _format_findings(findings: Iterable[Finding]) -> Iterator[str]:
    for each in findings:
        state = click.style(f"{each['state']:<{_STATE_WIDTH}}", fg=_COLOURS.get(each["state"]))
        yield f"  {state}  {escape_controls(each['subject'])}: {escape_controls(each['detail'])}"
        if each["fix"]:
            yield f"  {'':<{_STATE_WIDTH}}  {escape_controls(each['fix'])}"
