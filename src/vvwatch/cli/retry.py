"""`vvwatch retry` and `vvwatch dismiss`: retry failed work, or mark it as seen."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import click

from vvwatch.cli.client import Client, RefusedRequest, client_options, quote_segment
from vvwatch.cli.commands import Command
from vvwatch.cli.failures import USAGE, Failure
from vvwatch.cli.ids import WORK, find_id
from vvwatch.cli.jobs import list_failed_segments, list_files
from vvwatch.cli.output import escape_controls, print_json

_ROUTES = {"del": "/webhooks/deliveries/{}/retry", "exp": "/exports/{}/retry"}


@click.command(
    cls=Command,
    examples=(
        ("vvwatch retry exp_…", "deliver an export that failed"),
        ("vvwatch retry del_…", "send a webhook's delivery once more"),
        ("vvwatch retry job_…/17", "import one file that failed"),
        ("vvwatch retry job_…", "import all files of a job that failed"),
        ("vvwatch retry run_…", "process all that failed in a prompt run"),
        ("vvwatch retry run_…/seg_…", "process one segment that failed"),
    ),
)
@click.argument("identifier", metavar="ID")
@client_options
def retry(client: Client, identifier: str, *, as_json: bool) -> None:
    """Retry a failed delivery or export, files of an import job, or segments of a prompt run.

    For a job or a run, retries every failure, or the single one named after a slash.
    """
    whole, slash, piece = identifier.partition("/")
    whole = find_id(client, whole, *WORK)
    if whole.startswith("job_"):
        retried = [_retry_file(client, whole, piece)] if piece else _retry_job(client, whole)
    elif whole.startswith("run_"):
        retried = _retry_run(client, whole, piece)
    else:
        retried = [client.post(_find_route(f"{whole}{slash}{piece}"))]
    if as_json:
        print_json({"retried": retried})
        return
    for each in retried:
        click.echo(escape_controls(_format_answer(each)))


def _find_route(identifier: str) -> str:
    route = _ROUTES.get(identifier.partition("_")[0])
    if route is None:
        hint = (
            "an export (exp_…), a delivery (del_…), an import job (job_…), a file of one (job_…/17), "
            "a prompt run (run_…) or a segment of one (run_…/seg_…)"
        )
        raise Failure(f"{identifier!r} is nothing that can be tried again", hint, exit_code=USAGE)
    return route.format(quote_segment(identifier))


def _retry_job(client: Client, job_id: str) -> list[Any]:
    """Retry attachments as one job, and objects of a store file by file."""
    path = f"/import-jobs/{quote_segment(job_id)}"
    if client.get(path)["source_kind"] == "attachments":
        return [client.post(f"{path}/retry")]
    failed = [each["file_id"] for each in list_files(client, job_id, failed_only="true")]
    if not failed:
        raise Failure(f"no file of {job_id} has failed", f"vvwatch jobs show {job_id}")
    return [_retry_file(client, job_id, each) for each in failed]


def _retry_file(client: Client, job_id: str, file_id: str) -> Any:
    return client.post(f"/import-jobs/{quote_segment(job_id)}/files/{quote_segment(file_id)}/retry")


def _retry_run(client: Client, run_id: str, segment_id: str) -> list[Any]:
    """Retry the failures of a run, or one segment; skip those being retried already."""
    failed = [each for each in list_failed_segments(client, run_id) if segment_id in ("", each["segment_id"])]
    if not failed and segment_id:
        raise Failure(f"segment {segment_id} of {run_id} has not failed")
    if not failed:
        raise Failure(f"nothing in {run_id} has failed")
    return [_retry_segment(client, run_id, each, alone=bool(segment_id)) for each in failed]


def _retry_segment(client: Client, run_id: str, failed: dict[str, Any], *, alone: bool) -> Any:
    video, name = quote_segment(failed["video_id"]), quote_segment(failed["segment_id"])
    try:
        return client.post(f"/prompt-runs/{quote_segment(run_id)}/videos/{video}/segments/{name}/retry")
    except RefusedRequest as refused:
        if alone or refused.status != HTTPStatus.CONFLICT:
            raise
        return {"segment_id": failed["segment_id"], "message": str(refused)}


def _format_answer(answer: dict[str, Any]) -> str:
    if "path" in answer:
        return f"{answer['path']}: {answer['message']}"
    if "segment_id" in answer:
        return f"{answer['segment_id']}: {answer['message']}"
    if "delivery_id" in answer:
        return f"{answer['delivery_id']} is {answer['status']}"
    return f"{answer.get('export_id') or answer['job_id']} is {answer['status']}"


@click.command(
    cls=Command,
    examples=(
        ("vvwatch dismiss job_…", "you have seen what failed in it"),
        ("vvwatch dismiss exp_… del_…", "several at once"),
    ),
)
@click.argument("identifiers", metavar="ID…", nargs=-1, required=True)
@client_options
def dismiss(client: Client, identifiers: tuple[str, ...], *, as_json: bool) -> None:
    """Stop showing a failure under "needs you", and equal ones. Later failures are shown again."""
    wholes = [find_id(client, each, *WORK) for each in identifiers]
    found = [client.post(f"/attention/{quote_segment(each)}/dismiss") for each in wholes]
    dismissed = [each for answer in found for each in answer["dismissed"]]
    if as_json:
        print_json({"dismissed": dismissed})
    else:
        click.echo("\n".join(f"{escape_controls(each)} is dismissed" for each in dismissed))
