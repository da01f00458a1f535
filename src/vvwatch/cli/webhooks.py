"""`vvwatch webhooks` and `deliveries`: list and test receivers, and see what each was sent."""

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
    format_until,
    print_json,
)
from vvwatch.cli.tables import print_columns

_HEADS = ("WEBHOOK", "STATUS", "FAILURES", "LAST SUCCESS", "EVENTS", "URL")
_SPARE = ("EVENTS", "LAST SUCCESS")
_DELIVERY_HEADS = ("DELIVERY", "WEBHOOK", "EVENT", "STATUS", "ATTEMPTS", "NEXT", "CREATED", "WHY")
_DELIVERY_SPARE = ("ATTEMPTS", "NEXT", "WEBHOOK", "CREATED")
_ATTEMPT_HEADS = ("ATTEMPT", "STARTED", "SECONDS", "ANSWER", "WHY")
_MOST_DELIVERIES = 100


@click.group(
    cls=Family,
    examples=(
        ("vvwatch webhooks", "which receivers there are, and whether they accept"),
        ("vvwatch webhooks test wh_newsroom", "send one a signed test event now"),
    ),
)
def webhooks() -> None:
    """List webhooks, the receivers of events."""


@webhooks.command("list", cls=Command, examples=(("vvwatch webhooks list --json", "for programs"),))
@client_options
def list_webhooks(client: Client, *, as_json: bool) -> None:
    """List all webhooks."""
    found = client.get("/webhooks")
    if as_json:
        print_json({"webhooks": found})
    elif found:
        print_columns([_to_row(each) for each in found], _HEADS, _SPARE, ("WEBHOOK", "URL"))
    else:
        click.echo("there is no webhook: declare one as [webhooks.NAME], or POST /api/v2/webhooks")


@webhooks.command(cls=Command, examples=(("vvwatch webhooks test wh_newsroom", "exits with 1 if it fails"),))
@click.argument("webhook_id", metavar="ID")
@client_options
def test(client: Client, webhook_id: str, *, as_json: bool) -> None:
    """Send a signed test event now, and say what the receiver answered."""
    webhook_id = find_id(client, webhook_id, "wh")
    found = client.post(f"/webhooks/{quote_segment(webhook_id)}/test")
    if as_json:
        print_json(found)
    else:
        answer = f"answered {found['status_code']}" if found["status_code"] else "gave no answer"
        why = f": {found['error']}" if found["error"] else ""
        click.echo(escape_controls(f"{webhook_id} {answer}{why}"))
    if not found["success"]:
        click.get_current_context().exit(FAILURE)


@click.group(
    cls=Family,
    examples=(
        ("vvwatch deliveries", "the latest of every webhook"),
        ("vvwatch deliveries --webhook wh_newsroom --status failed", "what one receiver did not get"),
        ("vvwatch deliveries show del_…", "one, attempt by attempt"),
    ),
)
def deliveries() -> None:
    """List deliveries, each one event for one webhook."""


@deliveries.command("list", cls=Command, examples=(("vvwatch deliveries list --limit 5", "the latest five"),))
@click.option("--webhook", "webhook_id", metavar="ID", help="Only those of this webhook.")
@click.option(
    "--status", metavar="STATUS", help="pending, processing, retrying, delivered or failed.", default=None
)
@limit_option
@client_options
def list_deliveries(
    client: Client, webhook_id: str | None, status: str | None, limit: int, *, as_json: bool
) -> None:
    """List the latest deliveries, newest first."""
    if webhook_id:
        ids = [find_id(client, webhook_id, "wh")]
    else:
        ids = [each["webhook_id"] for each in client.get("/webhooks")]
    found: list[dict[str, Any]] = []
    for each in ids:
        path = f"/webhooks/{quote_segment(each)}/deliveries"
        found += client.get(path, status=status, limit=min(limit, _MOST_DELIVERIES))
    found = sorted(found, key=lambda each: str(each["delivery_id"]), reverse=True)[:limit]
    if as_json:
        print_json({"deliveries": found})
    elif found:
        print_columns(
            [_to_delivery_row(each) for each in found], _DELIVERY_HEADS, _DELIVERY_SPARE, ("WEBHOOK", "WHY")
        )
    else:
        click.echo("there is no such delivery" if status or webhook_id else "there was no delivery yet")


@deliveries.command(cls=Command, examples=(("vvwatch deliveries show del_…", "with the receiver's answers"),))
@click.argument("delivery_id", metavar="ID")
@client_options
def show(client: Client, delivery_id: str, *, as_json: bool) -> None:
    """Show one delivery with all its attempts."""
    found = client.get(f"/webhooks/deliveries/{quote_segment(find_id(client, delivery_id, 'del'))}")
    if as_json:
        print_json(found)
        return
    if print_columns([_to_delivery_row(found)], _DELIVERY_HEADS, _DELIVERY_SPARE, ("WEBHOOK", "WHY")):
        click.echo(escape_controls(_to_delivery_row(found)[-1]))
    if found["attempt_log"]:
        click.echo()
        print_columns([_to_attempt_row(each) for each in found["attempt_log"]], _ATTEMPT_HEADS, (), "WHY")
    if found["status"] == "failed":
        click.echo("\nsend it again: vvwatch retry " + escape_controls(found["delivery_id"]))


def _to_row(webhook: dict[str, Any]) -> tuple[str, ...]:
    return (
        webhook["webhook_id"],
        webhook["status"],
        str(webhook["failure_count"]),
        format_ago(webhook["last_success_at"]),
        str(len(webhook["events"])),
        webhook["url"],
    )


def _to_delivery_row(delivery: dict[str, Any]) -> tuple[str, ...]:
    return (
        delivery["delivery_id"],
        delivery["webhook_id"],
        delivery["event_type"],
        delivery["status"],
        str(delivery["attempts"]),
        format_until(delivery["next_retry_at"]),
        format_ago(delivery["created_at"]),
        cell_text(delivery["error_message"]),
    )


def _to_attempt_row(attempt: dict[str, Any]) -> tuple[str, ...]:
    seconds = attempt["duration_seconds"]
    return (
        str(attempt["number"]),
        format_ago(attempt["started_at"]),
        "-" if seconds is None else f"{seconds:.3f}",
        cell_text(attempt["response_status_code"]),
        cell_text(attempt["error_message"]),
    )
