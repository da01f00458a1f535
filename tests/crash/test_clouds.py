"""The whole way through each cloud, with kills in its steps: nothing is lost, nothing is doubled.

With VVWATCH_FULL=1 two hundred objects and a kill in every step, else forty and a slice of the steps.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import slices
from tests.crash import buckets
from tests.crash.buckets import Bucket
from tests.crash.dying import die_at
from tests.daemon_process import SECRET, Daemon, wait_until
from tests.receiver import Receiver

GOOD, BAD = (95, 5) if slices.FULL else (15, 5)
EVENTS = ("import_job.partial_completed", "prompt_run.completed", "export.ready")
IMPORTING = [
    ("after", "windows.accept_objects"),
    ("before", "windows.close_due"),
    ("after", "windows.close_due"),
    ("before", "automations.record_scan"),
    ("before", "imports.finish_file"),
    ("after", "imports.finish_file"),
]
PROCESSING = [
    ("after", "runs.begin_item"),
    ("before", "runs.finish_item"),
    ("after", "runs.finish_item"),
    ("after", "exports.begin"),
    ("after", "ledger.claim_outputs"),
    ("before", "exports.finish"),
    ("after", "exports.finish"),
    ("after", "deliveries.begin_all"),
    ("before", "deliveries.finish_all"),
]


def put_files(bucket: Bucket, folder: str, picture: bytes) -> set[str]:
    """Put files, five of them bad; returns the keys of the good ones."""
    good = {f"{folder}/picture {number:03}.png" for number in range(GOOD)}
    for key in good:
        bucket.put(key, picture)
    for number in range(BAD):
        cut = picture[: len(picture) // 2] if number % 2 else b"this is no film"
        bucket.put(f"{folder}/bad{number}.{'png' if number % 2 else 'mp4'}", cut)
    return good


def is_done(daemon: Daemon) -> bool:
    [(exports, waiting)] = daemon.rows(
        """select (select count(*) from exports where status = 'completed'),
                  (select count(*) from deliveries where status != 'delivered')"""
    )
    return exports == 2 and not waiting


def check(daemon: Daemon, bucket: Bucket, good: set[str], receiver: Receiver) -> None:
    jobs = daemon.rows("select status, total_files, imported, failed, skipped from import_jobs")
    assert jobs == [("completed", GOOD + BAD, GOOD, BAD, 0)] * 2
    assert Counter(key for (key,) in daemon.rows("select key from media")) == Counter(good)
    assert daemon.rows("select count(*) from windows") == [(2,)]
    runs = daemon.rows("select status, total_items, completed_items from prompt_runs")
    assert runs == [("completed", GOOD, GOOD)] * 2
    exports = [export for (export,) in daemon.rows("select id from exports")]
    found = bucket.exported()
    names = {f"results/{export}{ending}" for export in exports for ending in (".json", ".manifest.json")}
    assert found.keys() == names
    documents = [json.loads(found[f"results/{export}.json"]) for export in exports]
    exported = [item["video"]["key"] for document in documents for item in document["media"]]
    assert Counter(exported) == Counter(good)
    told = Counter(event["event"] for event in {r.event["id"]: r.event for r in receiver.received}.values())
    assert told == dict.fromkeys(EVENTS, 2)
    assert receiver.all_signed(SECRET)
    for secret in bucket.environ.values():
        shown = [p for p in daemon.base.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]
        assert shown == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("cloud", [buckets.s3, buckets.gcs, buckets.azure], ids=lambda make: make.__name__)
def test_two_hundred_objects_with_a_kill_in_every_step(
    tmp_path: Path,
    picture: Path,
    cloud: Callable[[pytest.FixtureRequest], Bucket],
    request: pytest.FixtureRequest,
) -> None:
    bucket = cloud(request)
    with Receiver() as receiver:
        daemon = Daemon(
            tmp_path,
            debounce="2s",
            connectors=bucket.connectors,
            environ=bucket.environ,
            webhook_url=receiver.url,
            told=EVENTS,
        )
        good = put_files(bucket, "first", picture.read_bytes())
        for moment, name in slices.sample(IMPORTING, 2):
            die_at(daemon, moment, name, seconds=150)
        good |= put_files(bucket, "second", picture.read_bytes())
        for moment, name in slices.sample(PROCESSING, 3):
            die_at(daemon, moment, name, seconds=150)
        with daemon:
            wait_until(lambda: is_done(daemon), "both exports", seconds=200)
        check(daemon, bucket, good, receiver)
