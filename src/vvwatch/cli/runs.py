"""`vvwatch runs` and `results`: list prompt runs, and what a run found in one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from vvwatch.cli.client import Client, client_options, daemon_options, quote_segment
from vvwatch.cli.commands import Command, Family, limit_option
from vvwatch.cli.explain import connect_about, to_address
from vvwatch.cli.failures import Failure
from vvwatch.cli.ids import find_id
from vvwatch.cli.jobs import MOST_FAILURES, list_failed_segments, print_exports, print_run
from vvwatch.cli.lookup import find_by_name
from vvwatch.cli.output import (
    cell_text,
    escape_controls,
    format_ago,
    format_cost,
    print_json,
)
from vvwatch.cli.tables import print_columns

_HEADS = ("RUN", "PROMPT", "STATUS", "DONE", "FAILED", "COST", "STARTED")
_SPARE = ("COST", "PROMPT")
_RESULT_HEADS = ("SEGMENT", "SECONDS", "WHAT")
_TYPES = ("videos", "audios", "images")
_PER_PAGE = 50


@click.group(
    cls=Family,
    examples=(
        ("vvwatch runs", "the latest prompt runs"),
        ("vvwatch runs dailies", "those of one index"),
        ("vvwatch runs show run_…", "one, with its failures, its cost and its exports"),
    ),
)
def runs() -> None:
    """List prompt runs: a prompt over the media of an import job or an index."""


@runs.command(
    "list", cls=Command, examples=(("vvwatch runs list dailies --json", "those of one index, for programs"),)
)
@click.argument("name", metavar="[INDEX|AUTOMATION]", required=False)
@limit_option
@client_options
def list_runs(client: Client, name: str | None, limit: int, *, as_json: bool) -> None:
    """List the latest prompt runs, newest first."""
    if name:
        index_id = find_by_name(client, name).index_id
        found = client.get(f"/indexes/{quote_segment(index_id)}/prompt-runs", limit=min(limit, 100))["data"]
    else:
        found = client.get("/prompt-runs", limit=limit)
    if as_json:
        print_json({"prompt_runs": found})
    elif found:
        print_columns([_to_row(each) for each in found], _HEADS, _SPARE, "PROMPT")
    else:
        click.echo("there was no prompt run yet")


@runs.command(cls=Command, examples=(("vvwatch runs show run_… --json", "for programs"),))
@click.argument("run_id", metavar="ID")
@client_options
def show(client: Client, run_id: str, *, as_json: bool) -> None:
    """Show one prompt run with its failures, its cost and its exports."""
    run_id = find_id(client, run_id, "run")
    run = client.get(f"/prompt-runs/{quote_segment(run_id)}")
    failed = list(list_failed_segments(client, run_id))
    exports = [each for each in client.get("/exports", limit=200) if each["run_id"] == run_id]
    if as_json:
        print_json({"prompt_run": run, "failed_segments": failed, "exports": exports})
        return
    print_columns([_to_row(run)], _HEADS, _SPARE, "PROMPT")
    print_run(run, failed, _name_media(client, failed[:MOST_FAILURES]))
    click.echo()
    print_exports(exports)
    if failed:
        click.echo(f"try what failed again: vvwatch retry {run_id}")


def _name_media(client: Client, failed: Sequence[Mapping[str, Any]]) -> dict[str | None, str]:
    """Return the titles of the media by their ids; without those that were deleted."""
    ids = dict.fromkeys(each["video_id"] for each in failed)
    found = {each: client.find(f"/videos/{quote_segment(each)}") for each in ids}
    return {each: video["title"] for each, video in found.items() if video}


@click.command(
    cls=Command,
    examples=(
        ("vvwatch results ./incoming/clip.mp4", "what the latest run found, segment by segment"),
        ("vvwatch results file:///data/incoming/clip.mp4 --json", "with all metadata, for programs"),
        ("vvwatch results vid_…", "of a media item"),
    ),
)
@click.argument("target", metavar="FILE|URI|VIDEO")
@click.option("--run", "run_id", metavar="RUN", help="The results of this run.  [default: the latest]")
@daemon_options
def results(
    target: str, run_id: str | None, url: str | None, state: str | None, config: str | None, *, as_json: bool
) -> None:
    """Show what a prompt run found in a file. If a `vvwatch dev` watches FILE, asks that one."""
    client = connect_about(target, url, state, config)
    is_media = target.startswith("vid_")
    video_id = find_id(client, target, "vid") if is_media else _find_video(client, target)
    run_id = find_id(client, run_id, "run") if run_id else None
    found = list(_list_segments(client, video_id, run_id))
    if as_json:
        print_json({"video_id": video_id, "segments": found})
    elif found:
        print_columns([_to_result_row(each) for each in found], _RESULT_HEADS, ("SEGMENT",), "WHAT")
    else:
        click.echo(escape_controls(f"no run has ended with results for {video_id} yet"))


def _find_video(client: Client, target: str) -> str:
    """Return the newest media item made of the file. Raises Failure if there is none."""
    places = client.get("/explain", uri=to_address(target))["places"]
    made = [
        version["video"]["video_id"]
        for place in places
        for index in place["indexes"]
        for version in index["versions"]
        if version["video"]
    ]
    if not made:
        raise Failure(
            f"{target!r} has not been imported", f"`vvwatch explain {target}` says what happened to it"
        )
    return str(max(made))


def _list_segments(client: Client, video_id: str, run_id: str | None) -> Iterator[dict[str, Any]]:
    cursor = None
    path = f"/videos/{quote_segment(video_id)}/segments"
    while True:
        page = client.get(path, run_id=run_id, limit=_PER_PAGE, cursor=cursor)
        yield from page["data"]
        cursor = page["pagination"]["next_cursor"]
        if cursor is None:
            return


def _to_row(run: dict[str, Any]) -> tuple[str, ...]:
    done, failed, total = (
        sum(run[f"{what}_{kind}"] for kind in _TYPES) for what in ("completed", "failed", "total")
    )
    cost = run["cost"]
    return (
        run["run_id"],
        run["prompt_name"],
        run["status"],
        f"{done} of {total}",
        str(failed),
        format_cost(cost["usd"], cost["unpriced_calls"]) if cost["calls"] else "-",
        format_ago(run["started_at"]),
    )


def _to_result_row(segment: dict[str, Any]) -> tuple[str, ...]:
    said = segment["error_message"] or segment["metadata_text"]
    return (
        segment["segment_id"],
        f"{segment['start_time']:.10g} to {segment['end_time']:.10g}",
        cell_text(said),
    )
