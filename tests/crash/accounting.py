"""After the dust has settled: was everything done, and nothing done twice?"""

from __future__ import annotations

import hashlib
import json
from collections import Counter

from tests.daemon_process import SECRET, Daemon
from tests.receiver import Receiver

_WAITING = """
select (select count(*) from windows where state = 'open')
     + (select count(*) from import_files where next_at is not null)
     + (select count(*) from run_items where next_at is not null)
     + (select count(*) from exports where next_at is not null)
     + (select count(*) from deliveries where next_at is not null)
"""


def is_done(daemon: Daemon, names: set[str]) -> bool:
    """Whether every file is media and nothing is left to do."""
    imported = {key for (key,) in daemon.rows("select key from media")}
    return names <= imported and daemon.rows(_WAITING) == [(0,)]


def check(daemon: Daemon, names: set[str], receiver: Receiver) -> None:
    """Every file imported exactly once; every run, export and event exactly once; repeats under one key."""
    if not daemon.replicated:
        assert daemon.rows("pragma integrity_check") == [("ok",)]
    assert Counter(key for (key,) in daemon.rows("select key from media")) == Counter(names)
    check_counts(daemon)
    check_exports(daemon, names)
    check_pictures(daemon)
    check_events(daemon, receiver)


def check_counts(daemon: Daemon) -> None:
    jobs = daemon.rows("select id, status, total_files, imported, failed, skipped, run_id from import_jobs")
    assert {status for _, status, *_ in jobs} == {"completed"}
    assert all(total == imported for _, _, total, imported, _, _, _ in jobs)
    assert daemon.rows("select count(*) from windows where state = 'closed'") == [(len(jobs),)]
    runs = daemon.rows("select id, status, total_items, completed_items from prompt_runs")
    assert sorted(run for run, *_ in runs) == sorted(run for *_, run in jobs)
    assert all(status == "completed" and total == done for _, status, total, done in runs)
    assert sum(total for _, _, total, _ in runs) == len(daemon.rows("select id from media"))


def check_exports(daemon: Daemon, names: set[str]) -> None:
    rows = daemon.rows("select id, run_id, status from exports")
    runs = {run for (run,) in daemon.rows("select id from prompt_runs")}
    assert Counter(run for _, run, _ in rows) == Counter(runs)
    assert {status for *_, status in rows} == {"completed"}
    files = sorted(daemon.outgoing / "results" / f"{export}.json" for export, *_ in rows)
    manifests = [file.with_suffix(".manifest.json") for file in files]
    assert sorted((daemon.outgoing / "results").iterdir()) == sorted(files + manifests)
    for file, manifest in zip(files, manifests, strict=True):
        [told] = json.loads(manifest.read_bytes())["files"]
        assert told["name"] == file.name
        assert told["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    exported = [item["video"]["title"] for file in files for item in json.loads(file.read_bytes())["media"]]
    assert Counter(exported) == Counter(names)


def check_pictures(daemon: Daemon) -> None:
    """Every item has its pictures, in a file of its own; without replicas nothing else lies beside them."""
    found = daemon.rows("select run_item_id, contents, size_bytes from pictures")
    assert sorted(item for item, *_ in found) == sorted(
        item for (item,) in daemon.rows("select id from run_items")
    )
    if daemon.replicated:
        return
    folder = daemon.state / "pictures"
    sizes = {json.loads(contents)["file"]: size_bytes for _, contents, size_bytes in found}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.relative_to(folder).as_posix(): path.stat().st_size for path in files} == sizes


def check_events(daemon: Daemon, receiver: Receiver) -> None:
    deliveries = daemon.rows("select id, status, event_id from deliveries")
    assert {status for _, status, _ in deliveries} == {"delivered"}
    told = {received.headers["X-Delivery-ID"]: received.event["id"] for received in receiver.received}
    assert told == {delivery: event for delivery, _, event in deliveries}
    assert all(r.headers["Idempotency-Key"] == r.headers["X-Delivery-ID"] for r in receiver.received)
    assert receiver.all_signed(SECRET)
    whole = {received.event["id"]: received.event for received in receiver.received}
    created = [event["data"]["title"] for event in whole.values() if event["event"] == "media.created"]
    assert sorted(created) == sorted(key for (key,) in daemon.rows("select key from media"))
    assert Counter(event["event"] for event in whole.values()) == expected_events(daemon)


def expected_events(daemon: Daemon) -> Counter[str]:
    """How often each kind of event is told when everything went well."""
    [(media, jobs, runs, exports)] = daemon.rows(
        """select (select count(*) from media), (select count(*) from import_jobs),
                  (select count(*) from prompt_runs), (select count(*) from exports)"""
    )
    return Counter(
        {
            "import_job.started": jobs,
            "import_job.completed": jobs,
            "media.created": media,
            "media.processing.started": media,
            "media.processing.completed": media,
            "prompt_run.started": runs,
            "prompt_run.completed": runs,
            "export.ready": exports,
        }
    )


def repeats(receiver: Receiver) -> int:
    """How many messages were sent again, each under the delivery id of the first."""
    return len(receiver.received) - len({r.headers["X-Delivery-ID"] for r in receiver.received})
