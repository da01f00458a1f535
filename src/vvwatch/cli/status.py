"""`vvwatch status`: the whole of it at one glance."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import click

from vvwatch.cli.asking import asking
from vvwatch.cli.client import Client
from vvwatch.cli.commands import Command
from vvwatch.cli.output import (
    ago,
    animated,
    columns,
    duration,
    epoch,
    plain,
    several,
    show_json,
    text,
    to_json,
    until,
)
from vvwatch.cli.overview import Document, overview
from vvwatch.cli.reconciles import result

_HEADS = ("AUTOMATION", "INDEX", "STATE", "SOURCE", "LAST SCAN", "WINDOW", "LAST IMPORT")
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
@asking
def status(client: Client, *, watch: bool, as_json: bool) -> None:
    """What is watched, which windows are open and when they close, what is under way, what needs you."""
    if not watch:
        _show(overview(client), as_json=as_json)
        return
    with suppress(KeyboardInterrupt):
        while True:
            _show_again(overview(client), as_json=as_json)
            time.sleep(_WATCH_SECONDS)


def _show_again(found: Document, *, as_json: bool) -> None:
    """In place of what stood on the terminal; one line an answer for programs."""
    if as_json:
        click.echo(to_json(found))
        return
    click.echo(_CLEAR if animated(sys.stdout, os.environ) else "", nl=False)
    _show(found, as_json=False)


def _show(found: Document, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    click.echo(click.style(_headline(found["daemon"]), bold=True))
    for node in found["daemon"].get("nodes", ()):
        click.echo(plain(_node(node)))
    click.echo()
    if found["automations"]:
        columns([_row(each) for each in found["automations"]], _HEADS)
    else:
        click.echo("nothing is watched yet: declare an automation (see the README), then `vvwatch check`")
    _section("watching", [line for each in found["automations"] for line in _watching(each)])
    _section("under way", list(_under_way(found["under_way"])))
    _section("needs you", list(_needs(found["attention"])))


def _headline(daemon: Document) -> str:
    since = daemon.get("started_at")
    at = epoch(since) if isinstance(since, str) else since
    running = f", up for {duration(time.time() - at)}" if at else ""
    state = "" if daemon.get("ready", True) else ", not ready"
    return plain(f"vvwatch {daemon.get('version', '')} at {daemon.get('address', '')}{running}{state}")


def _node(node: Document) -> str:
    if node["waiting"]:
        return f"  node {node['name']} is gone: last seen {_seen(node)}"
    return f"  node {node['name']} at {node['address']}, up for {duration(time.time() - node['started_at'])}"


def _seen(node: Document) -> str:
    return f"{duration(time.time() - node['seen_at'])} ago" if node["seen_at"] else "never"


def _row(automation: Document) -> tuple[str, ...]:
    watching = automation.get("watching") or {}
    source = automation["source"] or watching.get("source") or {}
    return (
        automation["automation_id"],
        automation["index_id"],
        automation["status"],
        source.get("state") or "listing" if automation["status"] == "active" else "-",
        ago(automation["last_scan_at"]),
        _window(automation["window"]),
        text(automation["last_import_job_id"]),
    )


_LEARNT: Final = {"events": "events {}", "notices": "notices of the kernel {}", "listing": ""}


def _watching(automation: Document) -> Iterator[str]:
    """How changes are learnt of, and what the last sweep came to."""
    found = automation.get("watching")
    if not found or automation["status"] != "active":
        return
    told = _LEARNT[found["learnt_by"]].format(_state(found["source"] or {}))
    listed = f"swept every {duration(found['sweep_seconds'])}" if told else _polled(found)
    yield f"{automation['automation_id']}: {', '.join(filter(None, (told, listed)))}; {_swept(found)}"
    if found["stretched"]:
        most, hot = found["max_list_calls_per_hour"], several(found["hot_prefixes"], "folder")
        yield f"  stretched, because max_list_calls_per_hour is {most}; new keys are looked for in {hot} meanwhile"
    if found["refused_messages"]:
        count = several(found["refused_messages"], "message")
        yield f"  {count} of the last day told nothing of use: `vvwatch doctor` says why"


def _state(source: Document) -> str:
    since = source.get("since")
    return f"{source.get('state', '')}{f' for {duration(time.time() - since)}' if since else ''}"


def _polled(found: Document) -> str:
    seconds = found["sweep_seconds"] if found["stretched"] else found["scan_seconds"]
    return f"polling every {duration(seconds)}"


def _swept(found: Document) -> str:
    report, coming = found["last_sweep"], f"next {until(found['next_sweep_at'])}"
    if report is None:
        return f"not swept yet, {coming}"
    counts = f"{report['listed']} listed, {report['created'] + report['changed']} new, {report['gone']} gone"
    recovered = f", {report['recovered']} recovered" if report["recovered"] else ""
    return f"last sweep {ago(report['finished_at'])} ({result(report)}: {counts}{recovered}), {coming}"


def _window(window: Document | None) -> str:
    if window is None:
        return "-"
    closes = "held" if window["held"] else f"closes {until(window['due_at'])}"
    return f"{several(window['object_count'], 'file')}, {closes}"


def _under_way(found: Document) -> Iterator[str]:
    for job in found["import_jobs"]:
        done = sum(job["progress"][name] for name in ("imported", "failed", "skipped"))
        yield f"import {job['job_id']}: {done} of {several(job['progress']['total_files'], 'file')}"
    for run in found["prompt_runs"]:
        yield f"run {run['run_id']}: {_items(run, _ENDS)} of {several(_items(run, ('total',)), 'item')}"
    for export in found["exports"]:
        waiting = f": {export['last_error']}" if export["last_error"] else ""
        yield f"export {export['export_id']}: {export['status']}{waiting}"


_ENDS = ("completed", "failed", "partial", "cancelled")


def _items(run: Document, states: tuple[str, ...]) -> int:
    return sum(int(run[f"{state}_{kind}"]) for state in states for kind in ("videos", "audios", "images"))


def _needs(attention: list[dict[str, Any]]) -> Iterator[str]:
    for each in attention:
        yield f"{each['kind'].replace('_', ' ')} {each['id']}: {each['what']}"
        if each["try"]:
            yield f"  {each['try']}"


def _section(title: str, lines: list[str]) -> None:
    if lines:
        click.echo(f"\n{click.style(title, bold=True)}")
        for line in lines:
            click.echo(f"  {plain(line)}")
