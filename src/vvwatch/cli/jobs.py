"""`vvwatch jobs`: list import jobs and their files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from vvwatch.cli.client import Client, client_options, quote_segment
from vvwatch.cli.commands import Command, Family, limit_option
from vvwatch.cli.ids import find_id
from vvwatch.cli.lookup import find_by_name
from vvwatch.cli.output import (
    cell_text,
    escape_controls,
    format_ago,
    format_cost,
    format_size,
    pluralize,
    print_json,
)
from vvwatch.cli.tables import print_columns

_HEADS = ("JOB", "INDEX", "STATUS", "IMPORTED", "FAILED", "SKIPPED", "PROMPT RUN", "STARTED")
_SPARE = ("PROMPT RUN", "SKIPPED")
_FILE_HEADS = ("FILE", "STATUS", "SIZE", "PATH", "WHY")
_SEGMENT_HEADS = ("SEGMENT", "FILE", "SECONDS", "WHY", "ANSWER")
_FILES_PER_PAGE = 1000
MOST_FAILURES = 20
"""How many failures of a run are printed."""
_LONGEST_ANSWER = 200


@click.group(
    cls=Family,
    examples=(
        ("vvwatch jobs", "the latest import jobs"),
        ("vvwatch jobs --status failed", "only those that failed"),
        ("vvwatch jobs show job_…", "one, file by file, with the reasons"),
    ),
)
def jobs() -> None:
    """List import jobs, one for each closed window."""


@jobs.command("list", cls=Command, examples=(("vvwatch jobs list incoming", "of one index"),))
@click.argument("name", metavar="[INDEX|AUTOMATION]", required=False)
@click.option(
    "--status",
    metavar="STATUS",
    help="pending, scanning, importing, completed, failed or cancelled.",
)
@limit_option
@client_options
def list_jobs(client: Client, name: str | None, status: str | None, limit: int, *, as_json: bool) -> None:
    """List the latest import jobs, newest first."""
    index_id = find_by_name(client, name).index_id if name else None
    found = client.get("/import-jobs", status=status, index_id=index_id, limit=limit)
    if as_json:
        print_json({"import_jobs": found})
    elif found:
        print_columns([_to_row(each) for each in found], _HEADS, _SPARE, "INDEX")
    else:
        click.echo("there is no such import job" if status or name else "there was no import job yet")


@jobs.command(cls=Command, examples=(("vvwatch jobs show job_… --json", "for programs"),))
@click.argument("job_id", metavar="ID")
@client_options
def show(client: Client, job_id: str, *, as_json: bool) -> None:
    """Show one import job with its files, its prompt run with failures, and its exports."""
    job_id = find_id(client, job_id, "job")
    job = client.get(f"/import-jobs/{quote_segment(job_id)}")
    files = list(list_files(client, job_id))
    run_id = job["execution"]["run_id"]
    run = client.find(f"/prompt-runs/{quote_segment(run_id)}") if run_id else None
    failed = list(list_failed_segments(client, run_id)) if run else []
    exports = [each for each in client.get("/exports", limit=200) if run_id and each["run_id"] == run_id]
    if as_json:
        found = {"import_job": job, "files": files, "prompt_run": run, "failed_segments": failed}
        print_json({**found, "exports": exports})
        return
    _print_job(job, files)
    if run:
        print_run(run, failed, {each["video_id"]: each["path"] for each in files})
    print_exports(exports)
    if job["source_kind"] != "upload" and any(each["status"] == "failed" for each in files):
        click.echo(f"\ntry the failed files again: vvwatch retry {job['job_id']}")
    if failed:
        click.echo(f"\ntry what failed in the prompt run again: vvwatch retry {run_id}")


def list_files(client: Client, job_id: str, **query: str) -> Iterator[dict[str, Any]]:
    """Return the files of an import job, reading every page; `query` filters them."""
    path, cursor = f"/import-jobs/{quote_segment(job_id)}/files", None
    while True:
        page = client.get(path, limit=_FILES_PER_PAGE, cursor=cursor, **query)
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def list_failed_segments(client: Client, run_id: str) -> Iterator[dict[str, Any]]:
    """Return the failures of a prompt run, segments and whole media items, each with its `video_id`."""
    path, cursor = f"/prompt-runs/{quote_segment(run_id)}/failed-segments", None
    while True:
        page = client.get(path, cursor=cursor)
        for video in page["videos"]:
            yield from ({"video_id": video["video_id"], **each} for each in video["segments"])
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _to_row(job: dict[str, Any]) -> tuple[str, ...]:
    progress = job["progress"]
    return (
        job["job_id"],
        job["target_index_id"],
        job["status"],
        f"{progress['imported']} of {progress['total_files']}",
        str(progress["failed"]),
        str(progress["skipped"]),
        cell_text(job["execution"]["run_id"]),
        format_ago(job["started_at"]),
    )


def _print_job(job: dict[str, Any], files: list[dict[str, Any]]) -> None:
    print_columns([_to_row(job)], _HEADS, _SPARE, "INDEX")
    if files:
        click.echo()
        was_cut = print_columns(
            [_to_file_row(each) for each in files], _FILE_HEADS, ("SIZE",), ("PATH", "WHY")
        )
        failed = [each for each in files if each["status"] == "failed"] if was_cut else []
        for each in failed[:MOST_FAILURES]:
            click.echo(escape_controls(f"{each['file_id']} {each['path']}: {_to_file_row(each)[-1]}"))


def print_run(run: dict[str, Any], failed: list[dict[str, Any]], names: Mapping[str | None, str]) -> None:
    """Print how a run ended, its cost and the first of its failures, with the names of media by their ids."""
    error = f": {run['error_message']}" if run["error_message"] else ""
    click.echo(f"\nprompt run {run['run_id']}: {run['status']}{escape_controls(error)}")
    if run["cost"]["calls"]:
        click.echo(f"  {_format_run_cost(run['cost'])}")
    for operation, why in run["not_done"].items():
        click.echo(escape_controls(f"  not done: {operation.replace('_', ' ')}: {why}"))
    if failed:
        click.echo()
        listed = failed[:MOST_FAILURES]
        print_columns(
            [_to_segment_row(each, names) for each in listed],
            _SEGMENT_HEADS,
            ("ANSWER", "SEGMENT"),
            ("FILE", "WHY"),
        )
    if len(failed) > MOST_FAILURES:
        click.echo(f"and {len(failed) - MOST_FAILURES:,} more, with --json")


def _format_run_cost(cost: dict[str, Any]) -> str:
    tokens = f"{cost['input_tokens'] + cost['output_tokens']:,} tokens"
    return f"{pluralize(cost['calls'], 'call')}, {tokens}, {format_cost(cost['usd'], cost['unpriced_calls'])}"


def _to_segment_row(failed: dict[str, Any], names: Mapping[str | None, str]) -> tuple[str, ...]:
    times = failed["start_time"], failed["end_time"]
    return (
        failed["segment_id"],
        names.get(failed["video_id"], failed["video_id"]),
        "all" if None in times else "{:.10g} to {:.10g}".format(*times),
        failed["failure_message"] or "",
        (failed["answer_text"] or "")[:_LONGEST_ANSWER],
    )


def print_exports(exports: list[dict[str, Any]]) -> None:
    """Print a line for each export."""
    for export in exports:
        where = export["destination_uri"] or export["last_error"] or ""
        click.echo(f"export {export['export_id']}: {export['status']} {escape_controls(where)}".rstrip())


def _to_file_row(file: dict[str, Any]) -> tuple[str, ...]:
    why = file["message"] or (file["failure"] or {}).get("error_code") or file["skip_reason"]
    return (file["file_id"], file["status"], format_size(file["size_bytes"]), file["path"], why or "")
