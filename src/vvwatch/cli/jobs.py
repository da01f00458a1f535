"""`vvwatch jobs`: import jobs, and the files of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from vvwatch.cli.asking import asking
from vvwatch.cli.client import Client, segment
from vvwatch.cli.commands import Command, Family
from vvwatch.cli.naming import called
from vvwatch.cli.output import ago, columns, plain, show_json, size, text

_HEADS = ("JOB", "INDEX", "STATUS", "IMPORTED", "FAILED", "SKIPPED", "PROMPT RUN", "STARTED")
_FILE_HEADS = ("FILE", "STATUS", "SIZE", "PATH", "WHY")
_FILES_PER_PAGE = 1000


@click.group(
    cls=Family,
    examples=(
        ("vvwatch jobs", "the latest import jobs"),
        ("vvwatch jobs --status failed", "only those that failed"),
        ("vvwatch jobs show job_…", "one, file by file, with the reasons"),
    ),
)
def jobs() -> None:
    """Import jobs: what became of each window."""


@jobs.command("list", cls=Command, examples=(("vvwatch jobs list incoming", "of one index"),))
@click.argument("name", metavar="[INDEX|AUTOMATION]", required=False)
@click.option(
    "--status",
    metavar="STATUS",
    help="pending, scanning, importing, completed, failed or cancelled.",
)
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many at most.")
@asking
def list_jobs(client: Client, name: str | None, status: str | None, limit: int, *, as_json: bool) -> None:
    """The latest import jobs, newest first."""
    index_id = called(client, name).index_id if name else None
    found = client.get("/import-jobs", status=status, index_id=index_id, limit=limit)
    if as_json:
        show_json({"import_jobs": found})
    elif found:
        columns([_row(each) for each in found], _HEADS)
    else:
        click.echo("there is no such import job" if status or name else "there was no import job yet")


@jobs.command(cls=Command, examples=(("vvwatch jobs show job_… --json", "for programs"),))
@click.argument("job_id", metavar="ID")
@asking
def show(client: Client, job_id: str, *, as_json: bool) -> None:
    """One import job, its files, and the prompt run and exports that followed."""
    job = client.get(f"/import-jobs/{segment(job_id)}")
    files = list(files_of(client, job_id))
    run_id = job["execution"]["run_id"]
    run = client.find(f"/prompt-runs/{segment(run_id)}") if run_id else None
    exports = [each for each in client.get("/exports", limit=200) if run_id and each["run_id"] == run_id]
    if as_json:
        show_json({"import_job": job, "files": files, "prompt_run": run, "exports": exports})
    else:
        _print(job, files, run, exports)


def files_of(client: Client, job_id: str, **query: str) -> Iterator[dict[str, Any]]:
    """The files of an import job, in all pages there are; `query` says which."""
    path, cursor = f"/import-jobs/{segment(job_id)}/files", None
    while True:
        page = client.get(path, limit=_FILES_PER_PAGE, cursor=cursor, **query)
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _row(job: dict[str, Any]) -> tuple[str, ...]:
    progress = job["progress"]
    return (
        job["job_id"],
        job["target_index_id"],
        job["status"],
        f"{progress['imported']} of {progress['total_files']}",
        str(progress["failed"]),
        str(progress["skipped"]),
        text(job["execution"]["run_id"]),
        ago(job["started_at"]),
    )


def _print(
    job: dict[str, Any],
    files: list[dict[str, Any]],
    run: dict[str, Any] | None,
    exports: list[dict[str, Any]],
) -> None:
    columns([_row(job)], _HEADS)
    if files:
        click.echo()
        columns([_file_row(each) for each in files], _FILE_HEADS)
    if run:
        error = f": {run['error_message']}" if run["error_message"] else ""
        click.echo(f"\nprompt run {run['run_id']}: {run['status']}{plain(error)}")
    for export in exports:
        where = export["destination_uri"] or export["last_error"] or ""
        click.echo(f"export {export['export_id']}: {export['status']} {plain(where)}".rstrip())
    if job["source_kind"] != "upload" and any(each["status"] == "failed" for each in files):
        click.echo(f"\ntry the failed ones again: vvwatch retry {job['job_id']}")


def _file_row(file: dict[str, Any]) -> tuple[str, ...]:
    why = file["message"] or (file["failure"] or {}).get("error_code") or file["skip_reason"]
    return (file["file_id"], file["status"], size(file["size_bytes"]), file["path"], why or "")
