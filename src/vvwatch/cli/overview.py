"""What `vvwatch status` tells: gathered from the API into one document."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from vvwatch.cli.client import Client, segment
from vvwatch.cli.naming import Watched, watched
from vvwatch.cli.output import epoch, several

_LATEST: Final = 50
_MOST_WINDOWS: Final = 200
_RECENT_SECONDS: Final = 86_400.0
_BAD: Final = frozenset({"degraded", "failed"})
_GOING: Final = frozenset({"pending", "scanning", "importing", "processing"})

Document = dict[str, Any]


def overview(client: Client, now: float | None = None) -> Document:
    """`daemon`, `automations`, `under_way` and `attention`: what needs somebody, each with what to type next.

    Failures that ended more than a day before `now` (default: the present) are left out.
    """
    since = (time.time() if now is None else now) - _RECENT_SECONDS
    daemon = client.get("/status")
    automations = list(_automations(client, daemon))
    jobs = client.get("/import-jobs", limit=_LATEST)
    runs = client.get("/prompt-runs", limit=_LATEST)
    exports = client.get("/exports", limit=_LATEST)
    return {
        "daemon": daemon,
        "automations": automations,
        "under_way": {
            "import_jobs": [each for each in jobs if each["status"] in _GOING],
            "prompt_runs": [each for each in runs if each["status"] in _GOING],
            "exports": [each for each in exports if each["status"] in _GOING],
        },
        "attention": _once_each(
            *_gone(daemon.get("nodes") or []),
            *_troubled(automations),
            *_queues(daemon.get("queues") or {}),
            *_failed_jobs(jobs, since),
            *_failed(runs, "run_id", "prompt_run", since),
            *_failed(exports, "export_id", "export", since),
            *_webhooks(client.get("/webhooks")),
        ),
    }


def _automations(client: Client, daemon: Document) -> Iterator[Document]:
    windows = {
        each["automation_id"]: each for each in client.get("/windows", state="open", limit=_MOST_WINDOWS)
    }
    sources, watching = daemon.get("sources") or {}, daemon.get("watching") or {}
    for each in watched(client):
        if each.importing is None:
            continue
        automation_id = each.importing["automation_id"]
        window = windows.get(automation_id)
        if window is None and len(windows) == _MOST_WINDOWS:  # there may be more
            window = client.get(f"/indexes/{segment(each.index_id)}/automations/import/window")["window"]
        yield _automation(each, sources.get(automation_id), watching.get(automation_id), window)


def _automation(
    found: Watched, source: Document | None, watching: Document | None, window: Document | None
) -> Document:
    importing = found.importing or {}
    return {
        **importing,
        "index_name": found.index["name"],
        "source": source,
        "watching": watching,
        "window": window,
        "export": found.exporting,
    }


def _attention(kind: str, identifier: str, what: str, attempt: str) -> Document:
    return {"kind": kind, "id": identifier, "what": what, "try": attempt}


def _once_each(*found: Document) -> list[Document]:
    """Of those that say the same only the first, which is the newest."""
    return list({(each["kind"], each["what"]): each for each in reversed(found)}.values())[::-1]


def _gone(nodes: list[Document]) -> Iterator[Document]:
    for each in nodes:
        if each["waiting"]:
            what = f"is gone, and only it reaches {', '.join(each['waiting'])}"
            attempt = "start it, or declare another node for the folder, or shared = true"
            yield _attention("node", each["name"], what, attempt)


def _troubled(automations: list[Document]) -> Iterator[Document]:
    for each in automations:
        name, source = each["automation_id"], each["source"] or {}
        if each["last_error"]:
            yield _attention("automation", name, each["last_error"], each["last_error_hint"] or "")
        elif source.get("state") in _BAD:
            yield _attention("source", name, source.get("reason", ""), source.get("hint", ""))


def _queues(queues: dict[str, Document]) -> Iterator[Document]:
    for name, health in queues.items():
        if health["state"] in _BAD:
            yield _attention("queue", name, health["reason"], health["hint"])


def _failed_jobs(jobs: list[Document], since: float) -> Iterator[Document]:
    for each in jobs:
        failed = each["progress"]["failed"]
        if (failed or each["status"] == "failed") and _is_recent(each, since):
            first = next((f"{file['path']}: {file['error']}" for file in each["failed_files"]), None)
            rest = f" (and {failed - 1} more)" if failed > 1 else ""
            what = f"{first or each['error_message'] or 'failed'}{rest}"
            yield _attention("import_job", each["job_id"], what, f"vvwatch jobs show {each['job_id']}")


def _failed(rows: list[Document], identifier: str, kind: str, since: float) -> Iterator[Document]:
    for each in rows:
        if each["status"] == "failed" and _is_recent(each, since):
            name = each[identifier]
            attempt = f"vvwatch retry {name}" if kind == "export" else _about_run(each)
            what = each.get("error_message") or each.get("last_error") or "failed"
            yield _attention(kind, name, what, attempt)


def _about_run(run: Document) -> str:
    """A run that was asked for over the API has no import job."""
    job_id = run["import_job_id"]
    return (
        f"vvwatch jobs show {job_id}"
        if job_id
        else f"GET /api/v2/prompt-runs/{run['run_id']}/failed-segments"
    )


def _is_recent(row: Document, since: float) -> bool:
    ended_at = epoch(row["completed_at"])
    return ended_at is None or ended_at > since


def _webhooks(webhooks: list[Document]) -> Iterator[Document]:
    for each in webhooks:
        if each["failure_count"]:
            disabled = each["status"] == "disabled"
            times = several(each["failure_count"], "time")
            what = f"{each['name']} failed {times} in a row{' and is disabled' if disabled else ''}"
            attempt = f"see why {each['url']} does not answer with a status of 2xx"
            anew = (
                ", then reload the configuration"
                if each.get("declared")
                else ", then set its status to active"
            )
            yield _attention("webhook", each["webhook_id"], what, attempt + (anew if disabled else ""))
