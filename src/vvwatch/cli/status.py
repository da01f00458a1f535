"""`vvwatch status`: show everything at a glance."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import click

from vvwatch.cli.client import Client, client_options
from vvwatch.cli.commands import Command
from vvwatch.cli.failures import FAILURE
from vvwatch.cli.output import (
    cell_text,
    escape_controls,
    format_ago,
    format_duration,
    format_until,
    is_terminal,
    parse_moment,
    pluralize,
    print_json,
    to_json,
)
from vvwatch.cli.scans import format_left_out, format_result
from vvwatch.cli.tables import print_columns

_HEADS = ("AUTOMATION", "INDEX", "STATE", "SOURCE", "LAST SCAN", "WINDOW", "LAST IMPORT")
_SPARE = ("LAST IMPORT", "INDEX")
_WATCH_SECONDS = 2.0
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


@click.command(
    cls=Command,
    examples=(
        ("vvwatch status", "what it watches, what is under way, what needs you"),
        ("vvwatch status --watch", "the same, every two seconds"),
        ("vvwatch status --watch --json", "one JSON object a line"),
    ),
)
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@client_options
def status(client: Client, *, watch: bool, as_json: bool) -> None:
    """Show what is watched, open windows, work under way, and what needs you.

    Exit code 1 if the database takes no writes: then no work is done.
    """
    if not watch:
        found = fetch_overview(client)
        _print_status(found, as_json=as_json)
        click.get_current_context().exit(0 if _is_database_writable(found) else FAILURE)
    with suppress(KeyboardInterrupt):
        while True:
            _redraw(fetch_overview(client), as_json=as_json)
            time.sleep(_WATCH_SECONDS)


def _is_database_writable(found: Document) -> bool:
    return bool((found["daemon"].get("database") or {}).get("writable", True))


def _redraw(found: Document, *, as_json: bool) -> None:
    """Replace the output on the terminal; for programs print one line an answer."""
    if as_json:
        click.echo(to_json(found))
        return
    click.echo(_CLEAR if is_terminal(sys.stdout, os.environ) else "", nl=False)
    _print_status(found, as_json=False)


def _print_status(found: Document, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    click.echo(click.style(_format_headline(found["daemon"]), bold=True))
    for node in found["daemon"].get("nodes") or ():
        click.echo(escape_controls(_format_node(node)))
    click.echo()
    if found["automations"]:
        print_columns([_to_row(each) for each in found["automations"]], _HEADS, _SPARE, "AUTOMATION")
    else:
        click.echo("nothing is watched yet: `vvwatch init` writes a configuration to start from")
    _print_section("watching", [line for each in found["automations"] for line in _watching_lines(each)])
    _print_section("under way", list(_work_lines(found["under_way"])))
    _print_section("needs you", [*_attention_lines(found["attention"]), *_older_failure_lines(found)])


def _format_headline(daemon: Document) -> str:
    at = parse_moment(daemon.get("started_at"))
    running = f", up for {format_duration(time.time() - at)}" if at else ""
    state = "" if daemon.get("ready", True) else ", not ready"
    return escape_controls(
        f"vvwatch {daemon.get('version', '')} at {daemon.get('address', '')}{running}{state}"
    )


def _format_node(node: Document) -> str:
    if node["waiting"] or node.get("lost_at"):
        return f"  node {node['name']} is lost: last seen {_format_seen(node)}"
    at = parse_moment(node["started_at"])
    running = f", up for {format_duration(time.time() - at)}" if at else ""
    return f"  node {node['name']} at {node['address']}{running}"


def _format_seen(node: Document) -> str:
    return format_ago(node["seen_at"]) if node["seen_at"] else "never"


def _to_row(automation: Document) -> tuple[str, ...]:
    source = (automation["watching"] or {}).get("source") or {}
    return (
        automation["automation_id"],
        automation["index_id"],
        automation["status"],
        source.get("state") or "listing" if automation["status"] == "active" else "-",
        _format_last_scan(automation),
        _format_window(automation["window"]),
        cell_text(automation["last_import_job_id"]),
    )


def _format_last_scan(automation: Document) -> str:
    since = automation["failing_since"]
    if since and automation["status"] == "active":
        return f"failing since {format_ago(since)}"
    return format_ago(automation["last_scan_at"])


_LEARNT: Final = {"events": "events {}", "notices": "notices of the kernel {}", "listing": ""}


def _watching_lines(automation: Document) -> Iterator[str]:
    """Return how changes are found, and the result of the last full scan."""
    yield from _learning_lines(automation)
    yield from (f"{automation['automation_id']}: {remark}" for remark in automation["remarks"])


def _learning_lines(automation: Document) -> Iterator[str]:
    found = automation["watching"]
    if not found:
        return
    learnt = _LEARNT[found["learnt_by"]].format(_format_source_state(found["source"] or {}))
    listed = (
        f"full scan every {format_duration(found['sweep_seconds'])}" if learnt else _format_polling(found)
    )
    yield f"{automation['automation_id']}: {', '.join(filter(None, (learnt, listed)))}; {_format_last_full_scan(found)}"
    if found["stretched"]:
        most, hot = found["max_list_calls_per_hour"], pluralize(found["hot_prefixes"], "folder")
        yield f"  stretched, because max_list_calls_per_hour is {most}; new keys are looked for in {hot} meanwhile"
    report = found["last_sweep"] or {"left_out": (), "store_notes": ()}
    for note in (*format_left_out(report), *report["store_notes"]):
        yield f"  {note}"
    if found["refused_messages"]:
        count = pluralize(found["refused_messages"], "message")
        yield f"  {count} of the last day had no usable content: `vvwatch doctor` says why"


def _format_source_state(source: Document) -> str:
    since = parse_moment(source.get("since"))
    return f"{source.get('state', '')}{f' for {format_duration(time.time() - since)}' if since else ''}"


def _format_polling(found: Document) -> str:
    seconds = found["sweep_seconds"] if found["stretched"] else found["scan_seconds"]
    return f"polling every {format_duration(seconds)}"


def _format_last_full_scan(found: Document) -> str:
    report, coming = found["last_sweep"], f"next {format_until(found['next_sweep_at'])}"
    if report is None:
        return f"not fully scanned yet, {coming}"
    counts = f"{report['listed']} listed, {report['created'] + report['changed']} new, {report['gone']} gone"
    recovered = f", {report['recovered']} recovered" if report["recovered"] else ""
    proof = format_result(report)
    return f"last full scan {format_ago(report['finished_at'])} ({proof}: {counts}{recovered}), {coming}"


def _format_window(window: Document | None) -> str:
    if window is None:
        return "-"
    closes = "held" if window["held"] else f"closes {format_until(window['due_at'])}"
    return f"{pluralize(window['object_count'], 'file')}, {closes}"


_WORK: Final = (
    ("import_jobs", "import", "file"),
    ("prompt_runs", "run", "item"),
    ("exports", "export", ""),
)


def _work_lines(found: Document) -> Iterator[str]:
    for name, what, noun in _WORK:
        work = found.get(name) or {"count": 0, "newest": []}
        yield from (_format_progress(each, what, noun) for each in work["newest"])
        if work["count"] > len(work["newest"]):
            yield f"and {work['count'] - len(work['newest']):,} more {what}s"


def _format_progress(each: Document, what: str, noun: str) -> str:
    waiting = f": {each['trouble']}, next try {format_until(each['next_try_at'])}" if each["trouble"] else ""
    done = f"{each['done']} of {pluralize(each['total'], noun)}" if noun else each["status"]
    return f"{what} {each['id']}: {done}{waiting}"


def _attention_lines(attention: list[dict[str, Any]]) -> Iterator[str]:
    """Return one line a problem; equal problems share a line."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in attention:
        alike.setdefault((each["kind"], each["what"], each["try"]), []).append(each)
    for each, *others in alike.values():
        again = f"; next try {format_until(each['next_try_at'])}" if each.get("next_try_at") else ""
        more = f" and {len(others):,} more" if others else ""
        named = "" if each["id"] == each["kind"] else f" {each['id']}"
        yield f"{each['kind'].replace('_', ' ')}{named}{more}: {each['what']}{again}"
        if each["try"]:
            yield f"  {each['try']}"


_COUNTED: Final = (
    ("import_job", "import_jobs"),
    ("prompt_run", "prompt_runs"),
    ("export", "exports"),
)


def _older_failure_lines(found: Document) -> Iterator[str]:
    """Return how many more failures there are, and how to dismiss them."""
    attention, counts = found["attention"], found["daemon"].get("attention_counts") or {}
    for kind, name in _COUNTED:
        shown = sum(each.get("alike", 1) for each in attention if each["kind"] == kind)
        if counts.get(name, 0) > shown:
            yield f"and {counts[name] - shown:,} older {name.replace('_', ' ')} that failed"
    if any(each.get("dismissable") for each in attention):
        yield "`vvwatch dismiss ID` when you have seen what failed"


def _print_section(title: str, lines: list[str]) -> None:
    if lines:
        click.echo(f"\n{click.style(title, bold=True)}")
        for line in lines:
            click.echo(f"  {escape_controls(line)}")


Document = dict[str, Any]
_PARTS: Final = ("automations", "work", "attention")


def fetch_overview(client: Client) -> Document:
    """Return `daemon`, `automations`, `under_way` and `attention`, whose items name the next command."""
    found = client.get("/status")
    return {
        "daemon": {name: value for name, value in found.items() if name not in _PARTS},
        "automations": found.get("automations") or [],
        "under_way": found.get("work") or {},
        "attention": [_fetch_attention(each) for each in found.get("attention") or ()],
    }


def _fetch_attention(found: Document) -> Document:
    rest = {
        name: value for name, value in found.items() if name not in ("fix", "kind", "attention_id", "what")
    }
    return {
        "kind": found["kind"],
        "id": found["attention_id"],
        "what": found["what"],
        "try": found["fix"],
        **rest,
    }
