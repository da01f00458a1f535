"""One lost object among many, on each cloud: the others have their run and export, and it comes by itself.

Among two hundred with VVWATCH_FULL=1, else among sixteen. The daemon is killed in the steps of the
object's coming, in a slice of them or all: nothing is lost, nothing is doubled.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import slices
from tests.crash import buckets
from tests.crash.buckets import Bucket
from tests.crash.dying import die_at
from tests.daemon_process import Daemon, wait_until
from tests.http_faults import FOREVER, Answer, HttpFaultProxy

GOOD = 199 if slices.FULL else 15
LOST = "first/lost.png"
BOUND = '[imports]\nobject_seconds = "3s"\nretry_after = "1s"\nlongest_retry = "4s"\n'
COMING = [
    ("after", "unreadable.begin_try"),
    ("before", "retrying.take_up"),
    ("after", "retrying.take_up"),
    ("after", "windows.accept_objects"),
]


def exported(bucket: Bucket) -> list[list[str]]:
    """The keys of each export, the largest export first."""
    found = bucket.exported()
    documents = [json.loads(data) for name, data in found.items() if not name.endswith(".manifest.json")]
    keys = [[item["video"]["key"] for item in document["media"]] for document in documents]
    return sorted(keys, key=len, reverse=True)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("cloud", [buckets.s3, buckets.gcs, buckets.azure], ids=lambda make: make.__name__)
def test_one_lost_object_among_many_fails_alone_and_comes_by_itself(
    tmp_path: Path,
    picture: Path,
    cloud: Callable[[pytest.FixtureRequest], Bucket],
    request: pytest.FixtureRequest,
) -> None:
    bucket = cloud(request)
    [endpoint] = {line for line in bucket.connectors.splitlines() if line.startswith("endpoint_url")}
    at = urlsplit(endpoint.split('"')[1])
    assert at.hostname is not None
    assert at.port is not None
    good = {f"first/picture {number:03}.png" for number in range(GOOD)}
    for key in (*good, LOST):
        bucket.put(key, picture.read_bytes())
    with HttpFaultProxy((at.hostname, at.port)) as proxy:
        proxy.fail(Answer(500), r"^(GET|HEAD) .*lost\.png", times=FOREVER)
        through = bucket.connectors.replace(f"{at.hostname}:{at.port}", "{}:{}".format(*proxy.address))
        daemon = Daemon(tmp_path, debounce="2s", connectors=through, environ=bucket.environ, extra=BOUND)
        with daemon:
            wait_until(lambda: len(exported(bucket)) == 1, "the export of the others", seconds=600)
            assert [Counter(keys) for keys in exported(bucket)] == [Counter(good)]
            told = "select status, total_files, imported, failed from import_jobs"
            assert daemon.rows(told) == [("completed", GOOD + 1, GOOD, 1)]
            why = "select key, reason from import_files where status = 'failed'"
            assert daemon.rows(why) == [(LOST, "object_unavailable")]
            assert daemon.rows("select key from troubles where retry_at is not null") == [(LOST,)]
            daemon.kill()
        assert "import.file_failed" in daemon.log.read_text()
        proxy.heal()
        for moment, name in slices.sample(COMING, 2):
            die_at(daemon, moment, name, seconds=300)
        with replace(daemon) as last:
            wait_until(lambda: len(exported(bucket)) == 2, "the export of the lost one", seconds=300)
        assert [Counter(keys) for keys in exported(bucket)] == [Counter(good), Counter([LOST])]
        assert Counter(key for (key,) in last.rows("select key from media")) == Counter([*good, LOST])
        assert last.rows(told) == [("completed", GOOD + 1, GOOD, 1), ("completed", 1, 1, 0)]
        assert last.rows("select key from troubles where retry_at is not null") == []
