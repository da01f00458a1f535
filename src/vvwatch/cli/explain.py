"""`vvwatch explain`: show an object's history."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

import click

from vvwatch.cli.client import Client, connect, daemon_options
from vvwatch.cli.commands import Command
from vvwatch.cli.output import escape_controls, format_ago, format_size, format_until, pluralize, print_json

_LABEL_WIDTH = 9


@click.command(
    cls=Command,
    examples=(
        ("vvwatch explain ./incoming/clip.mp4", "why this file was imported, or was not"),
        ("vvwatch explain file:///data/incoming/clip.mp4 --json", "the same, for programs"),
    ),
)
@click.argument("target", metavar="URI|PATH")
@daemon_options
def explain(target: str, url: str | None, state: str | None, config: str | None, *, as_json: bool) -> None:
    """Show an object's history: found, filtered, window, import, prompt run, export, webhooks.

    If a `vvwatch dev` watches PATH, asks that one.
    """
    found = connect_about(target, url, state, config).get("/explain", uri=to_address(target))
    if as_json:
        print_json(found)
        return
    for line in _format_places(found):
        click.echo(escape_controls(line))


def connect_about(target: str, url: str | None, state: str | None, config: str | None) -> Client:
    """Return a client for the `vvwatch dev` that watches the file, else for the daemon that `connect` finds."""
    if url is None and state is None and config is None:
        state = _find_dev_state(target, os.environ)
    return connect(url, state, config, os.environ)


def _find_dev_state(target: str, environ: Mapping[str, str]) -> str | None:
    """Return the state directory of the running `vvwatch dev` that watches the file, unless a daemon is named."""
    given = environ.get("VVWATCH_STATE_DIR") or environ.get("VVWATCH_CONFIG")
    path = unquote(target.removeprefix("file://"))
    if given or "://" in path:
        return None
    from vvwatch.cli.dev_config import state_above  # noqa: PLC0415  # as slow as all that reads configurations

    found = state_above(path, environ)
    return None if found is None else str(found)


def to_address(target: str) -> str:
    """Return an address unchanged, a path as an absolute one."""
    if "://" in target:
        return target
    path = os.path.abspath(target)  # noqa: PTH100  # `..` is resolved, links are left to the daemon
    try:
        path.encode()
    except UnicodeEncodeError:
        return f"file://{quote(os.fsencode(path))}"
    return path


def _format_places(found: dict[str, Any]) -> Iterator[str]:
    for place in found["places"]:
        yield place["uri"]
        yield _format_line("now", _format_object_state(place["standing"]), 2)
        if not place["indexes"]:
            yield _format_line("", f"no automation watches {place['connector_id']}", 2)
        for index in place["indexes"]:
            yield _format_line(index["index_id"], index["conclusion"], 2)
            for version in index["versions"]:
                yield from _format_version(version)


def _format_line(label: str, words: str, indent: int) -> str:
    return f"{'':{indent}}{label:<{_LABEL_WIDTH}} {words}"


def _format_object_state(standing: dict[str, Any]) -> str:
    if standing["exists"] is None:
        return f"unknown: {standing['error']}"
    if not standing["exists"]:
        return standing["error"] or "there is no importable object"
    return f"{format_size(standing['size_bytes'])}, changed {format_ago(standing['modified_at'])}"


def _format_version(version: dict[str, Any]) -> Iterator[str]:
    yield _format_line("version", version["version"] + _format_presence(version), 4)
    if version["window_id"]:
        yield _format_line("window", f"{version['window_id']} {_format_window(version)}", 6)
    if version["import_job_id"] and version["file_status"]:
        why = version["file_message"] or version["file_reason"]
        words = f"{version['import_job_id']} {version['file_status']}" + (f": {why}" if why else "")
        yield _format_line("import", words, 6)
    if version["video"]:
        yield _format_line("media", f"{version['video']['video_id']} {version['video']['status']}", 6)
    yield from _format_outcomes(version)


_PROOFS: Final = {
    "sweeps": "two full scans missed it",
    "event": "an event said so",
    "person": "a person accepted that it is missing",
}


def _format_presence(version: dict[str, Any]) -> str:
    if version["gone_at"]:
        proof = _PROOFS.get(version["gone_proof"])
        return f" (gone, {format_ago(version['gone_at'])}{f': {proof}' if proof else ''})"
    if version["absent_since"]:
        return f" (missed by the full scan of {format_ago(version['absent_since'])})"
    return " (the current one)" if version["is_current"] else ""


def _format_window(version: dict[str, Any]) -> str:
    if version["window_held"]:
        return "is held open"
    if version["window_state"] == "open":
        return f"is open, closes {format_until(version['window_due_at'])}"
    return f"closed ({version['window_reason']})"


def _format_run(run: dict[str, Any]) -> Iterator[str]:
    by = f" by {run['processor']}" if run["processor"] else ""
    ended = run["status"] not in ("pending", "processing")
    segments = f", {pluralize(run['segment_count'], 'segment')}" if ended else ""
    error = f": {run['error_message']}" if run["error_message"] else ""
    yield _format_line("run", f"{run['run_id']} {run['status']}{by}{segments}{error}", 6)
    for each in run["failed_segments"]:
        times = f"{each['start_time']:.10g} to {each['end_time']:.10g} s"
        yield _format_line("failed", f"{times}: {each['error']}", 8)
    if run["status"] == "failed" or run["failed_segments"] or run["error_code"] == "video_level_failed":
        yield _format_line("retry", f"vvwatch retry {run['run_id']}", 8)


def _format_outcomes(version: dict[str, Any]) -> Iterator[str]:
    for run in version["runs"]:
        yield from _format_run(run)
    for export in version["exports"]:
        where = export["destination_uri"] or export["last_error"] or ""
        yield _format_line("export", f"{export['export_id']} {export['status']} {where}".rstrip(), 6)
    for delivery in version["deliveries"]:
        error = f": {delivery['error_message']}" if delivery["error_message"] else ""
        yield _format_line(
            "webhook", f"{delivery['webhook_name']} {delivery['event_type']} {delivery['status']}{error}", 6
        )
